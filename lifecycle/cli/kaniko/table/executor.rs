//! The flags of `executor` itself.

use std::path::PathBuf;

use lifecycle_image::{Compression, Family};

use super::super::settings::{Settings, boolean, duration, number, one_of, pair, some, tries};
use super::Effect::{Differs, Nothing, Same};
use super::Kind::{Duration, List, Number, Switch, Text};
use super::{Flag, check, flag, letter, path, platform, push, retries, set};

/// The flags of `executor`, in the order of its help.
pub(in super::super) const EXECUTOR: &[Flag] = &[
    letter(
        'f',
        "dockerfile",
        Text,
        |s, v| set(&mut s.dockerfile, v.to_owned()),
        Same,
        "Dockerfile: a path from here, else from the context, or an address",
    ),
    letter(
        'c',
        "context",
        Text,
        |s, v| set(&mut s.context, v.to_owned()),
        Differs(
            "archives may be compressed with gzip, bzip2, xz or zstd, or not at all; `http://` works too; a missing directory is \
         an error at once",
        ),
        "Build context: a directory, or dir://, tar://, git://, s3://, gs://, https://",
    ),
    flag(
        "context-sub-path",
        Text,
        |s, v| set(&mut s.context_sub_path, path(v)),
        Differs("it cannot lead out of the context, and it counts for a plain directory too"),
        "Directory of the context to use",
    ),
    letter(
        'b',
        "bucket",
        Text,
        |s, v| set(&mut s.bucket, some(v)),
        Same,
        "Bucket of Google Cloud Storage with the context, or an address of another store",
    ),
    flag(
        "git",
        List,
        |s, v| s.git.set(v),
        Differs("single-branch and depth have no effect: only the one commit that is built is fetched"),
        "How a git context is fetched: branch=, recurse-submodules=, insecure-skip-tls=",
    ),
    flag(
        "build-arg",
        List,
        |s, v| push(&mut s.build_args, v),
        Differs("a value may hold `=` everywhere, and one without a value and variable stays unset"),
        "Value of an ARG: NAME=VALUE, or NAME for the variable of that name",
    ),
    flag(
        "target",
        List,
        |s, v| {
            s.targets.extend(v.split(',').map(str::to_owned));
            Ok(())
        },
        Same,
        "Stages to build; the first is the image",
    ),
    flag(
        "custom-platform",
        Text,
        platform,
        Same,
        "Platform of the image: os/architecture[/variant]",
    ),
    flag(
        "label",
        List,
        |s, v| push(&mut s.labels, pair(v)?),
        Same,
        "Label of the image",
    ),
    flag(
        "annotation",
        List,
        |s, v| {
            s.annotations.extend([pair(v)?]);
            Ok(())
        },
        Same,
        "Annotation of the image's manifest",
    ),
    flag(
        "secret",
        List,
        |s, v| push(&mut s.secrets, v),
        Differs("a secret is never a file of the image's root: it is seen by the one RUN that mounts it"),
        "Secret for RUN --mount=type=secret: id=ID[,src=FILE|,env=NAME]",
    ),
    flag(
        "single-snapshot",
        Switch,
        |s, v| set(&mut s.single_layer, boolean(v)?),
        Differs("results of single steps are taken and kept all the same"),
        "One layer for all steps",
    ),
    flag(
        "snapshot-mode",
        Text,
        |_, v| one_of(v, &["full", "redo", "time"]),
        Nothing("what a step changed is told by the kernel, or found by inode, times, mode, owner and size"),
        "How changed files are found",
    ),
    flag(
        "use-new-run",
        Switch,
        check,
        Nothing("there is one way to run a step, and it reads only what changed"),
        "Another way to find changed files",
    ),
    flag(
        "ignore-path",
        List,
        |s, v| push(&mut s.ignored_paths, PathBuf::from(v)),
        Differs("it leaves out what RUN changes there; files of the base image and of COPY stay"),
        "Path that RUN's changes are left out of",
    ),
    flag(
        "ignore-var-run",
        Switch,
        |s, v| set(&mut s.ignore_var_run, boolean(v)?),
        Differs(
            "off unless given: what a build puts below /var/run is part of the image, as with other builders",
        ),
        "Leave RUN's changes below /var/run out",
    ),
    flag(
        "kaniko-dir",
        Text,
        |s, v| set(&mut s.directory, path(v)),
        Differs("the store of layers and results is kept below it"),
        "Directory for the state of builds",
    ),
    flag(
        "store",
        Text,
        |s, v| set(&mut s.store, path(v)),
        Differs("not kaniko's: the store of `lifecycle`, as there"),
        "Directory of the local store",
    ),
    flag(
        "image-fs-extract-retry",
        Number,
        |s, v| retries(s, tries(v)?),
        Differs("broken downloads are resumed and tried five times anyway; a larger number raises that"),
        "Tries to unpack the base image",
    ),
    flag(
        "materialize",
        Switch,
        check,
        Nothing("no build ever unpacks over the file system that it runs in"),
        "Leave the image's files in the file system",
    ),
    flag(
        "preserve-context",
        Switch,
        check,
        Nothing("no build changes the file system that it runs in"),
        "Restore the file system between stages",
    ),
    flag(
        "pre-cleanup",
        Switch,
        check,
        Nothing("no build uses the file system that it runs in"),
        "Delete the file system before the build",
    ),
    flag(
        "cleanup",
        Switch,
        check,
        Nothing("no build leaves anything in the file system that it runs in"),
        "Delete the file system after the build",
    ),
    flag(
        "force",
        Switch,
        check,
        Nothing("no build touches the file system that it runs in, so it runs anywhere"),
        "Run outside of a container",
    ),
    flag(
        "dryrun",
        Switch,
        |s, v| set(&mut s.plan_only, boolean(v)?),
        Differs("the plan is written in our words"),
        "Print what would be built, and stop",
    ),
    letter(
        'd',
        "destination",
        List,
        |s, v| push(&mut s.destinations, v),
        Same,
        "Name to push the image as",
    ),
    flag(
        "no-push",
        Switch,
        |s, v| set(&mut s.no_push, boolean(v)?),
        Same,
        "Do not push the image",
    ),
    flag(
        "tar-path",
        Text,
        |s, v| set(&mut s.tar_path, path(v)),
        Differs("without a destination the image in it has no name"),
        "File to write the image to, as docker save does",
    ),
    flag(
        "oci-layout-path",
        Text,
        |s, v| set(&mut s.layout_path, path(v)),
        Same,
        "OCI layout to write the image to",
    ),
    flag(
        "digest-file",
        Text,
        |s, v| set(&mut s.digest_file, some(v)),
        Same,
        "File, or https address, to write the digest to",
    ),
    flag(
        "image-name-with-digest-file",
        Text,
        |s, v| set(&mut s.name_digest_file, some(v)),
        Same,
        "File to write NAME@DIGEST of each destination to",
    ),
    flag(
        "image-name-tag-with-digest-file",
        Text,
        |s, v| set(&mut s.name_tag_digest_file, some(v)),
        Same,
        "File to write NAME:TAG@DIGEST of each destination to",
    ),
    flag(
        "compression",
        Text,
        compression,
        Same,
        "Compression of new layers: gzip or zstd",
    ),
    flag(
        "compression-level",
        Number,
        |s, v| {
            let level = number(v)?;
            set(&mut s.compression_level, (level >= 0).then_some(level))
        },
        Differs("0 is a level too"),
        "Level of the compression",
    ),
    flag(
        "image-format",
        Text,
        format,
        Differs("without it the image is an OCI image, whatever its base is"),
        "Media types of the image: docker or oci",
    ),
    flag(
        "reproducible",
        Switch,
        |s, v| set(&mut s.reproducible, boolean(v)?),
        Differs(
            "the base image's layers stay as they are; SOURCE_DATE_EPOCH does the same with another time",
        ),
        "No time in the image is later than 1970",
    ),
    flag(
        "skip-push-permission-check",
        Switch,
        |s, v| set(&mut s.skip_push_check, boolean(v)?),
        Same,
        "Do not ask the registry before the build whether the image may be pushed",
    ),
    flag(
        "cache",
        Switch,
        |s, v| set(&mut s.cache, boolean(v)?),
        Same,
        "Take results of earlier builds",
    ),
    flag(
        "cache-repo",
        Text,
        |s, v| set(&mut s.cache_repo, some(v)),
        Differs("results are kept in a form of our own: a cache of kaniko's is of no use, and does no harm"),
        "Repository, or oci:DIRECTORY, for results [default: the first destination's name and /cache]",
    ),
    flag(
        "cache-dir",
        Text,
        |s, v| set(&mut s.cache_dir, PathBuf::from(v)),
        Differs(
            "an OCI layout that `warmer` fills; when a registry cannot be reached, its images are taken by name",
        ),
        "Directory with base images",
    ),
    flag(
        "cache-ttl",
        Duration,
        |s, v| set(&mut s.cache_ttl, duration(v)?),
        Differs("it is the age of results in --cache-repo; those of the local store have none"),
        "How old a result may be",
    ),
    flag(
        "cache-run-layers",
        Switch,
        |s, v| set(&mut s.cache_run_layers, boolean(v)?),
        Same,
        "Take results of RUN",
    ),
    flag(
        "cache-copy-layers",
        Switch,
        check,
        Nothing(
            "results of COPY and ADD are found by the contents of their sources and cost nothing to keep",
        ),
        "Take results of COPY and ADD",
    ),
    flag(
        "no-push-cache",
        Switch,
        |s, v| set(&mut s.no_push_cache, boolean(v)?),
        Same,
        "Do not push results of this build",
    ),
    flag(
        "compressed-caching",
        Switch,
        check,
        Nothing("layers are never held in memory"),
        "Hold compressed layers in memory",
    ),
    flag(
        "snapshotMode",
        Text,
        |_, v| one_of(v, &["", "full", "redo", "time"]),
        Nothing("see --snapshot-mode"),
        "Old name of --snapshot-mode",
    ),
    flag(
        "customPlatform",
        Text,
        platform,
        Same,
        "Old name of --custom-platform",
    ),
    flag(
        "tarPath",
        Text,
        |s, v| set(&mut s.tar_path, path(v)),
        Same,
        "Old name of --tar-path",
    ),
    flag(
        "whitelist-var-run",
        Switch,
        |s, v| set(&mut s.ignore_var_run, boolean(v)?),
        Differs("see --ignore-var-run"),
        "Old name of --ignore-var-run",
    ),
    flag(
        "force-build-metadata",
        Switch,
        check,
        Nothing("metadata of instructions is never left out"),
        "Has no meaning in kaniko either",
    ),
    flag(
        "skip-unused-stages",
        Switch,
        check,
        Nothing("stages that the target does not need are never built"),
        "Has no meaning in kaniko either",
    ),
];

