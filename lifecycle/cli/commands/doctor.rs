//! `lifecycle doctor`

use std::path::PathBuf;

use lifecycle_sandbox::{Host, RungReport};
use rustix::fs::{Access, access};
use serde::Serialize;

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
    credentials: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
struct Rung {
    number: u8,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<String>,
}

#[derive(Debug, Serialize)]
struct Store {
    path: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    free: u64,
}

pub(crate) fn run(form: OutputForm, session: &Session) -> Result<(), Failure> {
    let report = examine(session)?;
    match form {
        OutputForm::Json => session.console.json(&report),
        OutputForm::Text => Ok(session.console.result(&text(&report))?),
    }
}

fn examine(session: &Session) -> Result<Report, Failure> {
    let store = session.store()?;
    // Whether overlay works depends on the file system that roots will lie on.
    let scratch = tempfile::Builder::new()
        .prefix("lifecycle-doctor-")
        .tempdir_in(store.path().join("tmp"));
    let scratch = match scratch {
        Ok(scratch) => scratch,
        Err(_) => tempfile::tempdir_in(session.scratch()?)?,
    };
    let host = Host::probe(scratch.path())?;
    let rungs: Vec<Rung> = host.rungs().into_iter().map(rung).collect();
    let space = rustix::fs::statvfs(store.path())?;
    Ok(Report {
        kernel: host.kernel.clone(),
        user: format!("{}:{}", host.uid, host.gid),
        isolation: rungs.iter().find(|rung| rung.missing.is_none()).cloned(),
        rungs,
        store: Store {
            path: store.path().to_owned(),
            bytes: store.usage().ok().map(|usage| usage.total()),
            free: space.f_bavail.saturating_mul(space.f_frsize),
        },
        mmdebstrap: program("mmdebstrap", &session.environment),
        credentials: credentials(&session.environment),
    })
}

fn rung(report: RungReport) -> Rung {
    let (missing, grant) = report
        .missing
        .map(|missing| (missing.reason, missing.grant))
        .unzip();
    Rung {
        number: report.rung.number(),
        name: report.rung.to_string(),
        missing,
        grant,
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
    let used = report.store.bytes.map_or_else(|| "?".to_owned(), human_size);
    let store = format!(
        "{} ({used} used, {} free)",
        report.store.path.display(),
        human_size(report.store.free)
    );
    facts.row(["Store", &store]);
    let mmdebstrap = report.mmdebstrap.as_ref().map_or_else(
        || "missing: stacks cannot be made from packages here (`apt install mmdebstrap`)".to_owned(),
        |path| path.display().to_string(),
    );
    facts.row(["mmdebstrap", &mmdebstrap]);
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
    for rung in &report.rungs {
        let (holds, why) = rung
            .missing
            .as_deref()
            .map_or(("yes", ""), |reason| ("no", reason));
        ladder.row([rung.number.to_string().as_str(), &rung.name, holds, why]);
        if let Some(grant) = &rung.grant {
            ladder.row(["", "", "", &format!("to allow it: {grant}")]);
        }
    }
    format!("{facts}\n{ladder}")
}
