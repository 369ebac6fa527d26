//! Measures what the store adds to packing: `measure DIRECTORY STORE`.
//!
//! Packs the directory into nothing, into a temporary store and into a durable one, then again unchanged.
#![expect(clippy::print_stdout, reason = "a measurement is read on a terminal")]

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use lifecycle_image::NoProgress;
use lifecycle_layers::{DirectoryLayer, Packing};
use lifecycle_store::{Expected, Store};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(directory), Some(parent)) = (arguments.next(), arguments.next()) else {
        return Err("usage: measure DIRECTORY STORE".into());
    };
    let contents = Arc::new(DirectoryLayer::new(&directory, "/app"));
    let packing = Packing::default();
    let begun = Instant::now();
    let packed = lifecycle_layers::pack(&*contents, &packing, &mut io::sink(), &NoProgress)?;
    println!(
        "{:?} to nothing, {} to {} bytes",
        begun.elapsed(),
        packed.tar_size,
        packed.size
    );

    std::fs::create_dir_all(&parent)?;
    let temporary = Store::temporary(&parent)?;
    let durable = Store::open(&parent.join("store"))?;
    for (name, store, expected) in [
        ("temporary", &temporary, Expected::New),
        ("durable", &durable, Expected::New),
        ("unchanged", &durable, Expected::here()),
    ] {
        let begun = Instant::now();
        let layer = store.pack(contents.clone(), packing, expected, Arc::new(NoProgress));
        layer.descriptor()?;
        println!("{:?} {name}", begun.elapsed());
    }
    Ok(())
}
