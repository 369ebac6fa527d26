//! The classic Heroku way: buildpacks over source, a slug, and its runner, without a daemon.
//!
//! [`build()`] is the way from source to a directory that is ready to run: it brings the [`Source`], makes a [`Choice`] of
//! buildpacks, fetches them all ([`Address`]), and lets each detect and compile in order. Every script runs in a fresh root
//! of the stack's build image ([`Rooms`]), as the stack's user, with the paths that buildpacks know (`/app`, `/tmp/build`,
//! `/tmp/cache`, `/tmp/env`), with config vars as files ([`ConfigVars`]) and without any credential. At the end the last
//! buildpack's [`Release`] and the app's [`Procfile`] say which process types there are.
//!
//! [`slug::pack`] makes a slug of that directory, the same bytes for the same source; [`slug::unpack`] is the way back.
//! [`image()`] puts it on the stack's run image with the launcher of buildpack images, so that whatever starts those starts
//! it too. [`run()`] is the runner of slugs, [`check`] runs an app's tests, and [`fronts`] has the command lines of
//! herokuish, slugbuilder and slugrunner.
//!
//! The log is lines on a [`Console`], in the form that other tools match. Nothing here opens a network connection: what
//! lies elsewhere comes through a [`Remote`].

mod address;
mod app_json;
mod build;
mod choice;
mod config_vars;
mod console;
mod error;
mod fetch;
mod folder;
pub mod fronts;
mod image;
mod procfile;
mod release;
mod remote;
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
pub use build::{BuildOptions, Built, IgnoreAt, Purpose, Report, Surroundings, build, check, detect};
pub use choice::Choice;
pub use config_vars::ConfigVars;
pub use console::Console;
pub use error::{HerokuError, LineError, ScriptName};
pub use image::{ImageOptions, image, unpack_image};
pub use procfile::{Procfile, WEB};
pub use release::Release;
pub use remote::{Remote, RemoteFailure};
pub use room::{DirectoryRoot, InPlace, Keep, Room, Rooms, Stack};
pub use run::{RunOptions, Running, Start, run};
pub use shell::Profiles;
pub use slug::{SlugOptions, SlugSize};
pub use slugignore::SlugIgnore;
pub use source::Source;
