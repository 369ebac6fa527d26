//! From source to a directory that is ready to be a slug (platforms.md 2.1, 2.5).

mod check;
mod compile;
mod finish;
mod places;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use lifecycle_store::{Scratch, Store};

pub use self::check::check;
use self::compile::Compiler;
pub(crate) use self::finish::RELEASE_FILE;
pub(crate) use self::places::APP;
use self::places::Places;
use crate::fetch::{Buildpack, fetch};
use crate::folder::Folder;
use crate::source::remove_git;
use crate::workshop::Workshop;
use crate::{
    Address, Choice, ConfigVars, Console, HerokuError, Procfile, Release, Remote, Rooms, SlugIgnore, Source,
    Stack,
};

/// What to build, and how.
#[derive(Debug)]
pub struct BuildOptions {
    /// The app.
    pub source: Source,
    /// What the scripts are told of the system.
    pub stack: Stack,
    /// Buildpacks in order, chosen by who builds; they go before what the app says (MP-01).
    pub buildpacks: Vec<Address>,
    /// Buildpacks of which the first that takes the app is used, when nobody chose any.
    pub defaults: Vec<Address>,
    /// Config vars, which scripts see as files.
    pub config_vars: ConfigVars,
    /// Variables of every script: proxies and the like, never config vars.
    pub variables: Vec<(String, String)>,
    /// The directory that buildpacks keep from build to build. It only changes when a build succeeds.
    pub cache: Option<PathBuf>,
    /// When `.slugignore` acts.
    pub slugignore: IgnoreAt,
    /// Whether the app's own `bin/pre-compile` and `bin/post-compile` are run (SB-01, HC-08).
    pub hooks: bool,
    /// Whether a `.env` file of the app adds config vars (HE-04).
    pub dot_env: bool,
    /// What the build is for.
    pub purpose: Purpose,
    /// `SOURCE_VERSION`, usually a commit.
    pub source_version: Option<String>,
    /// `REQUEST_ID`.
    pub request_id: Option<String>,
    /// The most time that all scripts together may take (SL-11).
    pub limit: Option<Duration>,
    /// A private key file for buildpacks in git repositories behind SSH.
    pub ssh_key: Option<PathBuf>,
}

impl BuildOptions {
    /// A build of `source` on `stack` with nothing chosen.
    pub fn new(source: Source, stack: Stack) -> Self {
        Self {
            source,
            stack,
            buildpacks: Vec::new(),
            defaults: Vec::new(),
            config_vars: ConfigVars::default(),
            variables: Vec::new(),
            cache: None,
            slugignore: IgnoreAt::Source,
            hooks: false,
            dot_env: false,
            purpose: Purpose::Slug,
            source_version: None,
            request_id: None,
            limit: None,
            ssh_key: None,
        }
    }
}

/// When `.slugignore` acts (SL-03, SL-04).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IgnoreAt {
    /// On the source, before buildpacks see it, as Heroku does.
    Source,
    /// On what the build made of the source, but not on what it adds to it at the end, as slugbuilder does.
    Slug,
}

/// What a build is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A slug.
    Slug,
    /// Tests: `bin/test-compile` is run where a buildpack has it.
    Tests,
}

/// What a build needs of the outside.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// Where scripts run: the stack's build image.
    pub rooms: &'a dyn Rooms,
    /// Where the build's directories are made.
    pub store: &'a Store,
    /// Who fetches what lies elsewhere.
    pub remote: &'a dyn Remote,
    /// Who shows the log.
    pub console: &'a dyn Console,
    /// Set by whoever wants the build to stop.
    pub stop: &'a AtomicBool,
}

/// An app that was built. Its directory goes when this is dropped.
#[derive(Debug)]
pub struct Built {
    scratch: Scratch,
    /// `bin/test` of the last buildpack, if it has it.
    tests: Option<PathBuf>,
    /// The names that the buildpacks gave themselves or their addresses, in order.
    pub buildpacks: Vec<String>,
    /// The Procfile, with the default process types of the last buildpack.
    pub processes: Procfile,
    /// What the last buildpack said.
    pub release: Release,
    /// What each buildpack's `bin/report` wrote.
    pub reports: Vec<Report>,
    /// When the newest file of the source was changed, in seconds since 1970: nothing in a slug is younger (SL-02).
    pub newest: i64,
}

/// What a buildpack's `bin/report` wrote, as it is: JSON or YAML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The buildpack.
    pub buildpack: String,
    /// Its facts.
    pub text: String,
}

impl Built {
    /// The directory that becomes the slug, which runs at `/app`.
    pub fn directory(&self) -> PathBuf {
        self.scratch.path().join(Places::BUILD)
    }
}

