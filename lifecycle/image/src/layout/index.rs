//! What the images of a layout are called: the entries of its `index.json`.

use crate::{Descriptor, Family, Index, ManifestError, MediaType, RawDocument, Reference};

/// The name inside a layout (OCI image specification, "Annotations"): by custom the tag.
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The full name of the image, which containerd, Docker and podman write and look at first.
pub(crate) const IMAGE_NAME: &str = "io.containerd.image.name";

/// The entries of an `index.json`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Entries(Vec<Descriptor>);

impl Entries {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        Ok(Self(
            Index::parse(bytes, &MediaType::index(Family::Oci))?.manifests,
        ))
    }

    pub(crate) fn encode(&self) -> Result<RawDocument, ManifestError> {
        Index::new(Family::Oci, self.0.clone()).encode()
    }

    pub(crate) fn all(&self) -> &[Descriptor] {
        &self.0
    }

    /// Everything that `reference` can mean here: entries with this full name, else entries with nothing but
    /// a tag, as skopeo, umoci and the reference lifecycle write them.
    pub(crate) fn matching(&self, reference: &Reference) -> Vec<&Descriptor> {
        let full: Vec<_> = self
            .0
            .iter()
            .filter(|entry| full_name(entry).as_ref() == Some(reference))
            .collect();
        if full.is_empty() {
            self.0
                .iter()
                .filter(|entry| is_bare_tag_of(entry, reference))
                .collect()
        } else {
            full
        }
    }

    /// The entries whose name inside the layout is exactly `text`.
    pub(crate) fn called(&self, text: &str) -> Vec<&Descriptor> {
        self.0
            .iter()
            .filter(|entry| ref_name(entry) == Some(text))
            .collect()
    }

    /// Makes `names` stand for what `descriptor` points at. Afterwards no other entry answers to them.
    ///
    /// The name inside the layout is `text`, else the tag, or the full name where another repository's image
    /// has the tag already: other tools refuse a name that stands twice. An entry keeps its place when it
    /// changes, so that writing the same again gives the same bytes.
    pub(crate) fn set(&mut self, names: &[Reference], text: Option<&str>, descriptor: &Descriptor) {
        let unnamed = Descriptor {
            annotations: descriptor
                .annotations
                .iter()
                .filter(|(key, _)| ![REF_NAME, IMAGE_NAME].contains(&key.as_str()))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
            ..descriptor.clone()
        };
        if names.is_empty() {
            let same = |entry: &Descriptor| match text {
                Some(_) => ref_name(entry) == text,
                None => entry.digest == descriptor.digest && ref_name(entry).is_none(),
            };
            let mut entry = unnamed.clone();
            if let Some(text) = text {
                entry.annotations.insert(REF_NAME.to_owned(), text.to_owned());
            }
            self.replace(same, entry);
        }
        for name in names {
            let same = |entry: &Descriptor| {
                full_name(entry).as_ref() == Some(name)
                    || (text.is_none() && is_bare_tag_of(entry, name))
                    || (text.is_some() && ref_name(entry) == text)
            };
            let full = name.to_string();
            let short = text.or(name.tag()).filter(|short| {
                let taken = |entry: &Descriptor| !same(entry) && ref_name(entry) == Some(short);
                !self.0.iter().any(taken)
            });
            let mut entry = unnamed.clone();
            let short = short.unwrap_or(&full).to_owned();
            entry.annotations.insert(REF_NAME.to_owned(), short);
            entry.annotations.insert(IMAGE_NAME.to_owned(), full);
            self.replace(same, entry);
        }
    }

    fn replace(&mut self, same: impl Fn(&Descriptor) -> bool, entry: Descriptor) {
        let place = self.0.iter().position(&same).unwrap_or(self.0.len());
        self.0.retain(|other| !same(other));
        self.0.insert(place.min(self.0.len()), entry);
    }

    /// The names: in full where an entry has a full name; the digest of entries without any.
    pub(crate) fn names(&self) -> Vec<String> {
        let name = |entry: &Descriptor| {
            let full = entry.annotations.get(IMAGE_NAME).map(String::as_str);
            full.or(ref_name(entry))
                .unwrap_or(entry.digest.as_str())
                .to_owned()
        };
        self.0.iter().map(name).collect()
    }
}

pub(crate) fn ref_name(entry: &Descriptor) -> Option<&str> {
    entry.annotations.get(REF_NAME).map(String::as_str)
}

/// The full name of an entry, if it has one. podman writes it where others write the tag.
pub(crate) fn full_name(entry: &Descriptor) -> Option<Reference> {
    if let Some(name) = entry.annotations.get(IMAGE_NAME) {
        return name.parse().ok();
    }
    ref_name(entry)
        .filter(|name| name.contains(['/', ':']))
        .and_then(|name| name.parse().ok())
}

fn is_bare_tag_of(entry: &Descriptor, reference: &Reference) -> bool {
    full_name(entry).is_none() && reference.tag().is_some() && ref_name(entry) == reference.tag()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(text: &str) -> Reference {
        text.parse().unwrap()
    }

    fn image(content: &str) -> Descriptor {
        Descriptor::of(MediaType::manifest(Family::Oci), content.as_bytes())
    }

    fn named(content: &str, key: &str, name: &str) -> Descriptor {
        let mut entry = image(content);
        entry.annotations.insert(key.to_owned(), name.to_owned());
        entry
    }

    #[test]
    fn names_of_every_writer_are_understood() {
        let entries = Entries(vec![
            named("bare", REF_NAME, "v1"),
            named("podman", REF_NAME, "localhost/app:v1"),
            named("docker", IMAGE_NAME, &reference("app:v1").to_string()),
        ]);
        let find = |name: &str| -> Vec<_> {
            let found = entries.matching(&reference(name));
            found.into_iter().map(|entry| entry.digest.clone()).collect()
        };
        assert_eq!(find("localhost/app:v1"), [image("podman").digest]);
        assert_eq!(find("app:v1"), [image("docker").digest]);
        assert_eq!(find("r.test/other:v1"), [image("bare").digest]);
        assert!(find("r.test/other:v2").is_empty());
        assert_eq!(entries.called("v1"), [&named("bare", REF_NAME, "v1")]);
    }

    #[test]
    fn a_name_moves_and_tags_of_two_repositories_stay_apart() {
        let mut entries = Entries(vec![named("old", REF_NAME, "1")]);
        entries.set(&[reference("r.test/a:1")], None, &image("a"));
        assert_eq!(entries.all().len(), 1, "the bare tag stood for every repository");
        entries.set(&[reference("r.test/b:1")], None, &image("b"));
        let names: Vec<_> = entries.all().iter().filter_map(ref_name).collect();
        assert_eq!(names, ["1", "r.test/b:1"]);
        let before = entries.encode().unwrap();
        entries.set(&[reference("r.test/a:1")], None, &image("a"));
        entries.set(&[reference("r.test/b:1")], None, &image("b"));
        assert_eq!(entries.encode().unwrap(), before, "writing again changes nothing");
        entries.set(&[], None, &image("c"));
        entries.set(&[], None, &image("c"));
        entries.set(&[], Some("mine"), &image("d"));
        entries.set(&[reference("r.test/e:1")], Some("mine"), &image("e"));
        assert_eq!(entries.all().len(), 4);
        assert_eq!(entries.called("mine")[0].digest, image("e").digest);
        assert_eq!(
            Entries::parse(&entries.encode().unwrap().bytes).unwrap().all(),
            entries.all()
        );
    }
}
