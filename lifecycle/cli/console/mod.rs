//! What people and programs see of a command while it runs.
//!
//! Messages go to stderr, results to stdout. A [`Console`] turns [`Event`]s into text or JSON lines; on a
//! terminal it also draws what is moving right now. It is the [`Progress`] that the libraries report to.

mod bytes;
mod json;
mod live;
mod reporter;
mod stamped;
mod table;
mod text;

use std::fmt;
use std::io::{IsTerminal, Write};
use std::sync::Arc;

use lifecycle_diagnostics::Diagnostic;
use lifecycle_image::{Meter, Outcome, Progress, Step};

pub(crate) use bytes::{human_age, human_duration, human_size};
pub(crate) use table::{Column, Table};

use crate::environment::Environment;
pub(crate) use crate::failure::ResultsUnwanted;

use crate::failure::Failure;

/// How messages look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Level {
    /// Everything.
    Debug,
    /// What is being done.
    #[default]
    Info,
    /// Only what went wrong or may.
    Warning,
}

/// Something worth telling.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    /// A phase begins.
    Phase(&'a str),
    /// A line that a program of the build wrote, without its newline.
    Output(&'a [u8]),
    /// Something was done.
    Info(&'a str),
    /// Something only a debugger of the build wants to know.
    Debug(&'a str),
    /// Something may be wrong.
    Warning(&'a str),
    /// Something is wrong.
    Diagnostic(&'a Diagnostic),
    /// A blob was dealt with.
    Moved {
        step: Step,
        name: &'a str,
        bytes: u64,
        outcome: Outcome,
    },
}

impl Event<'_> {
    fn level(&self) -> Level {
        match self {
            Self::Debug(_) => Level::Debug,
            Self::Warning(_) | Self::Diagnostic(_) => Level::Warning,
            _ => Level::Info,
        }
    }
}

/// Writes events in one form.
trait Renderer: Send + Sync {
    /// The lines that tell an event, each with its newline. Empty if there is nothing to say.
    fn render(&self, event: &Event<'_>) -> Vec<u8>;
}

/// Where a command's messages go. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Console {
    renderer: Arc<dyn Renderer>,
    level: Level,
    live: Option<live::Live>,
    color: bool,
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console")
            .field("level", &self.level)
            .finish_non_exhaustive()
    }
}

impl Console {
    /// The console of this process.
    pub(crate) fn new(format: LogFormat, level: Level, no_color: bool, environment: &Environment) -> Self {
        let terminal = std::io::stderr().is_terminal() && environment.text("TERM") != Some("dumb");
        let color = terminal && !no_color && environment.os("NO_COLOR").is_none();
        let renderer: Arc<dyn Renderer> = match format {
            LogFormat::Text => Arc::new(text::Text::new(color)),
            LogFormat::Json => Arc::new(json::Json),
        };
        let live =
            (terminal && format == LogFormat::Text && level < Level::Warning).then(live::Live::default);
        Self {
            renderer,
            level,
            live,
            color,
        }
    }

    /// The same console, with the time in front of each line.
    pub(crate) fn stamped(self) -> Self {
        let renderer = Arc::new(stamped::Stamped(self.renderer));
        Self { renderer, ..self }
    }

    /// Whether what is said may be coloured.
    pub(crate) fn is_colored(&self) -> bool {
        self.color
    }

    /// Whether everything is said.
    pub(crate) fn is_verbose(&self) -> bool {
        self.level == Level::Debug
    }

    /// Tells an event.
    pub(crate) fn tell(&self, event: &Event<'_>) {
        if event.level() < self.level {
            return;
        }
        let lines = self.renderer.render(event);
        if lines.is_empty() {
            return;
        }
        // A console that is gone is no reason to stop a build.
        let write = || drop(std::io::stderr().write_all(&lines));
        match &self.live {
            Some(live) => live.above(write),
            None => write(),
        }
    }

    /// A phase begins.
    pub(crate) fn phase(&self, name: &str) {
        self.tell(&Event::Phase(name));
    }

    /// Something was done.
    pub(crate) fn info(&self, message: impl AsRef<str>) {
        self.tell(&Event::Info(message.as_ref()));
    }

    /// Something that only matters when looking for a fault.
    pub(crate) fn debug(&self, message: impl AsRef<str>) {
        self.tell(&Event::Debug(message.as_ref()));
    }

    /// Something may be wrong.
    pub(crate) fn warning(&self, message: impl AsRef<str>) {
        self.tell(&Event::Warning(message.as_ref()));
    }

    /// Something is wrong, with the place where.
    pub(crate) fn diagnostic(&self, diagnostic: &Diagnostic) {
        self.tell(&Event::Diagnostic(diagnostic));
    }

    /// The result of the command, for programs: on stdout, with a newline. To a terminal it says nothing but its text.
    ///
    /// # Errors
    /// When nobody reads stdout.
    pub(crate) fn result(&self, text: &str) -> Result<(), ResultsUnwanted> {
        let text = if std::io::stdout().is_terminal() {
            text::harmless(text)
        } else {
            text.into()
        };
        let newline: &[u8] = if text.ends_with('\n') { b"" } else { b"\n" };
        let write = || {
            let mut stdout = std::io::stdout().lock();
            stdout.write_all(text.as_bytes())?;
            stdout.write_all(newline)?;
            stdout.flush()
        };
        let written = match &self.live {
            Some(live) => live.above(write),
            None => write(),
        };
        written.map_err(ResultsUnwanted)
    }

    /// The result as JSON, indented for people who look at it nevertheless.
    ///
    /// # Errors
    /// When nobody reads stdout.
    pub(crate) fn json(&self, value: &impl serde::Serialize) -> Result<(), Failure> {
        Ok(self.result(&serde_json::to_string_pretty(value)?)?)
    }

    /// Takes away what is drawn at the bottom of the terminal.
    pub(crate) fn clear(&self) {
        if let Some(live) = &self.live {
            live.clear();
        }
    }
}

impl Progress for Console {
    fn begin(&self, step: Step, name: &str, total: Option<u64>) -> Box<dyn Meter> {
        let bar = self.live.as_ref().map(|live| live.bar(step, name, total));
        Box::new(Watched {
            console: self.clone(),
            step,
            name: name.to_owned(),
            bytes: 0.into(),
            bar,
        })
    }
}

/// One blob on the move.
struct Watched {
    console: Console,
    step: Step,
    name: String,
    bytes: std::sync::atomic::AtomicU64,
    bar: Option<live::Bar>,
}

impl Meter for Watched {
    fn advance(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
        if let Some(bar) = &self.bar {
            bar.advance(bytes);
        }
    }

    fn finish(&self, outcome: Outcome) {
        if let Some(bar) = &self.bar {
            bar.clear();
        }
        let bytes = self.bytes.load(std::sync::atomic::Ordering::Relaxed);
        self.console.tell(&Event::Moved {
            step: self.step,
            name: &self.name,
            bytes,
            outcome,
        });
    }
}