/// Builds an app.
///
/// # Errors
/// The first thing that went wrong; what scripts said of it is in the log. The cache is as before then.
pub fn build(options: BuildOptions, surroundings: Surroundings<'_>) -> Result<Built, HerokuError> {
    let console = surroundings.console;
    let opened = open(options, surroundings)?;
    let Opened {
        ref options,
        ref places,
        ref workshop,
        ref ignore,
        ref choice,
        ..
    } = opened;
    let app = places.build.as_path();
    let compiler = Compiler {
        workshop,
        places,
        console,
        purpose: options.purpose,
    };
    let selected = compiler.selected(choice, opened.buildpacks)?;
    if options.hooks {
        compiler.hook("bin/pre-compile")?;
    }
    let mut reports = Vec::new();
    let compiled = compiler.compile_all(selected, choice.must_detect(), &mut reports)?;
    let release = compiler.release(&compiled)?;
    if options.hooks {
        // It may look at the release, which is what it is whatever becomes of the file.
        Folder::open(app)?.write(RELEASE_FILE, &release.to_yaml())?;
        workshop.give(&app.join(RELEASE_FILE))?;
        compiler.hook("bin/post-compile")?;
    }
    if options.slugignore == IgnoreAt::Slug {
        report_ignored(ignore.remove(app)?, console);
    }
    remove_git(app)?;
    let name = compiled.last().map(|one| one.name.as_str()).unwrap_or_default();
    let processes = finish::finish(app, &release, name, console)?;
    workshop.give(app)?;
    let tests = compiled.last().and_then(|one| one.buildpack.script("bin/test"));
    let buildpacks = compiled.into_iter().map(|one| one.name).collect();
    drop(opened.workshop);
    let scratch = opened.places.keep_cache()?;
    Ok(Built {
        scratch,
        tests,
        buildpacks,
        processes,
        release,
        reports,
        newest: opened.newest,
    })
}

/// Says which buildpacks take an app, by the names they give themselves, without compiling anything.
///
/// # Errors
/// As [`build()`] has them; [`HerokuError::NoBuildpack`] when none takes the app.
pub fn detect(options: BuildOptions, surroundings: Surroundings<'_>) -> Result<Vec<String>, HerokuError> {
    let opened = open(options, surroundings)?;
    let compiler = Compiler {
        workshop: &opened.workshop,
        places: &opened.places,
        console: surroundings.console,
        purpose: opened.options.purpose,
    };
    compiler.detect_all(&opened.choice, opened.buildpacks)
}

/// A build whose source and buildpacks are there, before any script has run.
struct Opened<'a> {
    options: Rest,
    places: Places,
    workshop: Workshop<'a>,
    ignore: SlugIgnore,
    choice: Choice,
    buildpacks: Vec<Buildpack>,
    newest: i64,
}

/// What of the options matters once a build is opened.
struct Rest {
    purpose: Purpose,
    slugignore: IgnoreAt,
    hooks: bool,
}

/// Brings the source and the buildpacks to their places.
fn open(options: BuildOptions, surroundings: Surroundings<'_>) -> Result<Opened<'_>, HerokuError> {
    let Surroundings {
        rooms,
        store,
        console,
        stop,
        ..
    } = surroundings;
    let places = Places::make(store.scratch()?, options.cache.as_deref())?;
    let newest = options
        .source
        .bring(&places.build, surroundings.remote, options.ssh_key.as_deref())?;
    let app = places.build.as_path();

    let choice = Choice::of(app, &options.buildpacks, &options.defaults)?;
    let buildpacks = fetch_all(&choice, &places, options.ssh_key.as_deref(), surroundings)?;
    let ignore = SlugIgnore::read(app)?;
    for note in ignore.notes() {
        console.warning(note);
    }
    if options.slugignore == IgnoreAt::Source {
        report_ignored(ignore.remove(app)?, console);
    }

    let mut config_vars = options.config_vars;
    if options.dot_env
        && let Some(text) = Folder::open(app)?.read(".env")?
    {
        config_vars.add_dot_env(&text)?;
    }
    config_vars.write(&places.env)?;

    if !options.stack.is_known() {
        let id = &options.stack.id;
        console.warning(format_args!(
            "Stack `{id}` is none of Heroku's: buildpacks may have no programs for it"
        ));
    }
    let mut workshop = Workshop::open(rooms, &options.stack, console, stop, options.limit)?;
    places.share(&mut workshop)?;
    let home = places.home(&workshop);
    workshop.set("HOME", &home);
    workshop.set("APP_DIR", &home);
    workshop.set("STACK", &options.stack.id);
    if !workshop.has("LANG") {
        workshop.set("LANG", "C.UTF-8");
    }
    let own = [
        ("SOURCE_VERSION", options.source_version),
        ("REQUEST_ID", options.request_id),
    ];
    for (name, value) in own.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        workshop.set(name, value);
    }
    for (name, value) in &options.variables {
        workshop.set(name, value);
    }

    Ok(Opened {
        options: Rest {
            purpose: options.purpose,
            slugignore: options.slugignore,
            hooks: options.hooks,
        },
        places,
        workshop,
        ignore,
        choice,
        buildpacks,
        newest,
    })
}

/// Fetches all buildpacks before anything is compiled (MP-06).
fn fetch_all(
    choice: &Choice,
    places: &Places,
    ssh_key: Option<&Path>,
    surroundings: Surroundings<'_>,
) -> Result<Vec<Buildpack>, HerokuError> {
    let mut fetched = Vec::new();
    for (index, address) in choice.addresses().iter().enumerate() {
        if !matches!(choice, Choice::Detected(_)) {
            surroundings
                .console
                .heading(format_args!("Fetching buildpack {address}"));
        }
        let into = places.buildpacks.join(format!("{index:02}_{}", address.name()));
        fetched.push(fetch(address, &into, surroundings.remote, ssh_key)?);
    }
    Ok(fetched)
}

fn report_ignored(count: usize, console: &dyn Console) {
    if count > 0 {
        console.heading(format_args!(
            "Removed {count} files and directories that .slugignore names"
        ));
    }
}
