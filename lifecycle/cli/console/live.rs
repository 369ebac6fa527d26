//! What is moving right now, drawn at the bottom of a terminal.

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use lifecycle_image::Step;

use super::text::harmless;

/// The live part of a terminal.
#[derive(Clone, Default)]
pub(super) struct Live {
    bars: MultiProgress,
}

/// The line of one piece of work.
pub(super) struct Bar(ProgressBar);

impl Live {
    /// Runs `write`, which prints lines, above the live part.
    pub(super) fn above<T>(&self, write: impl FnOnce() -> T) -> T {
        self.bars.suspend(write)
    }

    /// Takes all lines away.
    pub(super) fn clear(&self) {
        // A terminal that is gone needs no clearing.
        drop(self.bars.clear());
    }

    pub(super) fn bar(&self, step: Step, name: &str, total: Option<u64>) -> Bar {
        let template = if total.is_some() {
            "  {prefix:9} {wide_msg} {bytes:>10} / {total_bytes:10} {bar:20}"
        } else {
            "  {prefix:9} {wide_msg} {bytes:>10}"
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = self.bars.add(
            total
                .map_or_else(ProgressBar::no_length, ProgressBar::new)
                .with_style(style),
        );
        bar.set_prefix(verb(step));
        bar.set_message(harmless(name).into_owned());
        Bar(bar)
    }
}

impl Bar {
    pub(super) fn advance(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    pub(super) fn clear(&self) {
        self.0.finish_and_clear();
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn verb(step: Step) -> &'static str {
    match step {
        Step::Hash => "hashing",
        Step::Pack => "packing",
        Step::Extract => "unpacking",
        Step::Download => "pulling",
        Step::Upload => "pushing",
        Step::Copy => "copying",
    }
}
