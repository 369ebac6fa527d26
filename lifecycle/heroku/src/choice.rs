//! Which buildpacks an app wants: flags, `.buildpacks`, `app.json` (platforms.md 2.2).

use std::path::Path;

use crate::folder::Folder;
use crate::{Address, AppJson, HerokuError, LineError};

/// The file that lists buildpacks.
const LIST: &str = ".buildpacks";

/// The buildpacks of a build, and how they were chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// Named by who builds: all compile, also those whose `bin/detect` says no (MP-07).
    Explicit(Vec<Address>),
    /// Several of `.buildpacks`: each must take the app (MP-03).
    Listed(Vec<Address>),
    /// The first of these that takes the app (MP-08).
    Detected(Vec<Address>),
}

impl Choice {
    /// Chooses for the app in `app`: who builds (`BUILDPACK_URL`), then `.buildpacks`, then `app.json`, then detection
    /// among `defaults` (MP-01). Addresses in files are relative to the app.
    pub fn of(app: &Path, explicit: &[Address], defaults: &[Address]) -> Result<Self, HerokuError> {
        if !explicit.is_empty() {
            return Ok(Self::Explicit(explicit.to_vec()));
        }
        let folder = Folder::open(app)?;
        if let Some(text) = folder.read(LIST)? {
            let listed = parse_list(&text, app)?;
            match listed.len() {
                0 => {}
                // One alone is chosen like any other explicit one (MP-02).
                1 => return Ok(Self::Explicit(listed)),
                _ => return Ok(Self::Listed(listed)),
            }
        }
        if let Some(bytes) = folder.read(AppJson::FILE)? {
            let wanted = AppJson::parse(&bytes)?.buildpacks;
            if !wanted.is_empty() {
                let addresses = wanted.iter().map(|url| Address::parse(url, app));
                return Ok(Self::Explicit(addresses.collect::<Result<_, _>>()?));
            }
        }
        Ok(Self::Detected(defaults.to_vec()))
    }

    /// Whether a buildpack that does not take the app ends the build.
    pub(crate) fn must_detect(&self) -> bool {
        matches!(self, Self::Listed(_))
    }

    /// The addresses.
    pub fn addresses(&self) -> &[Address] {
        match self {
            Self::Explicit(addresses) | Self::Listed(addresses) | Self::Detected(addresses) => addresses,
        }
    }
}

/// Reads `.buildpacks`: one `url[#ref]` on a line, blank lines and comment lines between them (MP-02).
fn parse_list(text: &[u8], app: &Path) -> Result<Vec<Address>, HerokuError> {
    let text = String::from_utf8_lossy(text);
    let lines = text.trim_start_matches('\u{feff}').lines().enumerate();
    let wanted = lines.map(|(index, line)| (index + 1, line.trim()));
    let wanted = wanted.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    wanted
        .map(|(number, line)| match Address::parse(line, app) {
            Err(HerokuError::Address { address, reason }) => {
                Err(LineError::new(LIST, number, format!("`{address}` is not a buildpack: {reason}")).into())
            }
            other => other,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text, Path::new("/")).unwrap()
    }

    fn app(files: &[(&str, &str)]) -> tempfile::TempDir {
        let app = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs_err::write(app.path().join(name), text).unwrap();
        }
        app
    }

    #[test]
    fn the_nearest_choice_wins_mp_01() {
        let (flag, default) = ([address("https://h/flag")], [address("https://h/default")]);
        let list = (".buildpacks", "https://h/listed\n");
        let json = ("app.json", r#"{"buildpacks": [{"url": "https://h/json"}]}"#);
        let both = app(&[list, json]);
        let explicit = |url: &str| Choice::Explicit(vec![address(url)]);
        assert_eq!(
            Choice::of(both.path(), &flag, &default).unwrap(),
            explicit("https://h/flag")
        );
        assert_eq!(
            Choice::of(both.path(), &[], &default).unwrap(),
            explicit("https://h/listed")
        );
        assert_eq!(
            Choice::of(app(&[json]).path(), &[], &default).unwrap(),
            explicit("https://h/json")
        );
        let none = app(&[(".buildpacks", "\n# nothing\n"), ("app.json", "{}")]);
        assert_eq!(
            Choice::of(none.path(), &[], &default).unwrap(),
            Choice::Detected(default.to_vec())
        );
    }

    #[test]
    fn a_list_has_comments_blank_lines_and_any_line_ends_mp_02() {
        let listed = app(&[(
            ".buildpacks",
            "# the first one does x\r\n\r\nhttps://h/a#v1\r\n  https://h/b",
        )]);
        let expected = Choice::Listed(vec![address("https://h/a#v1"), address("https://h/b")]);
        assert_eq!(Choice::of(listed.path(), &[], &[]).unwrap(), expected);
        let wrong = app(&[(".buildpacks", "https://h/a\nnot here\n")]);
        let error = Choice::of(wrong.path(), &[], &[]).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with(".buildpacks:2: `not here` is not a buildpack: "),
            "{error}"
        );
    }
}
