//! The classic Heroku way: buildpacks over source, a slug, and its runner, without a daemon.

mod address;
mod app_json;
mod choice;
mod config_vars;
mod error;
mod procfile;
mod release;
mod slugignore;
mod yaml;

pub use address::Address;
pub use app_json::AppJson;
pub use choice::Choice;
pub use config_vars::ConfigVars;
pub use error::{HerokuError, LineError, ScriptName};
pub use procfile::{Procfile, WEB};
pub use release::Release;
pub use slugignore::SlugIgnore;
