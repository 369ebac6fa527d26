//! `lifecycle doctor`

use std::path::PathBuf;

use lifecycle_sandbox::{Host, RungReport};
use rustix::fs::{Access, access};
use serde::Serialize;
use tempfile::TempDir;

use crate::arguments::OutputForm;
use crate::console::{Column, Table, human_size};
use crate::environment::Environment;
use crate::failure::Failure;
use crate::registry;
use crate::session::Session;

/// What this machine allows.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    kernel: String,
    user: String,
    /// The strongest isolation that holds.
    isolation: Option<Rung>,
    rungs: Vec<Rung>,
    store: Store,
    mmdebstrap: Option<PathBuf>,
    /// The program that fetches repositories. Without it a library does.
    git: Option<PathBuf>,
    credentials: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
struct Rung {
    number: u8,
    name: String,
    /// Empty: it holds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing: Vec<Missing>,
}

/// What is in the way, and what would grant it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Missing {
    reason: String,
    grant: String,
}

/// Where images and layers are kept.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Store {
    #[serde(rename_all = "camelCase")]
    Usable {
        path: PathBuf,
        #[serde(skip_serializing_if = "Option::is_none")]
        bytes: Option<u64>,
        free: u64,
    },
    Missing(Missing),
}

pub(crate) fn run(form: OutputForm, session: &Session) -> Result<(), Failure> {
    let report = examine(session)?;
    match form {
        OutputForm::Json => session.console.json(&report),
        OutputForm::Text => Ok(session.console.result(&text(&report))?),
    }
}

fn examine(session: &Session) -> Result<Report, Failure> {
    let (store, scratch) = store(session)?;
    let host = Host::probe(scratch.path())?;
    let rungs: Vec<Rung> = host.rungs().into_iter().map(rung).collect();
    Ok(Report {
        kernel: host.kernel.clone(),
        user: format!("{}:{}", host.uid, host.gid),
        isolation: rungs.iter().find(|rung| rung.missing.is_empty()).cloned(),
        rungs,
        store,
        mmdebstrap: program("mmdebstrap", &session.environment),
        git: program("git", &session.environment),
        credentials: credentials(&session.environment),
    })
}

/// The store, and a directory to try things in: on its file system, for whether overlay works depends on that. Where
/// nothing can be written, as in a container with a read-only root, the memory of every container will do.
fn store(session: &Session) -> Result<(Store, TempDir), Failure> {
    let missing = match session.store() {
        Ok(store) => {
            let space = rustix::fs::statvfs(store.path())?;
            let scratch = tempfile::Builder::new()
                .prefix("lifecycle-doctor-")
                .tempdir_in(store.path().join("tmp"));
            let usable = Store::Usable {
                path: store.path().to_owned(),
                bytes: store.usage().ok().map(|usage| usage.total()),
                free: space.f_bavail.saturating_mul(space.f_frsize),
            };
            // It may be another user's.
            let scratch = scratch.or_else(|_| tempfile::tempdir_in(session.environment.temporary_directory()));
            return Ok((usable, scratch?));
        }
        Err(failure) => Missing {
            reason: failure.reason(),
            grant: "a volume that can be written, `volumes: [{name: store, emptyDir: {}}]` in a pod, and its path in \
                    --store or LIFECYCLE_STORE"
                .to_owned(),
        },
    };
    let scratch = tempfile::tempdir_in(session.environment.temporary_directory());
    let scratch = scratch.or_else(|_| tempfile::tempdir_in("/dev/shm"))?;
    Ok((Store::Missing(missing), scratch))
}

fn rung(report: RungReport) -> Rung {
    let missing = report.missing.into_iter().map(|missing| Missing {
        reason: missing.reason,
        grant: missing.grant,
    });
    Rung {
        number: report.rung.number(),
        name: report.rung.to_string(),
        missing: missing.collect(),
    }
}

/// Where a program is, as the shell would find it.
fn program(name: &str, environment: &Environment) -> Option<PathBuf> {
    let mut found = environment
        .program_directories()
        .into_iter()
        .map(|directory| directory.join(name));
    found.find(|path| path.is_file() && access(path, Access::EXEC_OK).is_ok())
}

/// Where credentials for registries are. What they are is nobody's business.
fn credentials(environment: &Environment) -> Vec<String> {
    let variable = environment
        .text(registry::AUTH_MAP)
        .map(|_| format!("variable {}", registry::AUTH_MAP));
    let files = registry::credential_files(environment)
        .into_iter()
        .filter(|path| path.is_file());
    variable
        .into_iter()
        .chain(files.map(|path| path.display().to_string()))
        .collect()
}

fn text(report: &Report) -> String {
    let mut facts = Table::new([Column::Left(""), Column::Left("")]);
    facts.row(["Kernel", &report.kernel]);
    facts.row(["User", &report.user]);
    let isolation = report.isolation.as_ref().map_or_else(
        || "none: everything works that needs no command to be run".to_owned(),
        |rung| format!("rung {}, {}", rung.number, rung.name),
    );
    facts.row(["Isolation", &isolation]);
    let store = match &report.store {
        Store::Usable { path, bytes, free } => {
            let used = bytes.map_or_else(|| "?".to_owned(), human_size);
            format!("{} ({used} used, {} free)", path.display(), human_size(*free))
        }
        Store::Missing(missing) => format!("none: {}; to have one: {}", missing.reason, missing.grant),
    };
    facts.row(["Store", &store]);
    let mmdebstrap = report.mmdebstrap.as_ref().map_or_else(
        || "missing: stacks cannot be made from packages here (`apt install mmdebstrap`)".to_owned(),
        |path| path.display().to_string(),
    );
    facts.row(["mmdebstrap", &mmdebstrap]);
    let git = report.git.as_ref().map_or_else(
        || "no program: repositories come by http, https and git; ssh takes one (`apt install git openssh-client`)".to_owned(),
        |path| path.display().to_string(),
    );
    facts.row(["git", &git]);
    let credentials = if report.credentials.is_empty() {
        "none".to_owned()
    } else {
        report.credentials.join(", ")
    };
    facts.row(["Credentials", &credentials]);
    let mut ladder = Table::new([
        Column::Right("RUNG"),
        Column::Left("ISOLATION"),
        Column::Left("HERE"),
        Column::Left(""),
    ]);
    let mut above: &[Missing] = &[];
    for rung in &report.rungs {
        let number = rung.number.to_string();
        let row = |holds, why: &str| [number.clone(), rung.name.clone(), holds, why.to_owned()];
        match rung.missing.split_first() {
            None => ladder.row(row("yes".to_owned(), "")),
            Some(_) if rung.missing == above => ladder.row(row("no".to_owned(), "as above")),
            Some((first, others)) => {
                ladder.row(row("no".to_owned(), &first.reason));
                ladder.row(["", "", "", &allow(first)]);
                for missing in others {
                    ladder.row(["", "", "", &missing.reason]);
                    ladder.row(["", "", "", &allow(missing)]);
                }
            }
        }
        above = &rung.missing;
    }
    format!("{facts}\n{ladder}")
}

fn allow(missing: &Missing) -> String {
    format!("  to allow it: {}", missing.grant)
}
