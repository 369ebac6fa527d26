//! One build on its way through the phases.

use std::sync::Arc;
use std::time::Instant;

use lifecycle_phases::{
    ExportReport, ExtendKind, Images, Phase, Reporter, RestoreOptions, RestoreReport, analyze, export,
    restore,
};

use super::PhaseTime;
use super::extend::{self, Extensions, WithBuilder};
use super::inputs::Inputs;
use super::step::Steps;
use super::workspace::ANALYZED;
use crate::{ImageRoot, PlatformError};

/// Everything that the phases of one build need, and how long they took so far.
#[derive(Debug)]
pub(super) struct Course<'a> {
    pub(super) steps: Steps<'a>,
    pub(super) inputs: &'a Inputs<'a>,
    pub(super) images: &'a Images<'a>,
    pub(super) reporter: &'a Arc<dyn Reporter>,
    pub(super) times: Vec<PhaseTime>,
}

impl Course<'_> {
    /// Until it is known which modules take part.
    pub(super) fn analyze_and_detect(&mut self) -> Result<Extensions, PlatformError> {
        self.measure(Phase::Analyze, |course| {
            let (inputs, cache) = (course.inputs, course.inputs.cache.image.as_ref());
            analyze(&inputs.analyze, course.images, cache, &**course.reporter)
                .map(drop)
                .map_err(PlatformError::Analyze)
        })?;
        self.steps.workspace.show(ANALYZED)?;
        self.steps.workspace.give_away_layers()?;
        self.measure(Phase::Detect, |course| {
            course.reporter.phase(Phase::Detect);
            course.steps.detect()
        })?;
        Extensions::take_over(self.steps.workspace, self.steps.options)
    }

    /// From there to the image.
    pub(super) fn restore_to_export(
        &mut self,
        extensions: Extensions,
    ) -> Result<(RestoreReport, ExportReport), PlatformError> {
        let restored = self.measure(Phase::Restore, |course| course.restore(extensions))?;
        self.steps.workspace.show(ANALYZED)?;
        self.steps.workspace.give_away_layers()?;
        if extensions.build {
            self.measure(Phase::ExtendBuild, |course| {
                course.reporter.phase(Phase::ExtendBuild);
                course.steps.extend(ExtendKind::Build)
            })?;
        } else {
            self.measure(Phase::Build, |course| {
                course.reporter.phase(Phase::Build);
                course.steps.build()
            })?;
        }
        if extensions.run && !self.steps.cancellation.is_cancelled() {
            self.measure(Phase::ExtendRun, Self::extend_run)?;
        }
        if self.steps.cancellation.is_cancelled() {
            return Err(PlatformError::Stopped);
        }
        let exported = self.measure(Phase::Export, |course| {
            let (options, cache) = (&course.inputs.export, &course.inputs.cache);
            export(options, course.images, cache, course.steps.store, course.reporter)
                .map_err(PlatformError::Export)
        })?;
        Ok((restored, exported))
    }

    /// How long each phase took, in order. The builder's root is not needed any more.
    pub(super) fn finish(self) -> Vec<PhaseTime> {
        self.times
    }

    fn restore(&self, extensions: Extensions) -> Result<RestoreReport, PlatformError> {
        let (steps, images) = (&self.steps, self.images);
        let options = RestoreOptions {
            build_image: extensions.build_image(),
            ..self.inputs.restore.clone()
        };
        let source = WithBuilder {
            builder: &steps.options.builder,
            others: images.source,
        };
        let bases = source.bases(steps.workspace.base_images(), images.platform);
        let cache = &self.inputs.cache;
        restore(&options, Some(images), Some(&bases), cache, &**self.reporter).map_err(PlatformError::Restore)
    }

    fn extend_run(&self) -> Result<(), PlatformError> {
        let (steps, images) = (&self.steps, self.images);
        self.reporter.phase(Phase::ExtendRun);
        let image = extend::run_image(steps.workspace, images.source, images.platform)?;
        let root = ImageRoot::prepare(&image, steps.store, steps.isolation, &**self.reporter)?;
        steps.of_image(root).extend(ExtendKind::Run)
    }

    fn measure<T>(
        &mut self,
        phase: Phase,
        run: impl FnOnce(&Self) -> Result<T, PlatformError>,
    ) -> Result<T, PlatformError> {
        let start = Instant::now();
        let result = run(self);
        let took = start.elapsed();
        self.times.push(PhaseTime { phase, took });
        result
    }
}
