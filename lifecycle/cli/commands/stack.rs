//! `lifecycle stack create|list|inspect`

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use lifecycle_builder::stack::{self, Definition, Part, Sources};
use lifecycle_builder::{BuilderError, Folder};
use lifecycle_image::{Image, Platform, Reference, Source};
use serde_json::{Value, json};

use crate::arguments::{OutputForm, StackCommand};
use crate::console::{Column, Table, human_size};
use crate::failure::Failure;
use crate::place::Place;
use crate::program::OWN_PROGRAM;
use crate::session::Session;
use crate::transfer;

pub(crate) fn run(command: &StackCommand, session: &Session) -> Result<(), Failure> {
    match command {
        StackCommand::Create { stack, force } => {
            let folder = find(stack)?;
            let definition = Definition::read(&folder)?;
            if !*force && missing(&definition, session)?.is_empty() {
                session.console.info(format!(
                    "the store has the stack {} already; --force makes it again",
                    definition.id
                ));
                return Ok(());
            }
            create(&folder, &definition, session)
        }
        StackCommand::List { output } => list(*output, session),
        StackCommand::Inspect { stack, output } => {
            inspect(&Definition::read(&find(stack)?)?, *output, session)
        }
    }
}

fn find(name: &str) -> Result<Folder, BuilderError> {
    Folder::find("stack", name, "stack.toml")
}

/// The parts of a stack that the store does not have.
pub(crate) fn missing(definition: &Definition, session: &Session) -> Result<Vec<Part>, Failure> {
    let store = session.store()?;
    let mut missing = Vec::new();
    for part in Part::BOTH {
        if store.artifact(&definition.reference(part)?).is_err() {
            missing.push(part);
        }
    }
    Ok(missing)
}

/// Makes a stack unless the store has it, in a process of its own: the package tools need the user's ids as they are, and
/// start threads, so this comes before a namespace is entered.
pub(crate) fn make_apart(definition: &Definition, session: &Session) -> Result<(), Failure> {
    if missing(definition, session)?.is_empty() {
        return Ok(());
    }
    session.console.info(format!(
        "the stack {} is not here yet; making it takes about a minute",
        definition.id
    ));
    let status = Command::new(OWN_PROGRAM)
        .arg("--store")
        .arg(session.store_directory()?)
        .args(["stack", "create", &definition.id])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new(
        "stack",
        format!("the stack {} could not be made", definition.id),
    ))
}

