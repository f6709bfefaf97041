//! The house itself: its arrows point down, and no file is too long to be read.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod arrows;
mod documents;
mod imports;

use std::fs;
use std::path::{Path, PathBuf};

use arrows::{Layers, circles};
use imports::Crate;

/// The crates with their folders; the names are those of the blocks in ARCHITECTURE.md.
const CRATES: [(&str, &str); 5] = [
    ("core", "core/src"),
    ("analytics-engine", "analytics-engine/src"),
    ("http-api", "http-api/src"),
    ("mcp-server", "mcp-server/src"),
    ("program", "src"),
];
/// Lines of a file, its tests left out.
const LONGEST_FILE: usize = 500;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(folder: &str) -> Crate {
    Crate::read(&root().join(folder))
}

fn layers() -> Layers {
    Layers::read(&root().join("ARCHITECTURE.md"), "core")
}

#[test]
fn arrows_between_the_layers_of_core_point_down() {
    let layers = layers();
    let wrong = layers.wrong(&read("core/src"));
    assert!(wrong.is_empty(), "ARCHITECTURE.md has the layers:\n{}", wrong.join("\n"));
}

#[test]
fn no_crate_has_a_circle_of_modules() {
    for (name, folder) in CRATES {
        let layers = (name == "core").then(layers);
        let circles = circles(&read(folder), layers.as_ref());
        assert!(circles.is_empty(), "circles in {name}:\n{}", circles.join("\n"));
    }
}

#[test]
fn an_import_that_points_up_or_closes_a_circle_is_seen() {
    let mut core = read("core/src");
    let layers = layers();
    // What 0.1.0 had: a service that knows the composition root.
    core.import("credits::payment", "use crate::keyrack::Keyrack;");
    let wrong = layers.wrong(&core);
    assert!(
        matches!(&wrong[..], [wrong] if wrong.contains("credits::payment") && wrong.contains("keyrack")),
        "{wrong:?}"
    );
    assert!(circles(&core, Some(&layers)).iter().any(|circle| circle.contains("credits uses keyrack")));
    let mut core = read("core/src");
    core.import("credits::payment", "use crate::Keyrack;");
    assert_eq!(layers.wrong(&core).len(), 1, "what the root hands out counts as where it is");
    let mut core = read("core/src");
    core.import("error", "fn of(fault: crate::store::root_keys::Standing) {}");
    assert_eq!(layers.wrong(&core).len(), 1, "a path counts wherever it stands");
    let mut core = read("core/src");
    core.import("error", "#[cfg(test)] mod tests { use crate::keyrack::Keyrack; }");
    assert!(layers.wrong(&core).is_empty(), "tests may use what they like");
}

#[test]
fn no_file_is_longer_than_people_read_at_once() {
    let mut long = Vec::new();
    for folder in ["core/src", "http-api/src", "mcp-server/src", "src", "tests", "core/tests", "mcp-server/tests"]
    {
        for file in imports::rust_files(&root().join(folder)) {
            let lines = lines_without_tests(&file);
            if lines > LONGEST_FILE {
                long.push(format!("{}: {lines} lines", file.display()));
            }
        }
    }
    assert!(long.is_empty(), "more than {LONGEST_FILE} lines; ask what it is really two of:\n{}", long.join("\n"));
}

fn lines_without_tests(file: &Path) -> usize {
    let text = fs::read_to_string(file).unwrap();
    let tests = text
        .lines()
        .zip(text.lines().skip(1))
        .position(|(line, next)| line == "#[cfg(test)]" && next.starts_with("mod ") && next.ends_with('{'));
    tests.unwrap_or_else(|| text.lines().count())
}
