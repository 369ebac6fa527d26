//! The names and labels by which builds are found again.

use std::collections::BTreeMap;

use lifecycle_image::{Digest, Reference};

/// What labels and annotations of ours begin with.
macro_rules! ours {
    ($name:literal) => {
        concat!("lifecycle.build/", $name)
    };
}

/// Who made an object.
pub(crate) const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "lifecycle");
/// Label: the id of the build.
pub(crate) const ID: &str = ours!("id");
/// Label: the repository of the first tag, as far as labels can hold it.
pub(crate) const APP: &str = ours!("app");
/// Label: a hash of the first tag, to find the builds of an image by.
pub(crate) const IMAGE_HASH: &str = ours!("image-hash");
/// Annotation: the tags, with blanks between.
pub(crate) const TAGS: &str = ours!("tags");
/// Annotation: the uploaded source, which is to be removed afterwards.
pub(crate) const SOURCE: &str = ours!("source");
/// Annotation: the claim that the cache lies on.
pub(crate) const CACHE: &str = ours!("cache");
/// Annotation: what the build made, as the termination message says it.
pub(crate) const RESULT: &str = ours!("result");
/// Annotation: when somebody asked for the end of the build.
pub(crate) const CANCELLED: &str = ours!("cancelled");

/// The labels that every object of a build has.
pub(crate) fn labels(id: &str, image: &Reference) -> BTreeMap<String, String> {
    let label = |key: &str, value: String| (key.to_owned(), value);
    BTreeMap::from([
        label(MANAGED_BY.0, MANAGED_BY.1.to_owned()),
        label(ID, id.to_owned()),
        label(APP, app(image)),
        label(IMAGE_HASH, hash(image)),
    ])
}

/// The selector of all builds.
pub(crate) fn all_builds() -> String {
    format!("{}={},{ID}", MANAGED_BY.0, MANAGED_BY.1)
}

/// A name for a build of `image`: what people recognise, and what makes it one of a kind.
pub fn build_id(image: &Reference, unique: u64) -> String {
    // A pod's name is the Job's with six characters more, and a label's value has at most 63.
    let mut name: String = app(image).chars().take(40).collect();
    while name.ends_with(['-', '.', '_']) {
        name.pop();
    }
    let name = name.replace(['.', '_'], "-").to_lowercase();
    let unique = Digest::of(&unique.to_le_bytes());
    format!("{name}-{}", &unique.hex()[..8])
}

/// The last part of the repository's name.
fn app(image: &Reference) -> String {
    let repository = image.repository().to_string();
    let last = repository.rsplit('/').next().unwrap_or("image");
    let mut app: String = last.chars().take(63).collect();
    while app.ends_with(['-', '.', '_']) {
        app.pop();
    }
    app
}

fn hash(image: &Reference) -> String {
    Digest::of(image.to_string().as_bytes()).hex()[..32].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_names_of_objects_jc_11() {
        for (image, begin) in [
            ("r.test/team/My_app.web".to_lowercase(), "my-app-web-"),
            (format!("r.test/{}", "x".repeat(120)), "xxxx"),
        ] {
            let id = build_id(&image.parse().unwrap(), 7);
            assert!(id.starts_with(begin), "{id}");
            assert!(id.len() <= 57, "a pod's name must fit into a label: {id}");
            assert!(
                id.chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'),
                "{id}"
            );
        }
        let image = "r.test/app:1".parse().unwrap();
        assert_ne!(build_id(&image, 1), build_id(&image, 2));
    }

    #[test]
    fn labels_hold_any_image() {
        let image = format!(
            "r.test/{}/{}_:{}",
            "a".repeat(90),
            "b".repeat(90),
            "c".repeat(100)
        );
        let image = image.replace("_:", ":");
        for (key, value) in labels("id", &image.parse().unwrap()) {
            assert!(value.len() <= 63, "{key}={value}");
        }
    }
}
