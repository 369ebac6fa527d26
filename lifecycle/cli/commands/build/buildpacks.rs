//! Builds with buildpacks.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use lifecycle_image::{Platform, Reference};
use lifecycle_phases::{Access, Cancellation, Identifiers, Images, Reporter};
use lifecycle_platform::{BuildOptions, BuildReport, Isolation, Program, RunImages};
use lifecycle_sandbox::Network;
use lifecycle_spec::{ExecEnv, PlatformApi, ProjectMetadataToml};

use super::builder::{Builder, Made};
use super::kept::{Kept, cache, cache_image};
use super::modules::{Asked, Wanted};
use super::previous::{BuildSource, CacheAccess, Writable};
use super::{Project, annotations, created, record, summary, variables};
use crate::arguments::{BuildArguments, NetworkArgument};
use crate::attestations::Attestations;
use crate::commands::sbom;
use crate::commit::Commit;
use crate::failure::Failure;
use crate::isolation;
use crate::output::{Finish, Output};
use crate::place::Place;
use crate::program::own_program;
use crate::session::Session;
use crate::variables::volumes;

/// Where the build and the image have the app unless `--workspace` says otherwise (P§Build).
const APP: &str = "/workspace";

pub(super) fn run(arguments: &BuildArguments, source: &Path, session: &Session) -> Result<ExitCode, Failure> {
    let start = Instant::now();
    let request = Request::read(arguments, source, session)?;
    let builder = Builder::choose(arguments.builder.as_deref().or(request.project.builder()))?;
    builder.make_stack(session)?;
    // Only now: making a stack needs the user's own ids, everything after needs those of a namespace, and that can
    // only be entered while there is one thread.
    let isolation = isolation::choose(session)?;
    session.interruption.listen(&session.console)?;
    session.store()?.tidy_up();

    let made = builder.open(&request.modules()?, session)?;
    let cache = cache(arguments, &request.name, session)?;
    let cache_image = CacheAccess::of(cache_image(arguments)?, session)?;
    let program = own_program();
    let options = BuildOptions {
        cache_image: cache_image.as_ref().map(|access| access.image(&request.platform)),
        ..request.options(made, &cache, &program)?
    };
    if arguments.dry_run {
        return summary::plan(&options, &session.console).map(|()| ExitCode::SUCCESS);
    }
    let report = request.build(&options, &isolation)?;
    request.record(&report)?;
    summary::tell(&report, start.elapsed(), &session.console);
    for name in &report.export.receipt.names {
        session
            .console
            .result(&name.repository().at(&report.export.receipt.digest).to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What is asked for, read before anything is made.
struct Request<'a> {
    arguments: &'a BuildArguments,
    session: &'a Session,
    source: &'a Path,
    project: Project,
    exec_env: ExecEnv,
    /// The name that counts: its image is replaced, and its cache is used.
    name: Reference,
    /// The image's other names.
    more_names: Vec<Reference>,
    platform: Platform,
    output: Output,
    attestations: Attestations,
}

impl<'a> Request<'a> {
    fn read(arguments: &'a BuildArguments, source: &'a Path, session: &'a Session) -> Result<Self, Failure> {
        let output = Output::parse(arguments.output())?;
        if output.is_files() {
            return Err(Failure::new("output", "buildpacks make images, not files")
                .help("use --output oci:DIR or another place for images"));
        }
        let (name, more_names) = names(arguments)?;
        Ok(Self {
            arguments,
            session,
            source,
            name,
            more_names,
            project: Project::read(source, arguments.descriptor.as_deref(), &session.console)?,
            exec_env: arguments.exec_env.clone().unwrap_or_default(),
            platform: platform(arguments)?,
            output,
            attestations: Attestations::parse(&arguments.result)?,
        })
    }

    /// The modules that command line and project ask for. `--buildpack` stands in place of all groups, so nothing is put
    /// around it; where the command line says something about one end, it beats the project (PRJ-04, PK-51).
    fn modules(&self) -> Result<Asked, Failure> {
        let (arguments, project, exec_env) = (self.arguments, &self.project, &self.exec_env);
        let or = |texts: &[String], of_project: Vec<Wanted>| match texts {
            [] => of_project,
            texts => Wanted::of_arguments(texts),
        };
        let extensions = Wanted::of_arguments(&arguments.extensions);
        if !arguments.buildpacks.is_empty() {
            return Ok(Asked {
                buildpacks: Wanted::of_arguments(&arguments.buildpacks),
                extensions,
                ..Asked::default()
            });
        }
        Ok(Asked {
            buildpacks: project.buildpacks(exec_env)?,
            pre: or(&arguments.pre_buildpacks, project.pre(exec_env)?),
            post: or(&arguments.post_buildpacks, project.post(exec_env)?),
            extensions,
        })
    }

    /// What the platform is told.
    fn options<'b>(
        &self,
        made: Made,
        cache: &Kept,
        program: &'b Program,
    ) -> Result<BuildOptions<'b>, Failure> {
        let (arguments, session) = (self.arguments, self.session);
        if arguments.run_image.is_none() && made.run_images.images.is_empty() {
            let message = format!(
                "{} names no run image, neither in its labels nor in its files",
                made.name
            );
            return Err(Failure::new("no-run-image", message).help("name one with --run-image"));
        }
        let project = if arguments.git_metadata {
            Commit::of(self.source)?.project()
        } else {
            ProjectMetadataToml::default()
        };
        let pack = &arguments.pack;
        Ok(BuildOptions {
            source: self.source.to_owned(),
            selection: self.project.selection(self.source)?,
            name: self.name.clone(),
            more_names: self.more_names.clone(),
            builder_name: made.name,
            builder: made.image,
            uid: pack.uid,
            gid: pack.gid,
            app: pack.workspace.clone().unwrap_or_else(|| PathBuf::from(APP)),
            without_system_buildpacks: pack.disable_system_buildpacks,
            order: made.order,
            env: variables(arguments, &self.project, &self.exec_env, session)?,
            variables: phase_variables(&self.exec_env, session),
            certificates: session.environment.certificates(),
            volumes: volumes(&arguments.volume)?,
            run_images: match &arguments.run_image {
                Some(image) => RunImages::Fixed(image.parse()?),
                None => RunImages::OfBuilder(made.run_images),
            },
            previous: arguments.previous_image.as_deref().map(str::parse).transpose()?,
            process: arguments.process.clone(),
            project,
            created: created(arguments, session)?,
            cache: cache.path(),
            unpacked: cache.unpacked(),
            cache_image: None,
            extended: cache.extended(),
            clear_cache: arguments.clear_cache,
            exec_env: self.exec_env.clone(),
            network: match arguments.dockerfile.network {
                NetworkArgument::Default => Network::Host,
                NetworkArgument::None => Network::None,
            },
            packing: self.output.form.packing_of_builds(),
            program,
            debug: session.console.is_verbose(),
            color: session.console.is_colored(),
        })
    }

    /// Builds, and puts the image where it belongs. Whoever interrupts it ends the build, not this process.
    fn build(&self, options: &BuildOptions<'_>, isolation: &Isolation) -> Result<BuildReport, Failure> {
        let session = self.session;
        let finish = Finish {
            annotations: annotations(self.arguments)?,
            attest: self.attestations.of_app(options.created, session)?,
            attach: self.attestations.attach,
            ..Finish::default()
        };
        let names = [std::slice::from_ref(&self.name), &self.more_names].concat();
        let destination = self.output.open(&names, finish, session)?;
        let source = BuildSource::new(&self.output, options, session)?;
        let writable = Writable::of(&self.output, session)?;
        let images = Images {
            source: &source,
            sink: &*destination.sink,
            identifiers: &Identifiers::Registry,
            access: writable.as_ref().map(|writable| writable as &dyn Access),
            platform: &self.platform,
        };
        let cancellation = Cancellation::default();
        let told = session.interruption.during({
            let cancellation = cancellation.clone();
            move || cancellation.cancel()
        });
        let reporter: Arc<dyn Reporter> = Arc::new(session.console.clone());
        let store = session.store()?;
        let report = lifecycle_platform::build(options, &images, store, isolation, &reporter, &cancellation);
        drop(told);
        if report.is_err() && cancellation.is_cancelled() {
            session.interruption.tidy_up();
        }
        report.map_err(|error| {
            let code = u8::try_from(error.exit_code()).unwrap_or(1);
            Failure::from(error).with_code(code)
        })
    }

    /// Leaves what is known of the image in the files that were asked for.
    fn record(&self, report: &BuildReport) -> Result<(), Failure> {
        // A table of contents changes the diff IDs, and with them the configuration.
        let is_kept = !self.output.form.packing.is_some_and(|packing| packing.stargz);
        let image_id = is_kept.then_some(&report.export.image_id);
        record(self.arguments, &report.export.receipt, image_id, self.session)?;
        self.save_reports(report)
    }

    /// Saves what `--report-output-dir` and `--sbom-output-dir` ask for.
    fn save_reports(&self, report: &BuildReport) -> Result<(), Failure> {
        let (arguments, session) = (self.arguments, self.session);
        if let Some(directory) = &arguments.pack.report_output_dir {
            fs_err::create_dir_all(directory)?;
            let text = report.export.report.to_toml(PlatformApi::LATEST);
            fs_err::write(directory.join("report.toml"), text)?;
        }
        let Some(directory) = &arguments.pack.sbom_output_dir else {
            return Ok(());
        };
        let Some(name) = report.export.receipt.names.first() else {
            return Ok(());
        };
        let place = match arguments.output() {
            "store" => Place::Store(name.clone()),
            "registry" => Place::Registry(name.clone()),
            file => Place::parse(file, Place::Nearest)?,
        };
        // pack leaves them there.
        sbom::save_all(&place, &directory.join("launch"), session)
    }
}