/// Makes both images of a stack, side by side, and writes them into the store.
pub(crate) fn create(folder: &Folder, definition: &Definition, session: &Session) -> Result<(), Failure> {
    let store = session.store()?;
    let sources = Sources {
        apt: machine_sources(&definition.mmdebstrap.suite),
        apt_options: machine_options(),
        temporary: session.scratch()?.to_owned(),
    };
    session
        .console
        .phase(&format!("Making the stack {} from packages", definition.id));
    let (console, progress) = (&session.console, &session.progress());
    let make = |part: Part| -> Result<Image, BuilderError> {
        let say = |line: &str| console.debug(format!("{}: {line}", part.as_str()));
        let image = stack::create(folder, definition, part, &sources, store, progress, &say)?;
        console.info(format!("made the {} image of {}", part.as_str(), definition.id));
        Ok(image)
    };
    let images = thread::scope(|scope| {
        Part::BOTH
            .map(|part| scope.spawn(move || make(part)))
            .map(|maker| {
                maker
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
    });
    for (part, image) in Part::BOTH.into_iter().zip(images) {
        let reference = definition.reference(part)?;
        let receipt = transfer::write(
            &image?,
            &session.destination(&Place::Store(reference.clone()), None)?,
        )?;
        session
            .console
            .result(&format!("{}@{}", reference.familiar(), receipt.digest))?;
    }
    Ok(())
}

/// The machine's own apt sources, when they name the suite: they know mirrors, proxies and keys that work here.
fn machine_sources(suite: &str) -> Vec<String> {
    sources_in(Path::new("/etc/apt"), suite)
}

/// The machine's own settings for downloads: proxies, and certificates of whoever stands in between. Without apt there
/// are none.
fn machine_options() -> Vec<String> {
    let mut command = Command::new("apt-config");
    command.args(["dump", "--format", "%f \"%v\";%n", "Acquire"]);
    let dump = command.output().map(|output| output.stdout).unwrap_or_default();
    download_options(&String::from_utf8_lossy(&dump))
}

fn download_options(dump: &str) -> Vec<String> {
    let is_for_downloads = |line: &&str| {
        let name = line.split(' ').next().unwrap_or_default().to_ascii_lowercase();
        let (is_http, is_set) = (name.starts_with("acquire::http"), !line.ends_with("\"\";"));
        is_http && is_set && (name.contains("::proxy") || name.ends_with("::cainfo"))
    };
    dump.lines().filter(is_for_downloads).map(str::to_owned).collect()
}

fn sources_in(apt: &Path, suite: &str) -> Vec<String> {
    let listed = fs_err::read_dir(apt.join("sources.list.d"))
        .into_iter()
        .flatten()
        .flatten();
    let mut files: Vec<PathBuf> = listed.map(|entry| entry.path()).collect();
    files.sort();
    files.insert(0, apt.join("sources.list"));
    let is_source = |path: &PathBuf| {
        path.extension()
            .is_some_and(|kind| kind == "list" || kind == "sources")
    };
    let names_suite = |path: &PathBuf| fs_err::read_to_string(path).is_ok_and(|text| names(&text, suite));
    files.retain(|path| is_source(path) && names_suite(path));
    files.into_iter().map(|path| path.display().to_string()).collect()
}

/// Whether a file of apt sources, in the old form or the new one, takes packages from exactly this suite.
fn names(text: &str, suite: &str) -> bool {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .any(|line| {
            let is_source = line.starts_with("deb ") || line.to_ascii_lowercase().starts_with("suites:");
            is_source && line.split_whitespace().any(|word| word == suite)
        })
}

fn list(form: OutputForm, session: &Session) -> Result<(), Failure> {
    let mut table = Table::new([
        Column::Left("STACK"),
        Column::Left("IN THE STORE"),
        Column::Left("DESCRIPTION"),
    ]);
    let mut stacks = Vec::new();
    for folder in Folder::embedded("stack") {
        let definition = Definition::read(&folder)?;
        let made = missing(&definition, session)?.is_empty();
        table.row([
            definition.id.as_str(),
            if made { "yes" } else { "no" },
            &definition.description,
        ]);
        stacks.push(json!({ "id": definition.id, "description": definition.description, "inStore": made }));
    }
    match form {
        OutputForm::Json => session.console.json(&stacks),
        OutputForm::Text => Ok(session.console.result(&table.to_string())?),
    }
}

fn inspect(definition: &Definition, form: OutputForm, session: &Session) -> Result<(), Failure> {
    let images: Vec<Value> = Part::BOTH
        .into_iter()
        .map(|part| image(definition, part, session))
        .collect::<Result<_, _>>()?;
    if form == OutputForm::Json {
        return session.console.json(&json!({
            "id": definition.id,
            "description": definition.description,
            "distribution": { "name": definition.distro.name, "version": definition.distro.version },
            "suite": definition.mmdebstrap.suite,
            "components": definition.mmdebstrap.components,
            "images": images,
        }));
    }
    let mut facts = Table::new([Column::Left(""), Column::Left("")]);
    facts.row(["Stack", &definition.id]);
    facts.row(["About", &definition.description]);
    facts.row([
        "Distribution",
        &format!("{} {}", definition.distro.name, definition.distro.version),
    ]);
    facts.row([
        "Suite",
        &format!(
            "{} ({})",
            definition.mmdebstrap.suite,
            definition.mmdebstrap.components.join(", ")
        ),
    ]);
    let mut text = facts.to_string();
    for (part, image) in Part::BOTH.into_iter().zip(&images) {
        let parts = definition.image(part);
        let mut facts = Table::new([Column::Left(""), Column::Left("")]).indented(2);
        let state = match (image["digest"].as_str(), image["size"].as_u64()) {
            (Some(digest), Some(size)) => format!("{digest} ({})", human_size(size)),
            _ => "not in the store; `lifecycle stack create` makes it".to_owned(),
        };
        facts.row(["Name", image["name"].as_str().unwrap_or_default()]);
        facts.row(["Digest", &state]);
        facts.row([
            "User",
            &format!("{} ({}:{})", parts.user.name, parts.user.uid, parts.user.gid),
        ]);
        facts.row([
            "Packages",
            &format!("{} and {}", parts.variant, parts.packages.join(" ")),
        ]);
        let title = match part {
            Part::Build => "Build image",
            Part::Run => "Run image",
        };
        text = format!("{text}\n{title}\n{facts}");
    }
    Ok(session.console.result(&text)?)
}

fn image(definition: &Definition, part: Part, session: &Session) -> Result<Value, Failure> {
    let reference: Reference = definition.reference(part)?;
    let parts = definition.image(part);
    let mut value = json!({
        "part": part.as_str(),
        "name": reference.familiar(),
        "packages": parts.packages,
        "user": { "name": parts.user.name, "uid": parts.user.uid, "gid": parts.user.gid },
    });
    if let Ok(image) = session.store()?.image(&reference, &Platform::host()) {
        let size: u64 = image
            .layers()
            .iter()
            .filter_map(|layer| layer.known())
            .map(|known| known.size)
            .sum();
        value["digest"] = image.digest()?.to_string().into();
        value["size"] = size.into();
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_of_the_suite_in_both_forms() {
        for (text, found) in [
            ("deb http://m.test/debian bookworm main", true),
            ("deb [signed-by=/k] http://m.test/debian bookworm main", true),
            ("# deb http://m.test/debian bookworm main", false),
            ("deb http://m.test/debian bookworm-updates main", false),
            ("deb-src http://m.test/debian bookworm main", false),
            ("Types: deb\nURIs: http://m.test\nSuites: trixie bookworm\n", true),
            ("Types: deb\nSuites: trixie\n", false),
        ] {
            assert_eq!(names(text, "bookworm"), found, "{text}");
        }
    }

    #[test]
    fn settings_for_downloads_are_taken_over() {
        let dump = "Acquire \"\";\nAcquire::cdrom::mount \"/media\";\nAcquire::http::Proxy \"http://p.test:3128\";\n\
                    Acquire::https::CaInfo \"/ca.pem\";\nAcquire::https::Proxy \"\";\nAcquire::http::Timeout \"30\";\n";
        let expected = [
            "Acquire::http::Proxy \"http://p.test:3128\";",
            "Acquire::https::CaInfo \"/ca.pem\";",
        ];
        assert_eq!(download_options(dump), expected);
    }

    #[test]
    fn files_that_name_the_suite_are_taken() {
        let apt = tempfile::tempdir().unwrap();
        fs_err::create_dir(apt.path().join("sources.list.d")).unwrap();
        let write = |name: &str, text: &str| fs_err::write(apt.path().join(name), text).unwrap();
        write("sources.list.d/b.sources", "Suites: bookworm\n");
        write("sources.list.d/a.list", "deb http://m.test bookworm main\n");
        write("sources.list.d/a.list.save", "deb http://m.test bookworm main\n");
        write("sources.list", "deb http://m.test trixie main\n");
        let found = sources_in(apt.path(), "bookworm");
        let names: Vec<_> = found
            .iter()
            .map(|path| path.rsplit('/').next().unwrap())
            .collect();
        assert_eq!(names, ["a.list", "b.sources"]);
        assert!(sources_in(apt.path(), "sid").is_empty());
    }
}
