//! How fast answers have to come.

use std::future::Future;
use std::time::{Duration, Instant};

/// So many bytes have to come while the patience lasts, which begins anew then. Whoever drips less keeps a build waiting for
/// ever, whatever its size limits are (kaniko.md 5.2).
pub(crate) const LEAST: usize = 64 << 10;

/// Watches over an answer that comes piece by piece.
#[derive(Debug)]
pub struct Pace {
    patience: Duration,
    /// How long we have waited since enough came; what we do with the bytes is our own time.
    waited: Duration,
    came: usize,
}

impl Pace {
    /// One who waits this long for 64 KiB.
    pub fn new(patience: Duration) -> Self {
        Self {
            patience,
            waited: Duration::ZERO,
            came: 0,
        }
    }

    /// Waits for the next piece, whose size `measure` tells; nothing when too little comes.
    pub async fn wait<T>(
        &mut self,
        next: impl Future<Output = T>,
        measure: impl FnOnce(&T) -> usize,
    ) -> Option<T> {
        let begun = Instant::now();
        let left = self.patience.saturating_sub(self.waited);
        let next = tokio::time::timeout(left, next).await.ok()?;
        self.note(begun.elapsed(), measure(&next));
        Some(next)
    }

    /// Takes note of bytes that came, and how long they were waited for; false when that is too slow.
    pub fn note(&mut self, waited: Duration, came: usize) -> bool {
        self.waited += waited;
        self.came += came;
        if self.came >= LEAST {
            *self = Self::new(self.patience);
        }
        self.waited < self.patience
    }

    /// For how long.
    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    /// What did not happen.
    pub(crate) fn lack(&self) -> &'static str {
        if self.came == 0 {
            "nothing came"
        } else {
            "less than 64 KiB came"
        }
    }
}
