//! From an order to groups (cnb.md 2.6).

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use lifecycle_spec::{ExecEnv, OrderEntry, OrderGroup, OrderToml};

use super::group::Selected;
use super::journal::Journal;
use super::{DetectError, DetectOptions};
use crate::modules::{Kind, Module, Modules};

/// How many groups are tried at most. Every nested order multiplies their number.
const MOST_GROUPS: u64 = 1 << 20;

/// A module of a group that is to be tried.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) module: Arc<Module>,
    /// Whether the group passes without it; always so for extensions (IEX-03).
    pub(crate) optional: bool,
}

/// What became of a group, or of several.
#[derive(Debug)]
pub(crate) enum Tried {
    Passed(Selected),
    Failed {
        /// Whether a script had an error.
        errored: bool,
    },
}

/// What still has to be expanded behind the modules of a group.
#[derive(Clone)]
enum Item<'a> {
    /// The extensions' order, which takes part like an optional composite (ORD-03).
    Extensions,
    Entry {
        kind: Kind,
        entry: &'a OrderEntry,
        inside: Option<Rc<Inside>>,
    },
}

/// The composites that an entry comes from, the innermost first.
struct Inside {
    composite: String,
    above: Option<Rc<Inside>>,
}

/// An order in the place of an entry.
struct Nested<'a> {
    order: &'a [OrderGroup],
    kind: Kind,
    optional: bool,
    inside: Option<Rc<Inside>>,
}

type Try<'t> = dyn FnMut(&[Candidate], &mut Journal) -> Result<Tried, DetectError> + 't;

/// Expands an order depth first, left to right, and tries each group as soon as it is complete.
pub(crate) struct Expansion<'a> {
    modules: Modules<'a>,
    exec_env: Option<&'a ExecEnv>,
    order: &'a OrderToml,
    /// Modules that were read.
    read: HashMap<(Kind, String), Arc<Module>>,
    journal: Journal,
    groups: u64,
}

impl<'a> Expansion<'a> {
    pub(crate) fn new(modules: Modules<'a>, options: &'a DetectOptions, order: &'a OrderToml) -> Self {
        let surroundings = &options.surroundings;
        Self {
            modules,
            exec_env: surroundings.api.has_exec_env().then_some(&surroundings.exec_env),
            order,
            read: HashMap::new(),
            journal: Journal::default(),
            groups: 0,
        }
    }

    /// Reads every module that the order names itself, so that a missing one or a wrong API is told even when a group
    /// before it passes (DET-14).
    pub(crate) fn check_top_level(&mut self) -> Result<(), DetectError> {
        let order = self.order;
        let buildpacks = order.order.iter().map(|group| (Kind::Buildpack, group));
        let extensions = order
            .order_extensions
            .iter()
            .map(|group| (Kind::Extension, group));
        for (kind, group) in buildpacks.chain(extensions) {
            for entry in &group.group {
                self.find(kind, entry)?;
            }
        }
        Ok(())
    }

    pub(crate) fn into_journal(self) -> Journal {
        self.journal
    }

    /// The first group that passes.
    pub(crate) fn first(&mut self, attempt: &mut Try<'_>) -> Result<Tried, DetectError> {
        let order = self.order;
        let extensions: &[Item<'_>] = if order.order_extensions.is_empty() {
            &[]
        } else {
            &[Item::Extensions]
        };
        let mut errored = false;
        for group in &order.order {
            let mut items = extensions.to_vec();
            items.extend(entries(group, Kind::Buildpack, None));
            match self.group(Vec::new(), &items, attempt)? {
                Tried::Failed { errored: this } => errored |= this,
                passed @ Tried::Passed(_) => return Ok(passed),
            }
        }
        Ok(Tried::Failed { errored })
    }

