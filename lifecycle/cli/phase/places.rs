//! Where a phase finds and puts images: a registry, or a directory of OCI layouts.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use lifecycle_daemon::Daemon;
use lifecycle_image::layout::Layout;
use lifecycle_image::{
    Artifact, Digest, Image, Index, Layer, Platform, Receipt, Reference, Sink, Source, TransferError, Upload,
};
use lifecycle_phases::{Access, Identifiers, ImageIds, Images};
use lifecycle_registry::Registry;

/// A place for app images and what they are made from.
#[derive(Debug)]
pub(super) enum Place {
    /// Registries.
    Registry(Registry),
    /// A directory of layouts, one for each name (LAY-01).
    Layouts(Layouts),
    /// A docker or podman daemon.
    Daemon(Daemon),
}

/// A place, ready to be handed to a phase.
#[derive(Debug)]
pub(super) struct ReadyPlace {
    place: Place,
    identifiers: Identifiers,
    access: Option<RegistryAccess>,
    platform: Platform,
}

impl ReadyPlace {
    pub(super) fn registry(registry: Registry) -> Self {
        Self {
            access: Some(RegistryAccess(registry.clone())),
            place: Place::Registry(registry),
            identifiers: Identifiers::Registry,
            platform: Platform::host(),
        }
    }

    pub(super) fn layouts(directory: PathBuf) -> Self {
        let identifiers = Identifiers::Layout { directory };
        Self {
            place: Place::Layouts(Layouts(identifiers.clone())),
            identifiers,
            access: None,
            platform: Platform::host(),
        }
    }

    pub(super) fn daemon(daemon: Daemon) -> Self {
        Self {
            identifiers: Identifiers::Daemon(Arc::new(DaemonIds(daemon.clone()))),
            place: Place::Daemon(daemon),
            access: None,
            platform: Platform::host(),
        }
    }

    /// Where images are read from that will be extended: the layouts, or the registry, even if apps go to a daemon.
    pub(super) fn images_to_extend<'a>(&'a self, registry: &'a Registry) -> &'a dyn Source {
        match &self.place {
            Place::Registry(_) | Place::Daemon(_) => registry,
            Place::Layouts(layouts) => layouts,
        }
    }

    pub(super) fn images(&self) -> Images<'_> {
        let (source, sink): (&dyn Source, &dyn Sink) = match &self.place {
            Place::Registry(registry) => (registry, registry),
            Place::Layouts(layouts) => (layouts, layouts),
            Place::Daemon(daemon) => (daemon, daemon),
        };
        Images {
            source,
            sink,
            identifiers: &self.identifiers,
            access: self.access.as_ref().map(|access| access as &dyn Access),
            platform: &self.platform,
        }
    }
}

/// Asks a registry whether we may write.
#[derive(Debug, Clone)]
pub(super) struct RegistryAccess(pub(super) Registry);

impl Access for RegistryAccess {
    fn check_write(&self, reference: &Reference) -> Result<(), TransferError> {
        self.0.check_write(reference.repository())
    }
}

/// What a daemon calls its images.
#[derive(Debug)]
struct DaemonIds(Daemon);

impl ImageIds for DaemonIds {
    fn id(&self, image: &Image) -> Result<String, TransferError> {
        self.0.id(image)
    }
}

/// OCI layouts in a directory. The identifiers know where each lies.
#[derive(Debug)]
pub(super) struct Layouts(Identifiers);

impl Layouts {
    fn path(&self, reference: &Reference) -> PathBuf {
        self.0.layout_path(reference).unwrap_or_default()
    }
}

impl Source for Layouts {
    fn artifact(&self, reference: &Reference) -> Result<Artifact, TransferError> {
        Layout::open(self.path(reference))?.named(None)
    }

    fn member(&self, reference: &Reference, digest: &Digest) -> Result<Image, TransferError> {
        Layout::open(self.path(reference))?.member(reference, digest)
    }
}

impl Sink for Layouts {
    fn begin(&self, names: &[Reference]) -> Result<Box<dyn Upload>, TransferError> {
        let begin = |name: &Reference| {
            let layout = Layout::create(self.path(name))?.sparse();
            layout.begin(std::slice::from_ref(name))
        };
        Ok(Box::new(Uploads(
            names.iter().map(begin).collect::<Result<_, _>>()?,
        )))
    }
}

/// One image on its way into several layouts.
struct Uploads(Vec<Box<dyn Upload>>);

