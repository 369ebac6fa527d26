//! Events with the time at which they came.

use std::sync::Arc;

use super::{Event, Renderer};

/// Another form, with the time in front of each line. JSON has it in it.
pub(super) struct Stamped(pub(super) Arc<dyn Renderer>);

impl Renderer for Stamped {
    fn render(&self, event: &Event<'_>) -> Vec<u8> {
        let text = self.0.render(event);
        if text.first().is_none_or(|&byte| byte == b'{') {
            return text;
        }
        let now = jiff::Timestamp::now();
        let lines = text.split_inclusive(|&byte| byte == b'\n');
        lines
            .flat_map(|line| [format!("{now:.0} ").as_bytes(), line].concat())
            .collect()
    }
}
