//! Files of a web server that can be told to fail, and repositories, hostile ones among them.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

#[cfg(test)]
#[path = "../../../../tests/support/certificates.rs"]
mod certificates;
#[cfg(test)]
#[path = "../../../../tests/support/file_server/mod.rs"]
#[expect(unreachable_pub, reason = "a module file that several test programs include")]
mod file_server;
#[cfg(test)]
#[path = "../../../../tests/support/proxy.rs"]
mod proxy;
#[cfg(test)]
#[path = "../../../../tests/support/tls_front.rs"]
mod tls_front;

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod hosts;
#[cfg(test)]
mod objects;
#[cfg(test)]
mod proxies;
#[cfg(test)]
mod repositories;
#[cfg(test)]
mod web;
#[cfg(test)]
#[expect(
    dead_code,
    reason = "shared with the registry's own tests, which use other parts of it"
)]
#[path = "../../../../tests/support/wire.rs"]
mod wire;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lifecycle_registry::{Clock, Registry, Settings, Timeouts};
use lifecycle_remote::{GitSettings, Remote, StoreSettings};

/// Time that does not pass.
#[derive(Debug)]
struct QuickClock;

impl Clock for QuickClock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    fn jitter(&self) -> f64 {
        0.0
    }

    fn sleep(&self, _: Duration) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::ready(()))
    }
}

fn remote(git: GitSettings) -> Remote {
    remote_with(git, Timeouts::default())
}

fn remote_with(git: GitSettings, timeouts: Timeouts) -> Remote {
    let settings = Settings {
        clock: Arc::new(QuickClock),
        timeouts,
        ..Settings::default()
    };
    Remote::new(
        Registry::new(settings).unwrap().web(),
        git,
        StoreSettings::default(),
    )
}

/// An error with all that caused it.
fn sentence(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