impl Uploads {
    fn all(
        self,
        mut finish: impl FnMut(Box<dyn Upload>) -> Result<Receipt, TransferError>,
    ) -> Result<Receipt, TransferError> {
        let mut whole: Option<Receipt> = None;
        for upload in self.0 {
            let receipt = finish(upload)?;
            match &mut whole {
                Some(whole) => {
                    whole.names.extend(receipt.names);
                    whole.sent += receipt.sent;
                    whole.existed += receipt.existed;
                }
                None => whole = Some(receipt),
            }
        }
        whole.ok_or_else(|| {
            TransferError::from_io("cannot write an image", io::Error::other("it has no name"))
        })
    }
}

impl Upload for Uploads {
    /// Base layers need not be there, and stay away then (LAY-03).
    fn layer(&mut self, layer: Arc<dyn Layer>) {
        let is_missing = || {
            layer
                .open(0)
                .is_err_and(|error| error.cause.kind() == io::ErrorKind::NotFound)
        };
        if layer.known().is_some() && is_missing() {
            return;
        }
        for upload in &mut self.0 {
            upload.layer(Arc::clone(&layer));
        }
    }

    fn member(&mut self, image: &Image) -> Result<Receipt, TransferError> {
        let receipts = self
            .0
            .iter_mut()
            .map(|upload| upload.member(image))
            .collect::<Result<Vec<_>, _>>()?;
        let none = || TransferError::from_io("cannot write an image", io::Error::other("it has no name"));
        receipts.into_iter().next_back().ok_or_else(none)
    }

    fn finish(self: Box<Self>, image: &Image) -> Result<Receipt, TransferError> {
        self.all(|upload| upload.finish(image))
    }

    fn finish_index(self: Box<Self>, index: &Index) -> Result<Receipt, TransferError> {
        self.all(|upload| upload.finish_index(index))
    }
}

#[cfg(test)]
mod tests {
    use lifecycle_image::{
        BytesLayer, Compression, DiffId, Digest, Family, History, Layer, MediaType, mutate,
    };

    use super::*;

    #[test]
    fn an_image_lies_under_each_of_its_names_lay_01_lay_04() {
        let directory = tempfile::tempdir().unwrap();
        let place = ReadyPlace::layouts(directory.path().to_owned());
        let names: Vec<Reference> = ["r.test/a:1", "r.test/b:2"]
            .map(|name| name.parse().unwrap())
            .to_vec();
        let image = mutate::configure(Image::empty(&Platform::linux("amd64")), |config| {
            config.author = Some("me".into());
        });
        let receipt = place.images().sink.begin(&names).unwrap().finish(&image).unwrap();
        assert_eq!(receipt.names, names);
        for (name, path) in names.iter().zip(["r.test/a/1", "r.test/b/2"]) {
            assert!(directory.path().join(path).join("index.json").is_file());
            let Artifact::Image(read) = place.images().source.artifact(name).unwrap() else {
                panic!("an index")
            };
            assert_eq!(read.digest().unwrap(), receipt.digest);
        }
        let missing = place
            .images()
            .source
            .artifact(&"r.test/c".parse().unwrap())
            .unwrap_err();
        assert_eq!(missing.kind, lifecycle_image::TransferErrorKind::NotFound);
    }
    #[test]
    fn base_layers_that_are_not_there_stay_away_lay_03() {
        let directory = tempfile::tempdir().unwrap();
        let layer = |content: &[u8]| -> Arc<dyn Layer> {
            let media_type = MediaType::layer(Family::Oci, Compression::None);
            Arc::new(BytesLayer::new(media_type, content, DiffId(Digest::of(content))))
        };
        let whole = |artifact: Artifact| match artifact {
            Artifact::Image(image) => *image,
            Artifact::Index(_) => panic!("an index"),
        };
        let (run, app): (Reference, Reference) =
            ("r.test/run".parse().unwrap(), "r.test/app".parse().unwrap());
        let base = Image::empty(&Platform::linux("amd64"));
        let base = mutate::append(base, layer(b"base"), History::default());
        let sparse = Layout::create(directory.path().join("run")).unwrap().sparse();
        sparse.begin(&[run]).unwrap().finish(&base).unwrap();
        let base = whole(sparse.named(None).unwrap());

        let place = ReadyPlace::layouts(directory.path().to_owned());
        let image = mutate::append(base, layer(b"app"), History::default());
        let mut upload = place.images().sink.begin(std::slice::from_ref(&app)).unwrap();
        for layer in image.layers() {
            upload.layer(Arc::clone(layer));
        }
        upload.finish(&image).unwrap();
        let read = whole(place.images().source.artifact(&app).unwrap());
        let here: Vec<bool> = read.layers().iter().map(|layer| layer.open(0).is_ok()).collect();
        assert_eq!(here, [false, true]);
    }
}
