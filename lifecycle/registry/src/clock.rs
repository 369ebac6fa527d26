//! Time and chance, as arguments.

use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::time::{Duration, SystemTime};

/// Where the registry takes time and chance from; tests hold them.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The time now. Tokens expire by it, and `Retry-After` dates are compared with it.
    fn now(&self) -> SystemTime;

    /// A number from 0 up to 1 that spreads the retries of many clients.
    fn jitter(&self) -> f64;

    /// Waits before a retry.
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// The clock of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn jitter(&self) -> f64 {
        // The standard library seeds its hash maps from the system's random numbers; that is chance enough.
        let bits = RandomState::new().hash_one(()) >> 40;
        u32::try_from(bits).map_or(0.5, |bits| f64::from(bits) / f64::from(1_u32 << 24))
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(duration))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_lies_between_nought_and_one() {
        for _ in 0..100 {
            let jitter = SystemClock.jitter();
            assert!((0.0..1.0).contains(&jitter), "{jitter}");
        }
    }
}
