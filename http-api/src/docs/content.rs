//! The pages: an index, one for each guide, operation and code, and all operations on one.

use std::collections::BTreeMap;

use keyrack_core::catalogue::{About, Effect};
use keyrack_core::docs::{Field, Guide, OperationPage, guides, guides_about};
use keyrack_core::error::Code;
use keyrack_core::operations;

use super::page::{Block, Word, code, heading, inline, joined, link, paragraph_of, prose, text};

/// What Keyrack is, in a sentence.
pub(super) const SUMMARY: &str =
    "API-key management that you run yourself: keys, credits, rate limits, permissions, analytics, audit.";
/// How every operation is called and answers.
pub(super) const CALLING: &str = "Every operation is `POST /v2/<namespace>.<operation>` with a JSON body and a root key as bearer token. Success is \
     200 with `meta` and `data`; an error has `meta` and `error`, whose `type` is the address of its page. \
     `/openapi.json` describes the same for programs.";

fn to_operation(name: &str) -> Word {
    link(format!("docs/operations/{name}"), code(name))
}

fn to_code(code: Code, shown: &str) -> Word {
    link(format!("docs/errors/{}", code.path()), Word::Code(shown.to_owned()))
}

fn to_guide(guide: &Guide) -> Word {
    link(guide.path().trim_start_matches('/'), text(guide.title))
}

/// The guides that are about an operation or a code; nothing where there are none.
fn guides_of(name: &str) -> Option<Block> {
    let mut words = joined(guides_about(name).map(to_guide), ", ");
    if words.is_empty() {
        return None;
    }
    words.insert(0, text("Guides: "));
    Some(paragraph_of(words))
}

/// The operations by namespace.
pub(super) fn by_namespace() -> BTreeMap<&'static str, Vec<&'static OperationPage>> {
    let mut namespaces: BTreeMap<&str, Vec<&OperationPage>> = BTreeMap::new();
    for page in operations::pages() {
        namespaces.entry(page.about.namespace()).or_default().push(page);
    }
    namespaces
}

/// All codes, by status.
pub(super) fn codes() -> Vec<Code> {
    let mut codes = Code::ALL.to_vec();
    codes.sort_by_key(|code| (code.status(), code.path()));
    codes
}

/// The page that leads to all others.
pub(super) fn index() -> Vec<Block> {
    let titled = |title, anchor| Block::Heading { level: 2, words: vec![text(title)], anchor: Some(anchor) };
    let mut page = vec![heading(1, text("Keyrack"))];
    page.extend(prose(CALLING));
    page.push(titled("Guides", "guides"));
    page.push(Block::Table {
        heads: &["guide", "what it is for"],
        rows: guides().iter().map(|guide| vec![vec![to_guide(guide)], inline(guide.summary)]).collect(),
    });
    for (namespace, pages) in by_namespace() {
        page.push(heading(2, text(namespace)));
        let row = |page: &&OperationPage| vec![vec![to_operation(page.about.name)], inline(page.about.summary)];
        page.push(Block::Table { heads: &["operation", "what it does"], rows: pages.iter().map(row).collect() });
    }
    page.push(titled("Errors", "errors"));
    page.push(codes_table(&codes()));
    page
}

/// All operations on one page.
pub(super) fn reference(public_url: &str) -> Vec<Block> {
    let names = operations::pages().iter().map(|page| page.about.name);
    let contents = joined(names.map(|name| link(format!("#{name}"), text(name))), " ");
    let mut page = vec![heading(1, text("Reference")), Block::Paragraph { class: "contents", words: contents }];
    for operation in operations::pages() {
        let mut blocks = vec![heading(2, to_operation(operation.about.name))];
        blocks.extend(said_of(operation, public_url));
        page.push(Block::Section { anchor: operation.about.name, blocks });
    }
    page
}

/// A guide's page.
pub(super) fn guide(guide: &Guide, public_url: &str) -> Vec<Block> {
    vec![
        heading(1, text(guide.title)),
        Block::Paragraph { class: "title", words: inline(guide.summary) },
        Block::Written(guide.text(public_url)),
    ]
}

/// An operation's page.
pub(super) fn operation(operation: &OperationPage, public_url: &str) -> Vec<Block> {
    let mut page = vec![heading(1, text(operation.about.name))];
    page.extend(said_of(operation, public_url));
    page
}

