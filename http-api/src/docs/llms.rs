//! `/llms.txt` and `/llms-full.txt`: the documentation for programs that read it, in the form of llmstxt.org: a title, a
//! summary in a quote, and lists of links, each with a note; the second has all the text as well.

use keyrack_core::docs::{guides, path_of};
use keyrack_core::operations;

use super::content::{CALLING, SUMMARY, by_namespace, codes};
use super::twin::address;

/// What a page is addressed by, without its first slash, its name and what it is for.
struct Listed<'a>(String, &'a str, &'a str);

fn listed(public_url: &str, Listed(path, name, note): Listed<'_>) -> String {
    format!("- [{name}]({}): {}\n", address(public_url, path.trim_start_matches('/')), note.trim())
}

fn introduction() -> String {
    format!(
        "# Keyrack\n\n> {SUMMARY}\n\n{CALLING}\n\nA verification (`keys.verifyKey`) answers 200 whatever the verdict: \
         look at `data.valid` and `data.code`. Root keys and keys are secrets: never in code, logs or questions.\n"
    )
}

/// The index: what there is, and where.
pub(super) fn index(public_url: &str) -> String {
    let mut text = introduction();
    text.push_str("\n## Guides\n\n");
    for guide in guides() {
        text.push_str(&listed(public_url, Listed(guide.path(), guide.title, guide.summary)));
    }
    for (namespace, pages) in by_namespace() {
        text.push_str(&format!("\n## Operations: {namespace}\n\n"));
        for page in pages {
            text.push_str(&listed(public_url, Listed(page.path(), page.about.name, page.about.summary)));
        }
    }
    // What a reader with little room may leave out.
    text.push_str("\n## Optional\n\n");
    text.push_str(&listed(public_url, Listed("reference".to_owned(), "Reference", "All operations on one page.")));
    text.push_str(&listed(
        public_url,
        Listed("openapi.json".to_owned(), "OpenAPI", "All operations for programs."),
    ));
    for code in codes() {
        text.push_str(&listed(public_url, Listed(path_of(code), code.specific(), code.meaning())));
    }
    text
}

/// All of it in one file: guides, operations, codes. `page` gives the Markdown of a path.
pub(super) fn full<'a>(page: impl Fn(&str) -> &'a str) -> String {
    let guides = guides().iter().map(|guide| guide.path());
    let operations = operations::pages().iter().map(|page| page.path());
    let codes = codes().into_iter().map(path_of);
    let mut text = introduction();
    for path in guides.chain(operations).chain(codes) {
        text.push_str("\n---\n\n");
        text.push_str(page(&path));
        text.push('\n');
    }
    text
}
