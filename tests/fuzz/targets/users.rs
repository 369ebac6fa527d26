//! passwd and group files, and `USER` settings: the first line is the setting, an empty line divides the files.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lifecycle_sandbox::Users;

fuzz_target!(|bytes: &[u8]| {
    let line = bytes
        .iter()
        .position(|&byte| byte == b'\n')
        .unwrap_or(bytes.len());
    let (user, files) = bytes.split_at(line);
    let divide = files
        .windows(2)
        .position(|pair| pair == b"\n\n")
        .unwrap_or(files.len());
    let (passwd, group) = files.split_at(divide);
    if let Ok(account) = Users::parse(passwd, group).resolve(&String::from_utf8_lossy(user)) {
        let ids = account.identity;
        // The kernel takes the highest ids for "no change" and worse.
        let largest = i32::MAX.unsigned_abs();
        assert!(
            ids.groups
                .iter()
                .chain([&ids.uid, &ids.gid])
                .all(|&id| id <= largest)
        );
        assert!(ids.groups.is_sorted());
    }
});
