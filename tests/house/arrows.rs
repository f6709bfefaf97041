//! Arrows from a module to those it uses: which point up, and which close a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::imports::Crate;

/// Layers of a crate, the lowest first: the modules that each names stand for themselves and for what is in them,
/// unless another layer names that.
pub(crate) struct Layers(Vec<(String, Vec<String>)>);

impl Layers {
    /// Reads the block of a crate: lines of a layer's name and its modules.
    pub(crate) fn read(file: &Path, name: &str) -> Layers {
        let text = fs::read_to_string(file).unwrap();
        let start = format!("```layers {name}\n");
        let (_, after) = text.split_once(&start).unwrap_or_else(|| panic!("no block `{}`", start.trim()));
        let (block, _) = after.split_once("```").unwrap();
        let mut layers: Vec<(String, Vec<String>)> = Vec::new();
        for line in block.lines().filter(|line| !line.trim().is_empty()) {
            let mut words = line.split_whitespace().map(str::to_owned);
            match layers.last_mut() {
                Some((_, modules)) if line.starts_with(' ') => modules.extend(words),
                _ => layers.push((words.next().unwrap(), words.collect())),
            }
        }
        Layers(layers)
    }

    /// What is wrong with a crate: modules without a layer, and arrows that point up.
    pub(crate) fn wrong(&self, crate_: &Crate) -> Vec<String> {
        let mut wrong = Vec::new();
        for module in crate_.modules().filter(|module| !module.is_empty()) {
            let Some(layer) = self.of(module) else {
                wrong.push(format!("{module} stands in no layer"));
                continue;
            };
            let above =
                crate_.used_by(module).into_iter().filter(|used| self.of(used).is_some_and(|of| of > layer));
            wrong.extend(above.map(|used| {
                let [lower, upper] = [layer, self.of(used).unwrap()].map(|at| &self.0[at].0);
                format!("{module} ({lower}) uses {used} ({upper})")
            }));
        }
        wrong
    }

    /// The room of a module: what of its path a layer names.
    fn room(&self, module: &str) -> Option<String> {
        let named = self.0.iter().flat_map(|(_, modules)| modules);
        let named = named.filter(|named| {
            module.strip_prefix(named.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        });
        named.max_by_key(|named| named.len()).cloned()
    }

    /// The layer of a module: that which names most of its path.
    fn of(&self, module: &str) -> Option<usize> {
        let room = self.room(module)?;
        self.0.iter().position(|(_, modules)| modules.contains(&room))
    }
}

/// The circles of a crate, each as what ties it: between rooms, and between the files of a room. A room is what the
/// layers name, or else what stands directly in the crate, with all that is in it. A folder's own file may
/// know what is in the folder and be known there: they are one thing in several files. The crate's root is in none.
pub(crate) fn circles(crate_: &Crate, layers: Option<&Layers>) -> Vec<String> {
    let room = |module: &str| {
        let named = layers.and_then(|layers| layers.room(module));
        named.unwrap_or_else(|| module.split("::").next().unwrap().to_owned())
    };
    let is_within =
        |inner: &str, outer: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with("::"));
    let (mut rooms, mut files) = (Uses::new(), Uses::new());
    for module in crate_.modules().filter(|module| !module.is_empty()) {
        for used in crate_.used_by(module).into_iter().filter(|used| !used.is_empty()) {
            let [from, to] = [room(module), room(used)];
            if from != to {
                rooms.entry(from).or_default().insert(to);
            } else if !is_within(module, used) && !is_within(used, module) {
                files.entry(module.to_owned()).or_default().insert(used.to_owned());
            }
        }
    }
    [rooms, files].iter().flat_map(circles_of).collect()
}

type Uses = BTreeMap<String, BTreeSet<String>>;

fn circles_of(uses: &Uses) -> Vec<String> {
    let mut found: Vec<BTreeSet<&str>> = Vec::new();
    for module in uses.keys() {
        if found.iter().any(|circle| circle.contains(module.as_str())) {
            continue;
        }
        let reached_by = reached(uses, module);
        let circle: BTreeSet<&str> =
            reached_by.into_iter().filter(|other| reached(uses, other).contains(module.as_str())).collect();
        if !circle.is_empty() {
            found.push(circle);
        }
    }
    let told = |circle: &BTreeSet<&str>| {
        let ties = circle.iter().map(|module| {
            let used: Vec<&str> =
                uses[*module].iter().map(String::as_str).filter(|used| circle.contains(used)).collect();
            format!("{module} uses {}", used.join(", "))
        });
        ties.collect::<Vec<_>>().join("; ")
    };
    found.iter().map(told).collect()
}

/// All that is used from a module on; the module itself only if that leads back to it.
fn reached<'a>(uses: &'a Uses, from: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&str> = uses.get(from).into_iter().flatten().map(String::as_str).collect();
    while let Some(module) = next.pop() {
        if reached.insert(module) {
            next.extend(uses.get(module).into_iter().flatten().map(String::as_str));
        }
    }
    reached
}
