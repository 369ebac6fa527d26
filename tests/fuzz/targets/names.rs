//! References, digests and platforms: what is accepted comes back from its own text.
#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use libfuzzer_sys::fuzz_target;
use lifecycle_image::{DiffId, Digest, Platform, Reference};

fn comes_back<T>(text: &str)
where
    T: FromStr + Display + Debug + PartialEq,
    T::Err: Display,
{
    match text.parse::<T>() {
        Ok(value) => {
            let shown = value.to_string();
            assert_eq!(shown.parse::<T>().ok(), Some(value), "{shown:?}");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fuzz_target!(|text: &str| {
    comes_back::<Reference>(text);
    comes_back::<Digest>(text);
    comes_back::<DiffId>(text);
    comes_back::<Platform>(text);
    if let Ok(reference) = text.parse::<Reference>() {
        let familiar = reference.familiar();
        assert_eq!(
            familiar.parse::<Reference>().ok(),
            Some(reference),
            "{familiar:?}"
        );
    }
});
