//! The table of settings in README.md is the list of settings, written out; guides name settings and defaults of the list.

use keyrack_core::docs::guides;

use super::list;
use super::setting::{Facts, Shown};

const START: &str = "<!-- The list of settings; `INSTA_UPDATE=always` with the tests writes it. -->\n";
const END: &str = "<!-- End of the list of settings. -->\n";

fn table() -> String {
    let rows: String = list::facts().map(row).collect();
    format!("| setting | default | |\n|---|---|---|\n{rows}")
}

fn row(facts: &Facts) -> String {
    let default = match facts.default {
        // A browser would take it for a tag.
        Shown::Words(words) if words.contains('<') => format!("`{words}`"),
        Shown::Value(text) => format!("`{text}`"),
        Shown::Words(words) => words.to_owned(),
        Shown::Nothing => "none".to_owned(),
    };
    let alias = facts.alias.map(|alias| format!("; `{alias}` counts too")).unwrap_or_default();
    format!("| `{}` | {default} | {}{alias} |\n", facts.variable(), facts.help)
}

#[test]
fn the_table_of_the_readme_is_the_list_of_settings() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(path).unwrap();
    let (before, rest) = readme.split_once(START).expect("the beginning of the list");
    let (written, after) = rest.split_once(END).expect("the end of the list");
    let table = format!("\n{}\n", table());
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") && written != table {
        std::fs::write(path, [before, START, &table, END, after].concat()).unwrap();
    } else {
        assert_eq!(written, table, "INSTA_UPDATE=always writes it; read the diff");
    }
}

#[test]
fn settings_and_defaults_that_guides_name_are_those_of_the_list() {
    for guide in guides() {
        for line in guide.text("").lines() {
            for named in line.split('`').filter(|word| word.starts_with("KEYRACK_") && !word.contains(' ')) {
                let known = list::facts().find(|facts| facts.variable() == named);
                let facts = known.unwrap_or_else(|| panic!("{}: there is no setting {named}", guide.slug));
                let cells: Vec<&str> = line.split('|').map(str::trim).collect();
                let Some(at) = cells.iter().position(|cell| *cell == format!("`{named}`")) else { continue };
                let Shown::Value(default) = facts.default else {
                    panic!("{}: {named} has no default", guide.slug)
                };
                assert_eq!(cells.get(at + 1), Some(&default), "{}: the default of {named}", guide.slug);
            }
        }
    }
}
