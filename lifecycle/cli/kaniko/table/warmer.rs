//! The flags of `warmer` itself.

use std::path::PathBuf;

use super::super::settings::{boolean, duration};
use super::Effect::{Differs, Same};
use super::Kind::{Duration, List, Switch, Text};
use super::{Flag, flag, letter, path, platform, push, set};

/// The flags of `warmer`, in the order of its help.
pub(in super::super) const WARMER: &[Flag] = &[
    letter(
        'i',
        "image",
        List,
        |s, v| push(&mut s.images, v),
        Same,
        "Image to bring",
    ),
    letter(
        'c',
        "cache-dir",
        Text,
        |s, v| set(&mut s.cache_dir, PathBuf::from(v)),
        Differs("an OCI layout; files of kaniko's warmer in it are not used"),
        "Directory to bring images to",
    ),
    letter(
        'd',
        "dockerfile",
        Text,
        |s, v| set(&mut s.dockerfile, v.to_owned()),
        Differs("images of COPY --from and RUN --mount are brought too"),
        "Dockerfile whose base images are brought",
    ),
    flag(
        "build-arg",
        List,
        |s, v| push(&mut s.build_args, v),
        Same,
        "Value of an ARG of the Dockerfile",
    ),
    letter(
        'f',
        "force",
        Switch,
        |s, v| set(&mut s.overwrite, boolean(v)?),
        Same,
        "Bring images that are there again",
    ),
    flag(
        "cache-ttl",
        Duration,
        |s, v| set(&mut s.cache_ttl, duration(v)?),
        Same,
        "How old an image may be before it is brought again",
    ),
    flag(
        "customPlatform",
        Text,
        platform,
        Same,
        "Platform of the images: os/architecture[/variant]",
    ),
    flag(
        "custom-platform",
        Text,
        platform,
        Differs("not kaniko's: the name that executor has for it"),
        "Platform of the images: os/architecture[/variant]",
    ),
    flag(
        "store",
        Text,
        |s, v| set(&mut s.store, path(v)),
        Differs("not kaniko's: the store of `lifecycle`, as there"),
        "Directory of the local store",
    ),
];