    /// Completes a group of which `done` is known and `items` follow.
    fn group(
        &mut self,
        mut done: Vec<Candidate>,
        items: &[Item<'_>],
        attempt: &mut Try<'_>,
    ) -> Result<Tried, DetectError> {
        for (at, item) in items.iter().enumerate() {
            let rest = &items[at + 1..];
            let (kind, entry, inside) = match item {
                Item::Extensions => {
                    let nested = Nested {
                        order: &self.order.order_extensions,
                        kind: Kind::Extension,
                        optional: true,
                        inside: None,
                    };
                    return self.alternatives(&nested, &done, rest, attempt);
                }
                Item::Entry { kind, entry, inside } => (*kind, *entry, inside.as_ref()),
            };
            // The first of an id wins, whatever its version (ORD-04).
            let same_id = |other: &Candidate| other.module.kind == kind && other.module.info.id == entry.id;
            if done.iter().any(same_id) {
                continue;
            }
            let module = self.find(kind, entry)?;
            if let Some(env) = self.exec_env
                && !(entry.exec_env.include(env.as_str()) && module.supports(env))
            {
                let label = module.label();
                self.journal
                    .debug(format!("skip: {label} is not for execution environment {env}"));
                continue;
            }
            if module.order.is_empty() {
                let optional = entry.optional || kind == Kind::Extension;
                done.push(Candidate { module, optional });
                continue;
            }
            let inside = Some(enter(&module.label(), inside)?);
            let nested = Nested {
                order: &module.order,
                kind,
                optional: entry.optional,
                inside,
            };
            return self.alternatives(&nested, &done, rest, attempt);
        }
        self.groups += 1;
        if self.groups > MOST_GROUPS {
            return Err(DetectError::TooMany { tries: MOST_GROUPS });
        }
        attempt(&done, &mut self.journal)
    }

    /// Tries a nested order's groups in the place of its entry, and none of them last if it is optional (ORD-01,
    /// ORD-02).
    fn alternatives(
        &mut self,
        nested: &Nested<'_>,
        done: &[Candidate],
        rest: &[Item<'_>],
        attempt: &mut Try<'_>,
    ) -> Result<Tried, DetectError> {
        let mut errored = false;
        let none = OrderGroup::default();
        for group in nested.order.iter().chain(nested.optional.then_some(&none)) {
            let own = entries(group, nested.kind, nested.inside.as_ref());
            let items: Vec<_> = own.chain(rest.iter().cloned()).collect();
            match self.group(done.to_vec(), &items, attempt)? {
                Tried::Failed { errored: this } => errored |= this,
                passed @ Tried::Passed(_) => return Ok(passed),
            }
        }
        Ok(Tried::Failed { errored })
    }

    fn find(&mut self, kind: Kind, entry: &OrderEntry) -> Result<Arc<Module>, DetectError> {
        let key = (kind, format!("{}@{}", entry.id, entry.version));
        if let Some(module) = self.read.get(&key) {
            return Ok(Arc::clone(module));
        }
        let module = Arc::new(self.modules.find(kind, &entry.id, &entry.version)?);
        self.read.insert(key, Arc::clone(&module));
        Ok(module)
    }
}

fn entries<'a>(
    group: &'a OrderGroup,
    kind: Kind,
    inside: Option<&Rc<Inside>>,
) -> impl Iterator<Item = Item<'a>> {
    let inside = inside.cloned();
    group.group.iter().map(move |entry| Item::Entry {
        kind,
        entry,
        inside: inside.clone(),
    })
}

/// Goes into a composite, unless that is where we come from (ORD-05).
fn enter(composite: &str, from: Option<&Rc<Inside>>) -> Result<Rc<Inside>, DetectError> {
    let mut path = vec![composite.to_owned()];
    let mut here = from;
    while let Some(inside) = here {
        path.push(inside.composite.clone());
        if inside.composite == composite {
            path.reverse();
            return Err(DetectError::Cycle { path });
        }
        here = inside.above.as_ref();
    }
    Ok(Rc::new(Inside {
        composite: composite.to_owned(),
        above: from.cloned(),
    }))
}