/// The flags of `executor login`.
pub(in super::super) const LOGIN: &[Flag] = &[
    letter(
        'u',
        "username",
        Text,
        |s, v| set(&mut s.user, v.to_owned()),
        Same,
        "Who logs in",
    ),
    letter(
        'p',
        "password",
        Text,
        |s, v| set(&mut s.password, some(v)),
        Same,
        "The password",
    ),
    flag(
        "password-stdin",
        Switch,
        |s, v| set(&mut s.password_from_input, boolean(v)?),
        Same,
        "Read the password from standard input",
    ),
];

/// The flags of `executor push`, besides those about registries.
pub(in super::super) const PUSH: &[Flag] = &[
    letter(
        'd',
        "destination",
        List,
        |s, v| push(&mut s.destinations, v),
        Same,
        "Name to push the image as",
    ),
    flag(
        "skip-push-permission-check",
        Switch,
        |s, v| set(&mut s.skip_push_check, boolean(v)?),
        Same,
        "Do not ask the registry first whether the image may be pushed",
    ),
];

fn compression(settings: &mut Settings, value: &str) -> Result<(), String> {
    settings.compression = match value {
        "gzip" => Compression::Gzip,
        "zstd" => Compression::Zstd,
        _ => return Err("must be either \"gzip\" or \"zstd\"".to_owned()),
    };
    Ok(())
}

fn format(settings: &mut Settings, value: &str) -> Result<(), String> {
    settings.format = match value {
        "docker" => Some(Family::Docker),
        "oci" => Some(Family::Oci),
        _ => return Err("must be either \"docker\" or \"oci\"".to_owned()),
    };
    Ok(())
}
