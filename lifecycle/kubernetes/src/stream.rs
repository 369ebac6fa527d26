//! The source through the API server, into a pod that waits for it (JC-02).

use std::io::{Read, Seek, SeekFrom};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::api::AttachParams;
use lifecycle_image::Digest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::cluster::{Cluster, Server};
use crate::error::ClusterError;
use crate::state::{is_active, statuses};
use crate::submit::attempt;

/// A source as one file, and what the receiver is to find.
#[derive(Debug)]
pub struct SourceArchive {
    /// The bytes, from their beginning.
    pub file: std::fs::File,
    /// How many there are.
    pub size: u64,
    /// Their digest.
    pub digest: Digest,
}

/// What the receiver says when everything has arrived.
pub const RECEIVED: &str = "received";

impl Cluster {
    /// Sends a source into the waiting step of a build. A stream that breaks is sent anew from the beginning, until
    /// `limit`; the receiver takes nothing but the whole.
    pub fn send_source(
        &self,
        id: &str,
        program: &str,
        source: &mut SourceArchive,
        limit: Duration,
    ) -> Result<(), ClusterError> {
        self.runtime
            .block_on(self.api.send_source(id, program, source, limit))
    }
}

impl Server {
    async fn send_source(
        &self,
        id: &str,
        program: &str,
        source: &mut SourceArchive,
        limit: Duration,
    ) -> Result<(), ClusterError> {
        let until = Instant::now() + limit;
        let mut pause = self.patience.pause;
        loop {
            let failed = match self.waiting_pod(id).await? {
                // Until then the build's state says why nothing runs.
                Receiver::NotYet => "its pod does not run yet".to_owned(),
                Receiver::Passed => return Ok(()),
                Receiver::Waits(pod) => match self.send_once(&pod, program, source).await {
                    Ok(()) => return Ok(()),
                    Err(error @ (ClusterError::Forbidden { .. } | ClusterError::Unauthorized(_))) => {
                        return Err(error);
                    }
                    Err(error) => error.to_string(),
                },
            };
            if Instant::now() >= until {
                return Err(ClusterError::Upload(failed));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }

    async fn waiting_pod(&self, id: &str) -> Result<Receiver, ClusterError> {
        for pod in self.pods(id).await?.items.iter().filter(|pod| is_active(pod)) {
            let Some(source) = statuses(pod).find(|container| container.name == "source") else {
                continue;
            };
            let state = source.state.as_ref();
            if state.is_some_and(|state| state.running.is_some()) {
                return Ok(Receiver::Waits(pod.metadata.name.clone().unwrap_or_default()));
            }
            if state.is_some_and(|state| state.terminated.is_some()) {
                return Ok(Receiver::Passed);
            }
        }
        Ok(Receiver::NotYet)
    }

    async fn send_once(
        &self,
        pod: &str,
        program: &str,
        source: &mut SourceArchive,
    ) -> Result<(), ClusterError> {
        let size = source.size.to_string();
        let command = [
            program,
            "pod",
            "receive",
            "--size",
            &size,
            "--digest",
            source.digest.as_str(),
        ];
        let params = AttachParams::default()
            .container("source")
            .stdin(true)
            .stdout(true)
            .stderr(true)
            .tty(false);
        let attempted = attempt("create", "pods/exec");
        let mut process = self
            .all::<Pod>()
            .exec(pod, command, &params)
            .await
            .map_err(|error| ClusterError::of(error, attempted, &self.namespace))?;
        let broken = |cause: &dyn std::fmt::Display| ClusterError::Upload(cause.to_string());
        let (Some(mut to), Some(mut from), Some(ended)) =
            (process.stdin(), process.stdout(), process.take_status())
        else {
            return Err(broken(&"the connection has no streams"));
        };
        source
            .file
            .seek(SeekFrom::Start(0))
            .map_err(|cause| broken(&cause))?;
        let send = async {
            let mut buffer = vec![0; 256 << 10];
            let mut left = source.size;
            while left > 0 {
                let read = source.file.read(&mut buffer)?;
                if read == 0 {
                    return Err(std::io::Error::other("the file has become shorter"));
                }
                let sending = tokio::time::timeout(self.patience.silence, to.write_all(&buffer[..read]));
                sending.await??;
                left = left.saturating_sub(read as u64);
            }
            tokio::time::timeout(self.patience.silence, to.flush()).await??;
            let mut answer = Vec::new();
            let answered = from.read_to_end(&mut answer);
            tokio::time::timeout(self.patience.silence, answered).await??;
            Ok(String::from_utf8_lossy(&answer).into_owned())
        };
        let mut send = std::pin::pin!(send);
        // Nobody closes the streams of a connection that was cut; but then there is no status either.
        let answer: Result<String, std::io::Error> = tokio::select! {
            biased;
            answer = &mut send => answer,
            status = ended => match status {
                Some(_) => send.await,
                None => Err(std::io::Error::other("the connection was cut")),
            },
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(cause) => {
                process.abort();
                return Err(broken(&cause));
            }
        };
        if answer.contains(RECEIVED) {
            return Ok(());
        }
        let mut said = String::new();
        if let Some(mut errors) = process.stderr() {
            let read = tokio::time::timeout(Duration::from_secs(2), errors.read_to_string(&mut said));
            // What came is all there is.
            drop(read.await);
        }
        Err(broken(&if said.is_empty() {
            "the connection was cut".to_owned()
        } else {
            said.trim().to_owned()
        }))
    }
}

/// How far the step is that waits for the source.
enum Receiver {
    NotYet,
    Waits(String),
    /// It has its source already.
    Passed,
}
