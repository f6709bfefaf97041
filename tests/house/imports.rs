//! Which modules of a crate use which: read from every path in its source, tests left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};
use syn::{Attribute, File, Item, ItemUse, UseTree, Visibility};

/// A crate's modules by their paths, such as `store::keys`; that of the crate itself is empty.
pub(crate) struct Crate {
    modules: BTreeMap<String, File>,
    /// What the crate's root hands out, by name: the path of each.
    handed_out: BTreeMap<String, Vec<String>>,
}

impl Crate {
    /// Reads the source in a folder.
    pub(crate) fn read(folder: &Path) -> Crate {
        let module = |file: PathBuf| {
            let path = file.strip_prefix(folder).unwrap().with_extension("");
            let mut segments: Vec<_> = path.iter().map(|segment| segment.to_str().unwrap()).collect();
            if matches!(segments.last(), Some(&("mod" | "lib" | "main"))) {
                segments.pop();
            }
            let source = syn::parse_file(&fs::read_to_string(&file).unwrap());
            (segments.join("::"), source.unwrap_or_else(|error| panic!("{}: {error}", file.display())))
        };
        let mut modules: BTreeMap<String, File> = rust_files(folder).into_iter().map(module).collect();
        let of_tests: Vec<String> = modules.iter().flat_map(|(name, file)| modules_of_tests(name, file)).collect();
        modules.retain(|name, _| !of_tests.contains(name));
        let handed_out = modules.get("").map(handed_out).unwrap_or_default();
        Crate { modules, handed_out }
    }

    /// The names of the modules.
    pub(crate) fn modules(&self) -> impl Iterator<Item = &str> {
        self.modules.keys().map(String::as_str)
    }

    /// Adds source to a module.
    pub(crate) fn import(&mut self, module: &str, source: &str) {
        let added = syn::parse_file(source).unwrap();
        self.modules.get_mut(module).unwrap().items.extend(added.items);
    }

    /// The modules that a module uses. What a module hands out of its own children is no use of them.
    pub(crate) fn used_by(&self, module: &str) -> BTreeSet<&str> {
        let mut paths = Paths::default();
        paths.visit_file(&self.modules[module]);
        let used = paths.0.iter().filter_map(|path| self.module_of(module, path));
        used.filter(|used| *used != module).collect()
    }

    /// The module in which what a path names is, seen from a module.
    fn module_of(&self, module: &str, path: &[String]) -> Option<&str> {
        let mut at: Vec<&str> = module.split("::").filter(|segment| !segment.is_empty()).collect();
        let mut rest = path.iter().map(String::as_str).peekable();
        match rest.peek() {
            Some(&"crate") => {
                at.clear();
                rest.next();
                if let Some(path) = rest.peek().and_then(|name| self.handed_out.get(*name)) {
                    return self.module_of("", path);
                }
            }
            Some(&("self" | "super")) => {
                while let Some(step) = rest.next_if(|step| matches!(*step, "self" | "super")) {
                    if step == "super" {
                        at.pop();
                    }
                }
            }
            Some(child) => {
                self.modules.get_key_value(&[&at[..], &[child]].concat().join("::"))?;
            }
            None => return None,
        }
        for segment in rest {
            let deeper = [&at[..], &[segment]].concat();
            if !self.modules.contains_key(&deeper.join("::")) {
                break;
            }
            at = deeper;
        }
        self.modules.get_key_value(&at.join("::")).map(|(name, _)| name.as_str())
    }
}

/// What a crate's root hands out of its modules.
fn handed_out(root: &File) -> BTreeMap<String, Vec<String>> {
    let mut paths = Paths::default();
    for item in &root.items {
        if let Item::Use(item) = item {
            paths.add_tree(&[], &item.tree);
        }
    }
    paths.0.into_iter().filter_map(|path| Some((path.last()?.clone(), path))).collect()
}

/// The modules in files of their own that a module has for its tests alone.
fn modules_of_tests(name: &str, file: &File) -> Vec<String> {
    let of_tests = file.items.iter().filter_map(|item| match item {
        Item::Mod(item) if item.content.is_none() && is_of_tests(&item.attrs) => Some(item.ident.to_string()),
        _ => None,
    });
    of_tests.map(|child| if name.is_empty() { child } else { format!("{name}::{child}") }).collect()
}

/// Every Rust file in a folder and its folders, but for what is built or fetched there.
pub(crate) fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_built = ["target", "node_modules"].contains(&&*name) || name.starts_with(".venv");
        if path.is_dir() && !is_built {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The paths of a file.
#[derive(Default)]
struct Paths(Vec<Vec<String>>);

impl Paths {
    fn add_tree(&mut self, before: &[String], tree: &UseTree) {
        match tree {
            UseTree::Path(path) => {
                let before = [before, &[path.ident.to_string()]].concat();
                self.add_tree(&before, &path.tree);
            }
            UseTree::Name(name) => self.0.push([before, &[name.ident.to_string()]].concat()),
            UseTree::Rename(name) => self.0.push([before, &[name.ident.to_string()]].concat()),
            UseTree::Glob(_) => self.0.push(before.to_vec()),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.add_tree(before, tree)),
        }
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Mod(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if !is_of_tests(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let is_handed_out = !matches!(item.vis, Visibility::Inherited);
        let before = self.0.len();
        self.add_tree(&[], &item.tree);
        if is_handed_out {
            let from = |path: &[String]| matches!(path[0].as_str(), "crate" | "super");
            let handed_out = self.0.split_off(before);
            self.0.extend(handed_out.into_iter().filter(|path| from(path)));
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            self.0.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }
}

fn is_of_tests(attributes: &[Attribute]) -> bool {
    let is_test = |attribute: &Attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Ident>().is_ok_and(|condition| condition == "test")
    };
    attributes.iter().any(is_test)
}
