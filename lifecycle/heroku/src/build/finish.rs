//! What a build adds to the app: process types, and variables of its release.

use std::path::Path;

use crate::folder::Folder;
use crate::procfile::PROCFILE;
use crate::{Console, HerokuError, Procfile, Release};

/// The file of a slug that says what `bin/release` said.
pub(crate) const RELEASE_FILE: &str = ".release";
/// The script that sets the release's variables. Its name makes it the first one.
const CONFIG_VARS: &str = "00_config_vars.sh";

/// Writes `.release`, the Procfile and the script with the variables, and says which process types there are
/// (SB-02).
pub(crate) fn finish(
    app: &Path,
    release: &Release,
    buildpack: &str,
    console: &dyn Console,
) -> Result<Procfile, HerokuError> {
    let folder = Folder::open(app)?;
    folder.write(RELEASE_FILE, &release.to_yaml())?;
    if !release.config_vars.is_empty() {
        folder
            .inner(".profile.d")?
            .write(CONFIG_VARS, &config_vars_script(release))?;
    }

    console.heading("Discovering process types");
    let defaults = &release.default_process_types;
    let own = if let Some(bytes) = folder.read(PROCFILE)? {
        let procfile = Procfile::parse(&bytes)?;
        for note in procfile.repeated() {
            console.warning(note);
        }
        console.detail(format_args!("Procfile declares types -> {}", procfile.names()));
        procfile
    } else {
        // So that the slug says all by itself (PF-05, SL-10).
        if !defaults.is_empty() {
            folder.write(PROCFILE, &defaults.to_text())?;
        }
        Procfile::default()
    };
    if !defaults.is_empty() {
        console.detail(format_args!(
            "Default process types for {buildpack} -> {}",
            defaults.names()
        ));
    }
    Ok(own.with_defaults(defaults))
}

/// Sets what the platform has not set (SR-04), whatever is in the values (HE-02).
fn config_vars_script(release: &Release) -> String {
    let line = |(name, value): &(String, String)| {
        format!(
            "[ -n \"${{{name}+set}}\" ] || export {name}='{}'\n",
            value.replace('\'', r"'\''")
        )
    };
    release.config_vars.iter().map(line).collect()
}
