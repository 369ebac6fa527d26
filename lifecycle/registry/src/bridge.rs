//! Between threads that wait and the runtime that does not.

use std::fmt;
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex};

use tokio::runtime::{Builder, Handle, Runtime};

use crate::Error;
use crate::transport::lock;

/// Threads for the asynchronous part: it waits, and ciphers.
const WORKERS: usize = 2;

/// A runtime that starts when it is first needed.
#[derive(Default)]
pub(crate) struct Bridge(Mutex<Option<Runtime>>);

impl Bridge {
    /// The runtime, to start tasks on.
    pub(crate) fn handle(&self) -> Result<Handle, Error> {
        let mut runtime = lock(&self.0);
        if let Some(runtime) = &*runtime {
            return Ok(runtime.handle().clone());
        }
        let made = Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .thread_name("registry")
            .enable_all()
            .build()
            .map_err(|cause| Error::Local {
                what: "cannot start threads for the network",
                cause: Arc::new(cause),
            })?;
        Ok(runtime.insert(made).handle().clone())
    }

    /// Waits for `work`. Not to be called from an asynchronous task.
    pub(crate) fn wait<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.handle()?.block_on(work)
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        // The last owner may be a task of the runtime itself, which could not wait for its own end.
        if let Some(runtime) = lock(&self.0).take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Bridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bridge")
    }
}

/// Runs `work`, which blocks, where blocking is allowed.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(broken_off)
}

/// A task that did not come to its end: it panicked, or the runtime is gone.
pub(crate) fn broken_off(error: tokio::task::JoinError) -> Error {
    Error::Local {
        what: "the work was broken off",
        cause: Arc::new(io::Error::other(error)),
    }
}