/// The name of the image, and its other names.
fn names(arguments: &BuildArguments) -> Result<(Reference, Vec<Reference>), Failure> {
    let mut names = Vec::new();
    for tag in &arguments.tags {
        names.push(tag.parse()?);
    }
    if names.is_empty() && arguments.dry_run {
        // Nothing is written under it.
        names.push("unnamed".parse()?);
    }
    let mut names = names.into_iter();
    let unnamed = || Failure::new("name", "the image has no name").help("name it with --tag NAME");
    Ok((names.next().ok_or_else(unnamed)?, names.collect()))
}

/// Variables for the phases themselves.
fn phase_variables(exec_env: &ExecEnv, session: &Session) -> Vec<(String, String)> {
    let mut variables = session.environment.proxies();
    variables.push(("CNB_EXEC_ENV".to_owned(), exec_env.as_str().to_owned()));
    variables
}

/// The platform of a build on this machine: one.
fn platform(arguments: &BuildArguments) -> Result<Platform, Failure> {
    match arguments.platforms.as_slice() {
        [] => Ok(Platform::host()),
        [platform] => Ok(platform.clone()),
        _ => Err(Failure::new(
            "platform",
            "buildpacks build for one platform at a time, that of the builder",
        )
        .help("with --on kubernetes there is one Job for each platform, and an index at the end")),
    }
}
