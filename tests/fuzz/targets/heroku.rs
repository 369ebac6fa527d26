//! Files of apps and buildpacks of the classic way: Procfile, the YAML of `bin/release`, app.json, .slugignore.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lifecycle_heroku::{AppJson, Procfile, Release, SlugIgnore};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(procfile) = Procfile::parse(bytes) {
        let again = Procfile::parse(procfile.to_text().as_bytes()).unwrap();
        assert!(again.iter().eq(procfile.iter()));
        assert!(again.repeated().is_empty());
    }
    if let Ok(text) = str::from_utf8(bytes)
        && let Ok(release) = Release::parse(text)
    {
        assert_eq!(Release::parse(&release.to_yaml()).unwrap(), release);
    }
    // What these two understand is checked by tests; here they only must not panic.
    drop(AppJson::parse(bytes));
    drop(SlugIgnore::parse(bytes));
});