/// What there is to say about an operation, below its heading.
fn said_of(page: &OperationPage, public_url: &str) -> Vec<Block> {
    let about = page.about;
    let effect = match about.effect {
        Effect::Read => "Reads.",
        Effect::Write if about.idempotent => "Changes something; doing it twice leaves the same as doing it once.",
        Effect::Write => "Changes something; doing it twice does it twice.",
        Effect::Destroy => "Removes something for good.",
    };
    let mut blocks = vec![Block::Paragraph { class: "title", words: vec![text(about.title)] }];
    blocks.extend(prose(about.summary));
    blocks.extend(prose(about.description));
    blocks.push(Block::Paragraph { class: "effect", words: vec![text(effect)] });
    blocks.extend(guides_of(about.name));
    if let Some(example) = page.example() {
        blocks.push(Block::Code(curl(public_url, about.name, &example)));
        let row = |placeholder: keyrack_core::docs::Placeholder| {
            vec![vec![code(placeholder.mark)], inline(&placeholder.to_string())]
        };
        blocks.push(Block::Table { heads: &["replace", "by"], rows: page.placeholders().map(row).collect() });
    }
    blocks.push(heading(3, text("Request")));
    if let Some(member) = about.bare_body {
        blocks.extend(prose(&format!("The body is the value of `{member}` alone, without an object around it.")));
    }
    blocks.push(fields(&page.request));
    blocks.push(Block::Heading { level: 3, words: vec![text("Answer ("), code("data"), text(")")], anchor: None });
    if about.has_data {
        blocks.push(fields(&page.response));
    } else {
        blocks.extend(prose("There is no `data`, only `meta`."));
    }
    blocks.push(heading(3, text("Permissions")));
    blocks.push(permissions(page));
    blocks.push(heading(3, text("Errors")));
    let mut codes = page.codes.clone();
    codes.extend(About::COMMON_CODES.iter().filter(|code| !page.codes.contains(code)));
    blocks.push(codes_table(&codes));
    blocks
}

/// A request that works as it stands, with `ROOT_KEY` in the environment.
fn curl(public_url: &str, name: &str, example: &str) -> String {
    let body = example.replace('\'', "'\\''");
    format!(
        "curl -s {public_url}/v2/{name} \\\n  -H \"Authorization: Bearer $ROOT_KEY\" \\\n  \
         -H \"Content-Type: application/json\" \\\n  -d '{body}'"
    )
}

fn fields(fields: &[Field]) -> Block {
    if fields.is_empty() {
        return paragraph_of(vec![text("No members: "), code("{}"), text(".")]);
    }
    let row = |field: &Field| {
        let mut name = vec![code(&*field.path)];
        if field.required {
            name.extend([text(" "), Word::AlwaysThere]);
        }
        vec![name, vec![text(&*field.kind)], inline(&field.text)]
    };
    Block::Table { heads: &["member (* always there)", "type", "meaning"], rows: fields.iter().map(row).collect() }
}

fn permissions(page: &OperationPage) -> Block {
    let needed = page.permissions();
    if needed.is_empty() {
        return paragraph_of(vec![text("Any valid root key.")]);
    }
    let item = |(when, permissions): (&str, String)| match when {
        "" => vec![code(permissions)],
        when => vec![text(format!("if {when}: ")), code(permissions)],
    };
    Block::List(needed.into_iter().map(item).collect())
}

fn codes_table(codes: &[Code]) -> Block {
    let row = |code: &Code| {
        vec![vec![text(code.status().to_string())], vec![to_code(*code, code.path())], inline(code.meaning())]
    };
    Block::Table { heads: &["status", "code", "meaning"], rows: codes.iter().map(row).collect() }
}

/// The page of a code.
pub(super) fn explained(error: Code) -> Vec<Block> {
    let mut page = vec![
        heading(1, text(error.specific())),
        Block::Paragraph { class: "title", words: vec![text(format!("{} {}", error.status(), error.title()))] },
    ];
    page.extend(prose(error.meaning()));
    page.push(heading(2, text("What to do")));
    page.extend(prose(error.remedy()));
    page.extend(guides_of(error.specific()));
    page.push(paragraph_of(vec![
        text("Match it by the end of "),
        code("error.type"),
        text(": "),
        code(format!("/errors/{}", error.path())),
    ]));
    let answering = operations::pages().iter().filter(|page| page.codes.contains(&error));
    let answering = joined(answering.map(|page| to_operation(page.about.name)), ", ");
    if !answering.is_empty() {
        page.extend([heading(2, text("Who answers it")), paragraph_of(answering)]);
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_in_an_example_stays_inside_the_shells_quotes() {
        let line = curl("http://h", "a.b", r#"{"name": "it's"}"#);
        assert!(line.ends_with(r#"-d '{"name": "it'\''s"}'"#), "{line}");
    }
}
