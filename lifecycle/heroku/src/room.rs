//! Where commands run: the root file system of a stack's image, a directory, or this machine itself.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::path::PathBuf;

use lifecycle_image::Image;
use lifecycle_sandbox::{Isolation, Mount, Root, Users};
use lifecycle_spec::label;

/// Gives every command a root file system of its own.
pub trait Rooms: Sync + fmt::Debug {
    /// A root for the next command.
    fn open(&self) -> Result<Room, Box<dyn Error + Send + Sync>>;
}

/// The root of one command.
#[derive(Debug)]
pub struct Room {
    /// How the command is kept apart.
    pub isolation: Isolation,
    /// Its root.
    pub root: Root,
    /// The users and groups of the root.
    pub users: Users,
    /// Whether all files belong to one user, so that commands run as that one (HE-06).
    pub one_user: bool,
    /// What the command sees of this machine, such as how names are resolved.
    pub mounts: Vec<Mount>,
    /// What goes away when the command has ended.
    pub keep: Option<Box<dyn Keep>>,
}

/// Anything that is dropped at the end.
pub trait Keep: Any + Send + fmt::Debug {}

impl<T: Any + Send + fmt::Debug> Keep for T {}

/// This machine itself, as the present user: inside of a stack's image, where the image is the isolation.
#[derive(Debug, Clone, Copy)]
pub struct InPlace;

impl Rooms for InPlace {
    fn open(&self) -> Result<Room, Box<dyn Error + Send + Sync>> {
        Ok(Room {
            isolation: Isolation::InPlace,
            root: Root::Host,
            users: Users::default(),
            one_user: true,
            mounts: Vec::new(),
            keep: None,
        })
    }
}

/// A root file system in a directory. Commands share it, with what they change in it.
#[derive(Debug, Clone)]
pub struct DirectoryRoot {
    /// Where it is.
    pub path: PathBuf,
    /// How commands are kept apart.
    pub isolation: Isolation,
}

impl Rooms for DirectoryRoot {
    fn open(&self) -> Result<Room, Box<dyn Error + Send + Sync>> {
        let users = Users::read(fs_err::File::open(&self.path)?)?;
        Ok(Room {
            isolation: self.isolation,
            root: Root::Directory(self.path.clone()),
            users,
            one_user: false,
            mounts: Vec::new(),
            keep: None,
        })
    }
}

/// What scripts are told of the system that they run on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stack {
    /// `STACK`: the id, whatever it is; a buildpack decides whether it knows it (HC-20).
    pub id: String,
    /// The image's variables.
    pub env: Vec<(String, String)>,
    /// Who scripts run as, by name or number; empty is root.
    pub user: String,
}

impl Stack {
    /// The stack of a build or run image. Without `id` it is what the image says of itself.
    pub fn of(image: &Image, id: Option<&str>) -> Self {
        let config = &image.config().config;
        let labels = config.labels.as_ref();
        let label = |name: &str| labels.and_then(|labels| labels.get(name)).map(String::as_str);
        let distribution = || {
            Some(format!(
                "{}-{}",
                label(label::BASE_DISTRO_NAME)?,
                label(label::BASE_DISTRO_VERSION)?
            ))
        };
        let own = config
            .env("CNB_STACK_ID")
            .or_else(|| label(label::STACK_ID))
            .or_else(|| label(label::BASE_ID));
        let id = id
            .or(own)
            .map(str::to_owned)
            .or_else(distribution)
            .unwrap_or_default();
        let user = match (config.env("CNB_USER_ID"), config.env("CNB_GROUP_ID")) {
            (Some(user), Some(group)) => format!("{user}:{group}"),
            _ => config.user.clone().unwrap_or_default(),
        };
        let pair = |entry: &String| {
            entry
                .split_once('=')
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
        };
        Self {
            id,
            env: config.env.iter().flatten().filter_map(pair).collect(),
            user,
        }
    }

    /// Whether classic buildpacks know it: most download programs by the name of a Heroku stack (HC-21).
    pub fn is_known(&self) -> bool {
        self.id.starts_with("heroku-") || self.id.starts_with("cedar-")
    }
}
