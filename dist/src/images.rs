//! The images of a release, as OCI archives.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lifecycle_image::archive::{ArchiveKind, ArchiveSink};
use lifecycle_image::{
    BytesLayer, Compression, Family, History, Image, ImageConfig, MediaType, NoProgress, Platform, Sink,
    mutate,
};
use lifecycle_layers::{FilesLayer, Packing, Style, pack};
use lifecycle_spec::Apis;
use lifecycle_spec::label::{self, BuilderLabel, CreatedBy, LifecycleVersions, MinimumApis};

use crate::busybox::Busybox;
use crate::{Release, VERSION, tarball};

/// Writes the lifecycle image: the tarball's files below `/cnb`, in the only and so the last layer (LCI-03).
pub(crate) fn lifecycle(release: &Release, platform: &Platform, archive: &Path) -> Result<()> {
    let layer = tarball::add(release, FilesLayer::new("lifecycle", Style::Reference), "/cnb");
    write(release, platform, layer, archive, |config| {
        config.config.working_dir = Some("/layers".to_owned());
        let apis = Apis::own();
        config.set_label(label::LIFECYCLE_VERSION, VERSION);
        config.set_label(label::LIFECYCLE_APIS, apis.to_json());
        // kpack takes the version from here (KA-02).
        config.set_label(label::BUILDER, old_label(apis).to_json());
    })
}

fn old_label(apis: Apis) -> BuilderLabel {
    let oldest = |versions: &[String]| versions.first().cloned().unwrap_or_default();
    let api = MinimumApis {
        buildpack: oldest(&apis.buildpack.supported),
        platform: oldest(&apis.platform.supported),
    };
    BuilderLabel {
        lifecycle: LifecycleVersions {
            version: VERSION.to_owned(),
            api,
            apis,
        },
        created_by: CreatedBy {
            name: "lifecycle".to_owned(),
            version: VERSION.to_owned(),
        },
        ..BuilderLabel::default()
    }
}

/// Writes the executor image: the program where kaniko's images have theirs, the certificates of public authorities, and
/// users, for builds in a container or pod where nothing else is at hand. Jobs that run kaniko change the image and nothing
/// else.
///
/// With a busybox it is the debug image, for jobs that are scripts: a shell and tools lie where kaniko's debug images have
/// them, and come last in `PATH`.
pub(crate) fn executor(
    release: &Release,
    busybox: Option<&Busybox>,
    platform: &Platform,
    archive: &Path,
) -> Result<()> {
    let mut layer = FilesLayer::new("executor", Style::Oci { latest: None })
        .mtime(release.epoch)
        .copy("/kaniko/executor", 0o755, &release.program.path)
        .symlink("/kaniko/warmer", "executor", 0o777)
        .symlink("/kaniko/lifecycle", "executor", 0o777)
        // Jobs mount credentials here.
        .directory("/kaniko/.docker", 0o755)
        // Whoever the pod says the user is keeps the layers of a build here.
        .directory("/kaniko/store", 0o1777)
        .directory("/cache", 0o777)
        .file("/etc/passwd", 0o644, PASSWD.as_bytes())
        .file("/etc/group", 0o644, GROUP.as_bytes())
        .file(
            "/etc/ssl/certs/ca-certificates.crt",
            0o644,
            certificates()?.into_bytes(),
        )
        .directory("/root", 0o700)
        .directory("/tmp", 0o1777)
        .directory("/workspace", 0o777);
    let mut path = "/usr/local/bin:/kaniko".to_owned();
    if let Some(busybox) = busybox {
        layer = busybox.add(layer)?;
        path.push_str(":/busybox");
    }
    write(release, platform, layer, archive, |config| {
        config.config.entrypoint = Some(vec!["/kaniko/executor".to_owned()]);
        config.config.working_dir = Some("/workspace".to_owned());
        config.config.set_env("PATH", &path);
        config.config.set_env("DOCKER_CONFIG", "/kaniko/.docker/");
        config.config.set_env("LIFECYCLE_STORE", "/kaniko/store");
    })
}

const PASSWD: &str =
    "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin\n";
const GROUP: &str = "root:x:0:\nnonroot:x:65532:\n";

/// Mozilla's roots as PEM, those that the program falls back to.
fn certificates() -> Result<String> {
    let mut text = String::new();
    for certificate in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let encoded = STANDARD.encode(certificate);
        for line in encoded.as_bytes().chunks(64) {
            writeln!(text, "{}", std::str::from_utf8(line)?)?;
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    Ok(text)
}

/// Writes an image of one layer without a base.
fn write(
    release: &Release,
    platform: &Platform,
    contents: FilesLayer,
    archive: &Path,
    configure: impl FnOnce(&mut ImageConfig),
) -> Result<()> {
    let context = || format!("cannot write {}", archive.display());
    let mut bytes = Vec::new();
    let packing = Packing {
        compression: Compression::Gzip,
        level: Some(9),
        ..Packing::default()
    };
    let packed = pack(&contents, &packing, &mut bytes, &NoProgress).with_context(context)?;
    let media_type = MediaType::layer(Family::Oci, Compression::Gzip);
    let layer = Arc::new(BytesLayer::new(media_type, bytes, packed.diff_id));
    let history = History {
        created: Some(release.created.clone()),
        created_by: Some(format!("lifecycle {VERSION}")),
        ..History::default()
    };
    let image = mutate::append(Image::empty(platform), layer, history);
    let image = mutate::configure(image, |config| {
        config.created = Some(release.created.clone());
        configure(config);
    });
    let sink = ArchiveSink::create(ArchiveKind::Oci, archive).under(VERSION);
    let upload = sink.begin(&[]).with_context(context)?;
    upload.finish(&image).with_context(context)?;
    Ok(())
}
