//! `lifecycle cache ls|prune|verify`

use std::time::{Duration, SystemTime};

use lifecycle_store::{Amount, Prune, Store};
use serde_json::json;

use crate::arguments::{CacheCommand, OutputForm};
use crate::console::{Column, Table, human_age, human_size};
use crate::failure::Failure;
use crate::session::Session;

pub(crate) fn run(command: &CacheCommand, session: &Session) -> Result<(), Failure> {
    let store = session.store()?;
    match command {
        CacheCommand::Ls { output } => list(store, *output, session),
        CacheCommand::Prune {
            max_size,
            older_than,
            all,
            dry_run,
        } => {
            let policy = Prune {
                unused_for: if *all {
                    Some(Duration::ZERO)
                } else {
                    older_than.map(days)
                },
                max_size: *max_size,
                grace: if *all {
                    Duration::ZERO
                } else {
                    Prune::default().grace
                },
                dry_run: *dry_run,
                ..Prune::default()
            };
            prune(store, &policy, session)
        }
        CacheCommand::Verify { repair } => verify(store, *repair, session),
    }
}

fn days(count: u32) -> Duration {
    Duration::from_secs(u64::from(count) * 24 * 60 * 60)
}

fn list(store: &Store, form: OutputForm, session: &Session) -> Result<(), Failure> {
    let usage = store.usage()?;
    let mut caches = store.caches()?;
    caches.sort_by(|one, other| one.key.cmp(&other.key).then_with(|| one.path.cmp(&other.path)));
    if form == OutputForm::Json {
        let amount = |amount: Amount| json!({ "count": amount.count, "bytes": amount.bytes });
        let time = |time: SystemTime| jiff::Timestamp::try_from(time).unwrap_or_default().to_string();
        let caches: Vec<_> = caches
            .iter()
            .map(|cache| json!({ "key": cache.key, "path": cache.path, "used": time(cache.used) }))
            .collect();
        return session.console.json(&json!({
            "path": store.path(),
            "images": usage.images,
            "blobs": amount(usage.blobs),
            "extractedLayers": amount(usage.trees),
            "buildCaches": amount(usage.caches),
            "records": amount(usage.records),
            "unfinished": amount(usage.temporary),
            "bytes": usage.total(),
            "caches": caches,
        }));
    }
    let mut parts = Table::new([
        Column::Left("PART"),
        Column::Right("COUNT"),
        Column::Right("SIZE"),
    ]);
    parts.row(["image names".to_owned(), usage.images.to_string(), String::new()]);
    for (name, amount) in [
        ("blobs", usage.blobs),
        ("extracted layers", usage.trees),
        ("build caches", usage.caches),
        ("records", usage.records),
        ("unfinished", usage.temporary),
    ] {
        parts.row([
            name.to_owned(),
            amount.count.to_string(),
            human_size(amount.bytes),
        ]);
    }
    parts.row(["total".to_owned(), String::new(), human_size(usage.total())]);
    let mut text = format!("{}\n\n{parts}", store.path().display());
    if !caches.is_empty() {
        let mut table = Table::new([Column::Left("BUILD CACHE"), Column::Right("USED")]);
        for cache in &caches {
            table.row([cache.key.clone(), human_age(cache.used)]);
        }
        text = format!("{text}\n{table}");
    }
    Ok(session.console.result(&text)?)
}

fn prune(store: &Store, policy: &Prune, session: &Session) -> Result<(), Failure> {
    let pruned = store.prune(policy)?;
    for path in &pruned.removed {
        session.console.debug(format!("{}", path.display()));
    }
    let verb = if policy.dry_run { "would free" } else { "freed" };
    let count = pruned.removed.len();
    let mut text = format!(
        "{verb} {} ({count} {})",
        human_size(pruned.freed),
        plural(count, "entry", "entries")
    );
    if pruned.spared > 0 {
        text = format!(
            "{text}; {} may still be needed by running or recent builds",
            human_size(pruned.spared)
        );
    }
    Ok(session.console.result(&text)?)
}

fn verify(store: &Store, repair: bool, session: &Session) -> Result<(), Failure> {
    let found = store.verify(repair)?;
    let summary = format!(
        "{} {} ({}) and {} extracted {} checked",
        found.blobs,
        plural(found.blobs, "blob", "blobs"),
        human_size(found.bytes),
        found.trees,
        plural(found.trees, "layer", "layers"),
    );
    if found.damage.is_empty() {
        return Ok(session.console.result(&format!("{summary}, all whole"))?);
    }
    for damage in &found.damage {
        session
            .console
            .result(&format!("{}: {}", damage.path.display(), damage.reason))?;
    }
    if repair {
        session
            .console
            .info(format!("{summary}, {} removed", found.damage.len()));
        return Ok(());
    }
    let failure = Failure::new("damaged", format!("{summary}, {} damaged", found.damage.len()));
    Err(failure
        .help("remove what is damaged with `lifecycle cache verify --repair`; it is fetched or made again"))
}

fn plural<'a>(count: usize, one: &'a str, many: &'a str) -> &'a str {
    if count == 1 { one } else { many }
}
