//! Steps that are the same in several stages, or for several platforms, are carried out once (F12).

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use lifecycle_dockerfile::{Action, Platform};

use crate::build::lock;
use crate::copy::select::SourceFiles;
use crate::error::StepError;
use crate::reporter::StepOutcome;
use crate::stack::StackLayer;
use crate::stage::LayerStep;

/// All that decides about what a step comes to, known before anything is read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) action: Action,
    /// What commands are for.
    pub(crate) platform: Option<Platform>,
    /// Whether results of earlier builds may not be taken.
    pub(crate) is_new: bool,
    /// What it is done on and what it reads.
    pub(crate) inputs: Vec<Input>,
}

/// Something that a step is done on or reads: the same one, not one that looks the same.
#[derive(Debug, Clone)]
pub(crate) enum Input {
    /// How many layers of one origin follow.
    Count(usize),
    Layer(Arc<StackLayer>),
    Files(Arc<SourceFiles>),
}

impl PartialEq for Input {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Count(one), Self::Count(other)) => one == other,
            (Self::Layer(one), Self::Layer(other)) => Arc::ptr_eq(one, other),
            (Self::Files(one), Self::Files(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl Eq for Input {}

/// The steps of a build that were begun.
#[derive(Debug, Default)]
pub(crate) struct SharedSteps(Mutex<Vec<Arc<Begun>>>);

/// A step that somebody carries out, and its end.
#[derive(Debug)]
struct Begun {
    request: Request,
    end: Mutex<Option<End>>,
    ended: Condvar,
}

#[derive(Debug, Clone)]
enum End {
    Made(LayerStep),
    Failed,
}

impl SharedSteps {
    /// Carries a step out, or waits for whoever does so already.
    pub(crate) fn carry_out(
        &self,
        request: Request,
        make: impl FnOnce() -> Result<LayerStep, StepError>,
    ) -> Result<LayerStep, StepError> {
        let mut steps = lock(&self.0);
        if let Some(known) = steps.iter().find(|step| step.request == request) {
            let known = Arc::clone(known);
            drop(steps);
            return known.wait();
        }
        let begun = Arc::new(Begun {
            request,
            end: Mutex::default(),
            ended: Condvar::new(),
        });
        steps.push(Arc::clone(&begun));
        drop(steps);
        let mut ending = Ending {
            begun: &begun,
            end: End::Failed,
        };
        let made = make()?;
        ending.end = End::Made(made.clone());
        Ok(made)
    }
}

impl Begun {
    fn wait(&self) -> Result<LayerStep, StepError> {
        let mut end = lock(&self.end);
        loop {
            match &*end {
                Some(End::Made(made)) => {
                    let mut shared = made.clone();
                    if shared.outcome == StepOutcome::Done {
                        shared.outcome = StepOutcome::Shared;
                    }
                    return Ok(shared);
                }
                // Its error is the one to show.
                Some(End::Failed) => return Err(StepError::Dependency),
                None => end = self.ended.wait(end).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

/// Tells whoever waits, however the step ends.
struct Ending<'a> {
    begun: &'a Begun,
    end: End,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        *lock(&self.begun.end) = Some(self.end.clone());
        self.begun.ended.notify_all();
    }
}
