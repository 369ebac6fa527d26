//! Builds a Dockerfile on a busybox base as the user who calls it, and lists the files of the image.
//!
//! ```text
//! builder STORE CONTEXT DOCKERFILE auto|overlay|copy|single|chroot|norun [zstd] [PLATFORM]
//! ```
//!
//! For the rungs with namespaces it enters them first, as a program that runs commands for an ordinary user must;
//! with `auto` only where that is allowed.
#![expect(clippy::print_stdout, reason = "a tool for people and tests")]

use std::collections::BTreeMap;
use std::io::{BufReader, Write};
use std::path::Path;
use std::sync::Arc;

use lifecycle_dockerfile::{Platform as Target, Platforms};
use lifecycle_executor::{
    BuildContext, ExecutorError, IsolationMode, Offline, Options, Reporter, StepName, Surroundings, build,
};
use lifecycle_image::{
    Compression, History, Image, Layer, NoProgress, Platform, Reference, Sink as _, mutate,
};
use lifecycle_layers::{
    Contents, Entry, FilesLayer, PackError, Packing, Style, TarReader, TarWriter, open_tar,
};
use lifecycle_sandbox::Rung;
use lifecycle_store::{Expected, Store};

type Error = Box<dyn std::error::Error>;

#[derive(Debug)]
struct Plain;

impl Reporter for Plain {
    fn isolation(&self, isolation: &str) {
        println!("isolation {isolation}");
    }

    fn output(&self, _: &StepName, bytes: &[u8]) {
        print!("{}", String::from_utf8_lossy(bytes));
    }

    fn warn(&self, warning: &lifecycle_diagnostics::Diagnostic) {
        println!("warning {warning}");
    }
}

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(([store, context, dockerfile, isolation], more)) = arguments.split_first_chunk() else {
        return Err("see the head of the source for the arguments".into());
    };
    let platforms = Platforms::native(Target::new("linux", "amd64"));
    let context = BuildContext::Directory(context.into());
    let mut options = Options::new("Dockerfile", std::fs::read(dockerfile)?, context, platforms);
    // The same files give the same digest.
    (options.now, options.epoch) = (0, Some(0));
    options.hosts = Some(b"127.0.0.1 localhost\n10.1.2.3 db\n".to_vec());
    for word in more {
        match (word.as_str(), word.split_once('/')) {
            ("zstd", _) => options.packing.compression = Compression::Zstd,
            (_, Some((os, architecture))) => options.platforms.target = Target::new(os, architecture),
            _ => return Err(format!("{word} is neither zstd nor a platform").into()),
        }
    }
    options.isolation = match isolation.as_str() {
        "norun" => IsolationMode::NoRun,
        "auto" => {
            if let Err(error) = lifecycle_sandbox::enter() {
                println!("not entered: {error}");
            }
            IsolationMode::Automatic
        }
        "overlay" | "copy" => {
            lifecycle_sandbox::enter()?;
            let is_copy = isolation == "copy";
            IsolationMode::Forced(if is_copy { Rung::Copy } else { Rung::Overlay })
        }
        "single" => {
            lifecycle_sandbox::enter_with_one_id()?;
            IsolationMode::Forced(Rung::SingleId)
        }
        "chroot" => IsolationMode::Forced(Rung::Chroot),
        other => return Err(format!("{other} is no isolation").into()),
    };
    let store = Store::open(Path::new(store))?;
    put_busybox(&store)?;
    let surroundings = Surroundings {
        images: &store,
        remote: &Offline,
        store: &store,
        reporter: &Plain,
    };
    match build(&options, surroundings) {
        Ok(report) => list(&report.finish()?),
        Err(error) => {
            show(&error);
            Err(error.into())
        }
    }
}

fn show(error: &ExecutorError) {
    for diagnostic in error.diagnostics() {
        println!("error {diagnostic}");
        for cause in &diagnostic.causes {
            println!("  because {cause}");
        }
        for help in &diagnostic.help {
            println!("  help {help}");
        }
    }
}

/// `path mode uid:gid`, sorted, and the digest.
fn list(image: &Image) -> Result<(), Error> {
    println!("digest {}", image.digest()?);
    let mut files = BTreeMap::new();
    for layer in image.layers() {
        let mut reader = TarReader::new(BufReader::new(open_tar(&**layer)?));
        while let Some(entry) = reader.next_entry()? {
            let path = String::from_utf8_lossy(&entry.path).into_owned();
            let (above, name) = path
                .rsplit_once('/')
                .map_or((String::new(), path.as_str()), |(above, name)| {
                    (format!("{above}/"), name)
                });
            if let Some(gone) = name.strip_prefix(".wh.") {
                let gone = format!("{above}{gone}");
                let below = format!("{gone}/");
                files.retain(|path: &String, _| *path != gone && !path.starts_with(&below));
                continue;
            }
            files.insert(path, (entry.mode, entry.owner));
        }
    }
    for (path, (mode, owner)) in files {
        println!("{path} {mode:o} {}:{}", owner.uid, owner.gid);
    }
    Ok(())
}

/// A layer of an empty file that says nothing about the directory that it lies in.
#[derive(Debug)]
struct FileAlone(&'static str);

impl Contents for FileAlone {
    fn name(&self) -> String {
        self.0.to_owned()
    }

    fn write(&self, tar: &mut dyn Write) -> Result<(), PackError> {
        let mut writer = TarWriter::new(tar, Style::Oci { latest: None });
        writer.entry(&Entry::file(self.0.as_bytes(), 0))?;
        writer.finish().map(drop)
    }
}

fn put_busybox(store: &Store) -> Result<(), Error> {
    let layer = FilesLayer::new("busybox", Style::Oci { latest: None })
        .copy("bin/busybox", 0o755, "/bin/busybox")
        .file(
            "etc/passwd",
            0o644,
            *b"root:x:0:0::/root:/bin/sh\nalice:x:1000:1001::/home:/bin/sh\n",
        )
        .owner(lifecycle_layers::Owner::new(1000, 1001))
        .file("home/hers", 0o600, *b"hers\n");
    let applets = [
        "sh", "cat", "echo", "mkdir", "rm", "ls", "touch", "true", "chown", "chmod", "stat", "mv", "ln",
        "grep", "id",
    ];
    let layer = applets.iter().fold(layer, |layer, applet| {
        layer.symlink(format!("bin/{applet}"), *b"busybox", 0o777)
    });
    let layer = layer.directory("shared", 0o3775);
    let contents: [Arc<dyn Contents>; 2] = [Arc::new(layer), Arc::new(FileAlone("shared/more"))];
    let layers = contents.map(|contents| -> Arc<dyn Layer> {
        store.pack(
            contents,
            Packing::default(),
            Expected::here(),
            Arc::new(NoProgress),
        )
    });
    let image = layers
        .iter()
        .fold(Image::empty(&Platform::linux("amd64")), |image, layer| {
            mutate::append(image, Arc::clone(layer), History::default())
        });
    let image = mutate::configure(image, |config| config.config.env = Some(vec!["PATH=/bin".into()]));
    let reference: Reference = "busybox".parse()?;
    let mut upload = store.begin(&[reference])?;
    for layer in layers {
        upload.layer(layer);
    }
    upload.finish(&image)?;
    Ok(())
}
