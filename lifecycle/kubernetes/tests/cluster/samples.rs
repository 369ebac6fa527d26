//! A client, a build, and somebody who writes down what happens.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use lifecycle_kubernetes::{
    CacheAt, Cluster, ClusterError, Connection, Control, Credentials, Event, Executor, Followed, Life,
    Manifests, Patience, Placement, PodSecurity, Recipe, RegistryAccess, Resources, SourceAt, State,
    Submission,
};

use crate::fake_cluster::FakeCluster;

pub(crate) const ID: &str = "app-1a2b3c4d";

pub(crate) fn submission() -> Submission {
    Submission {
        id: ID.to_owned(),
        namespace: "builds".to_owned(),
        tags: vec!["r.test/team/app:1".parse().unwrap()],
        recipe: Recipe::Dockerfile {
            arguments: Vec::new(),
            secrets: BTreeMap::from([("token".to_owned(), b"s3cr3t".to_vec())]),
        },
        source: SourceAt::Stream {
            patience: Duration::from_mins(1),
        },
        executor: Executor {
            image: "r.test/executor:1".to_owned(),
            program: "/lifecycle".to_owned(),
        },
        credentials: Credentials::None,
        cache: CacheAt::None,
        security: PodSecurity::Restricted,
        user: (65532, 65532),
        placement: Placement::default(),
        resources: Resources::default(),
        life: Life::default(),
        registry: RegistryAccess::default(),
    }
}

/// A server, and clients that do not wait for what never heals.
pub(crate) struct Site {
    pub(crate) server: FakeCluster,
    directory: tempfile::TempDir,
    silence: Duration,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self::with_silence(Duration::from_mins(1))
    }

    /// A site whose clients look after a connection on which nothing has come for so long: on a busy machine that may be one
    /// on which something would have come.
    pub(crate) fn with_silence(silence: Duration) -> Self {
        Self {
            server: FakeCluster::start(),
            directory: tempfile::tempdir().unwrap(),
            silence,
        }
    }

    pub(crate) fn write_token(&self, token: &str) {
        self.server.kubeconfig_with_token(self.directory.path(), token);
    }

    pub(crate) fn client(&self) -> Cluster {
        self.client_in(None)
    }

    pub(crate) fn client_in(&self, namespace: Option<&str>) -> Cluster {
        let kubeconfig = vec![self.server.kubeconfig(self.directory.path())];
        Cluster::connect(Connection {
            kubeconfig,
            context: None,
            namespace: namespace.map(str::to_owned),
            patience: Patience {
                outage: Duration::from_mins(1),
                refusal: Duration::from_millis(300),
                silence: self.silence,
                pause: Duration::from_millis(20),
            },
        })
        .unwrap()
    }

    /// Submits a build and follows it on a thread.
    pub(crate) fn build(&self) -> Following {
        let client = self.client();
        let manifests = Manifests::of(&submission());
        client.submit(&manifests).unwrap();
        follow(client)
    }
}

/// Follows the build on a thread.
pub(crate) fn follow(client: Cluster) -> Following {
    let (control, seen) = (Control::default(), Arc::new(Mutex::new(Vec::new())));
    let thread = thread::spawn({
        let (control, seen) = (control.clone(), Arc::clone(&seen));
        move || {
            let followed = client.follow(ID, &control, &mut |event| seen.lock().unwrap().push(event));
            (followed, client)
        }
    });
    Following {
        control,
        seen,
        thread,
    }
}

/// A build that is followed.
pub(crate) struct Following {
    pub(crate) control: Control,
    seen: Arc<Mutex<Vec<Event>>>,
    thread: thread::JoinHandle<(Result<Followed, ClusterError>, Cluster)>,
}

/// How it went.
pub(crate) struct Story {
    pub(crate) end: Result<Followed, ClusterError>,
    pub(crate) events: Vec<Event>,
    pub(crate) client: Cluster,
}

impl Following {
    /// Waits until something was told.
    pub(crate) fn wait_for(&self, wanted: impl Fn(&Event) -> bool) {
        for _ in 0..30_000 {
            if self.seen.lock().unwrap().iter().any(&wanted) {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("it was never told, only {:#?}", self.seen.lock().unwrap());
    }

    pub(crate) fn wait_for_line(&self, text: &str) {
        self.wait_for(|event| matches!(event, Event::Line(line) if line == text));
    }

    pub(crate) fn end(self) -> Story {
        let (end, client) = self.thread.join().unwrap();
        let events = self.seen.lock().unwrap().clone();
        Story { end, events, client }
    }
}

impl Story {
    pub(crate) fn lines(&self) -> Vec<&str> {
        fn line(event: &Event) -> Option<&str> {
            match event {
                Event::Line(line) => Some(line),
                _ => None,
            }
        }
        self.events.iter().filter_map(line).collect()
    }

    pub(crate) fn steps(&self) -> Vec<String> {
        let step = |event: &Event| match event {
            Event::Step { step, attempt } => Some(format!("{step} {attempt}")),
            _ => None,
        };
        self.events.iter().filter_map(step).collect()
    }

    pub(crate) fn words(&self) -> Vec<String> {
        let word = |event: &Event| match event {
            Event::State(state) => Some(State::word(state)),
            _ => None,
        };
        self.events.iter().filter_map(word).collect()
    }
}
