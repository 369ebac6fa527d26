//! The classic Heroku way: buildpacks over source, a slug, and its runner, without a daemon.

mod address;
mod app_json;
mod build;
mod choice;
mod config_vars;
mod console;
mod error;
mod fetch;
mod image;
mod procfile;
mod release;
mod room;
mod run;
mod shell;
pub mod slug;
mod slugignore;
mod source;
mod workshop;
mod yaml;

pub use address::Address;
pub use app_json::AppJson;
pub use build::{BuildOptions, Built, IgnoreAt, Purpose, Report, Surroundings, build, check};
pub use choice::Choice;
pub use config_vars::ConfigVars;
pub use console::Console;
pub use error::{HerokuError, LineError, ScriptName};
pub use fetch::Download;
pub use image::{ImageOptions, image, unpack_image};
pub use procfile::{Procfile, WEB};
pub use release::Release;
pub use room::{DirectoryRoot, InPlace, Keep, Room, Rooms, Stack};
pub use run::{RunOptions, Running, Start, run};
pub use shell::Profiles;
pub use slug::{SlugOptions, SlugSize};
pub use slugignore::SlugIgnore;
pub use source::Source;
