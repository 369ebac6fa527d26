//! Times the engine on real directories: `measure pack DIR OUT [none|gzip|zstd] [LEVEL] [THREADS]`, `measure hash DIR`,
//! `measure extract LAYER DIR`, `measure snapshot DIR`.

#![expect(clippy::print_stdout, reason = "a program for people to measure with")]

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use lifecycle_image::{Compression, NoProgress};
use lifecycle_layers::{DirectoryLayer, ExtractOptions, Packing, Parents, Snapshot, Style};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let layer = |directory: &str| {
        DirectoryLayer::new(directory, "/layer")
            .parents(Parents::Absent)
            .style(Style::Oci { latest: None })
    };
    let begin = Instant::now();
    match arguments.as_slice() {
        ["pack", directory, out, rest @ ..] => {
            let packing = Packing {
                compression: match rest.first() {
                    None | Some(&"gzip") => Compression::Gzip,
                    Some(&"zstd") => Compression::Zstd,
                    Some(&"none") => Compression::None,
                    Some(other) => bail!("{other} is no compression"),
                },
                level: rest.get(1).map(|level| level.parse()).transpose()?,
                threads: rest.get(2).map(|threads| threads.parse()).transpose()?,
                ..Packing::default()
            };
            let mut out = BufWriter::with_capacity(1 << 20, File::create(out)?);
            let packed = lifecycle_layers::pack(&layer(directory), &packing, &mut out, &NoProgress)?;
            out.flush()?;
            println!("{} -> {} bytes, {}", packed.tar_size, packed.size, packed.digest);
        }
        ["hash", directory] => {
            let (diff_id, size) = lifecycle_layers::hash(&layer(directory), &NoProgress)?;
            println!("{size} bytes, {diff_id}");
        }
        ["extract", stored, directory] => {
            std::fs::create_dir_all(directory)?;
            let into = File::open(directory)?;
            let options = ExtractOptions::default();
            let stored = File::open(stored)?;
            let extracted = lifecycle_layers::extract(stored, None, into.as_fd(), &options, &NoProgress)?;
            println!("{} entries, {} bytes", extracted.entries, extracted.bytes);
        }
        ["snapshot", directory] => {
            let snapshot = Snapshot::take(Path::new(directory), &[])?;
            println!("{} entries", snapshot.len());
        }
        _ => return Err(anyhow::anyhow!("unknown arguments")).context("see the top of the source"),
    }
    println!("{:.3} s", begin.elapsed().as_secs_f64());
    Ok(())
}
