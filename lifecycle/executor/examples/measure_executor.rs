//! Measures builds on a busybox base, each in a new store.
//!
//! ```text
//! measure DIRECTORY [CASE]    a directory on a disk, all goes below it and is removed again; only cases of that name
//! ```
#![expect(clippy::print_stdout, reason = "a tool for people")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lifecycle_dockerfile::{Platform as Target, Platforms};
use lifecycle_executor::{BuildContext, NoCache, Offline, Options, Silent, Surroundings, build};
use lifecycle_image::{History, Image, NoProgress, Platform, Reference, Sink as _, mutate};
use lifecycle_layers::{FilesLayer, Packing, Style};
use lifecycle_store::{Expected, Store};

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let directory = std::env::args().nth(1).ok_or("name a directory")?;
    let case = std::env::args().nth(2).unwrap_or_default();
    let directory = tempfile::tempdir_in(directory)?;
    let context = directory.path().join("context");
    std::fs::create_dir(&context)?;
    for number in 0..5000 {
        let folder = context.join(format!("d{}", number / 100));
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(number.to_string()), vec![b'x'; 1024])?;
    }
    let runs = (0..10).fold(String::new(), |lines, number| {
        lines + &format!("RUN echo {number}\n")
    });
    let sleeps = "FROM busybox AS a\nRUN sleep 3; echo a > /a\nFROM busybox AS b\nRUN sleep 3; echo b > /b\n\
                  FROM busybox AS c\nRUN sleep 3; echo c > /c\n\
                  FROM busybox\nCOPY --from=a /a /\nCOPY --from=b /b /\nCOPY --from=c /c /\n";
    for (name, dockerfile, repeat) in [
        ("10 RUN", format!("FROM busybox\n{runs}"), 5),
        ("3 stages of sleep 3", sleeps.to_owned(), 1),
        ("COPY of 5,000 files", "FROM busybox\nCOPY . /x/\n".to_owned(), 5),
        (
            "COPY of 5,000 files and RUN",
            "FROM busybox\nCOPY . /x/\nRUN true\n".to_owned(),
            5,
        ),
    ] {
        if !name.contains(&case) {
            continue;
        }
        for (form, temporary) in [("kept store", false), ("temporary store", true)] {
            let (mut cold, mut warm) = (Vec::new(), Vec::new());
            for number in 0..repeat {
                let path = directory.path().join(format!("{name} {temporary} {number}"));
                std::fs::create_dir(&path)?;
                let store = if temporary {
                    Store::temporary(&path)?
                } else {
                    Store::open(&path.join("store"))?
                };
                put_busybox(&store)?;
                cold.push(measure(&store, &context, &dockerfile)?);
                warm.push(measure(&store, &context, &dockerfile)?);
            }
            println!(
                "{name}, {form}: uncached {:?}, cached {:?}",
                median(cold),
                median(warm)
            );
        }
    }
    Ok(())
}

fn measure(store: &Store, context: &Path, dockerfile: &str) -> Result<Duration, Error> {
    let platforms = Platforms::native(Target::new("linux", "amd64"));
    let mut options = Options::new(
        "Dockerfile",
        dockerfile,
        BuildContext::Directory(context.to_owned()),
        platforms,
    );
    options.no_cache = NoCache::Off;
    let start = Instant::now();
    let surroundings = Surroundings {
        images: store,
        remote: &Offline,
        store,
        reporter: &Silent,
    };
    let report = build(&options, surroundings)?;
    let image = report.finish()?;
    image.digest()?;
    Ok(start.elapsed())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn put_busybox(store: &Store) -> Result<(), Error> {
    let layer =
        FilesLayer::new("busybox", Style::Oci { latest: None }).copy("bin/busybox", 0o755, "/bin/busybox");
    let layer = ["sh", "echo", "sleep", "true"]
        .iter()
        .fold(layer, |layer, applet| {
            layer.symlink(format!("bin/{applet}"), *b"busybox", 0o777)
        });
    let layer = store.pack(
        Arc::new(layer),
        Packing::default(),
        Expected::New,
        Arc::new(NoProgress),
    );
    let image = mutate::append(
        Image::empty(&Platform::linux("amd64")),
        Arc::clone(&layer),
        History::default(),
    );
    let image = mutate::configure(image, |config| config.config.env = Some(vec!["PATH=/bin".into()]));
    let reference: Reference = "busybox".parse()?;
    let mut upload = store.begin(&[reference])?;
    upload.layer(layer);
    upload.finish(&image)?;
    Ok(())
}
