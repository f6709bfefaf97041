//! Guides: pages about getting something done, written by hand in Markdown, in `docs/` of the repository.
//!
//! What the program knows better is not written there: marks such as `{{analytics_tables}}` stand for it, and `{{base}}` for
//! the server's address. A guide is about every operation and every code that it names in backticks, whose pages link
//! to it.

use std::sync::LazyLock;

use super::analytics;

/// Every guide: the last part of its path, and its file.
const SOURCES: [(&str, &str); 4] = [
    ("verify-in-your-service", include_str!("../../../docs/verify-in-your-service.md")),
    ("why-is-a-key-refused", include_str!("../../../docs/why-is-a-key-refused.md")),
    ("assistants", include_str!("../../../docs/assistants.md")),
    ("analytics-sql", include_str!("../../../docs/analytics-sql.md")),
];

/// A guide.
#[derive(Debug, PartialEq, Eq)]
pub struct Guide {
    /// The last part of its path: `analytics-sql`.
    pub slug: &'static str,
    /// What it is called.
    pub title: &'static str,
    /// What it is for, in a sentence.
    pub summary: &'static str,
    /// Markdown, in which marks are not filled in.
    body: &'static str,
}

/// A part of a guide: what is below one heading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The heading, as Markdown.
    pub heading: String,
    /// What is below it, as Markdown.
    pub text: String,
}

impl Guide {
    /// A file begins with its title and summary between lines of `---`.
    fn of((slug, source): (&'static str, &'static str)) -> Self {
        let front = source.strip_prefix("---\n").and_then(|rest| rest.split_once("\n---\n"));
        let (front, body) = front.unwrap_or(("", source));
        let said = |name: &str| {
            let mut lines = front.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map_or("", str::trim)
        };
        Guide { slug, title: said("title"), summary: said("summary"), body: body.trim_start() }
    }

    /// Where it is on a server.
    pub fn path(&self) -> String {
        format!("/docs/guides/{}", self.slug)
    }

    /// The guide as Markdown, with `base` as the address of the server: headings of two and more `#`, tables, code.
    pub fn text(&self, base: &str) -> String {
        let marks = [
            ("{{analytics_tables}}", analytics::tables as fn() -> String),
            ("{{analytics_functions}}", analytics::functions),
            ("{{analytics_limits}}", analytics::limits),
        ];
        let mut text = self.body.replace("{{base}}", base);
        for (mark, made) in marks {
            if text.contains(mark) {
                text = text.replace(mark, made().trim_end());
            }
        }
        text
    }

    /// Its parts, in their order.
    pub fn parts(&self, base: &str) -> Vec<Part> {
        let mut parts: Vec<Part> = Vec::new();
        let mut in_code = false;
        for line in self.text(base).lines() {
            in_code ^= line.starts_with("```");
            match line.trim_start_matches('#').strip_prefix(' ') {
                Some(heading) if !in_code && line.starts_with("##") => {
                    parts.push(Part { heading: heading.to_owned(), text: String::new() });
                }
                _ => {
                    if let Some(part) = parts.last_mut() {
                        part.text.push_str(line);
                        part.text.push('\n');
                    }
                }
            }
        }
        for part in &mut parts {
            part.text = part.text.trim().to_owned();
        }
        parts
    }
}

/// All guides, in the order of the index.
pub fn guides() -> &'static [Guide] {
    static GUIDES: LazyLock<Vec<Guide>> = LazyLock::new(|| SOURCES.map(Guide::of).into());
    &GUIDES
}

/// The guides that are about an operation or a code: those that name it.
pub fn guides_about(name: &str) -> impl Iterator<Item = &'static Guide> {
    let named = format!("`{name}`");
    guides().iter().filter(move |guide| guide.body.contains(&named))
}

/// What leads to a heading on its page: its words in lower case, joined by `-`.
pub fn anchor(heading: &str) -> String {
    let words = heading.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::analytics::sql::tables::{Table, Tables};
    use crate::error::Code;
    use crate::operations::{grantable, pages};

    /// What a guide shows of the files of prompts, which have marks of their own.
    const OF_PROMPTS: [&str; 3] = ["{{external_id}}", "{{no external_id}}", "{{with keys_getKey}}"];

    /// What stands between backticks outside of blocks of code.
    fn code_words(guide: &Guide) -> Vec<&'static str> {
        let outside = guide.body.split("```").step_by(2);
        outside.flat_map(|text| text.split('`').skip(1).step_by(2)).collect()
    }

    #[test]
    fn a_guide_says_what_it_is_and_fills_in_what_the_program_knows() {
        for guide in guides() {
            assert!(!guide.title.is_empty() && !guide.summary.is_empty(), "{}: title and summary", guide.slug);
            let text = guide.text("https://keys.example.com");
            let text = OF_PROMPTS.iter().fold(text, |text, mark| text.replace(mark, ""));
            assert!(!text.contains("{{"), "{}: a mark that nothing fills in", guide.slug);
            let anchors: Vec<String> = guide.parts("").iter().map(|part| anchor(&part.heading)).collect();
            let distinct: HashSet<&String> = anchors.iter().collect();
            assert_eq!(distinct.len(), anchors.len(), "{}: two headings are alike: {anchors:?}", guide.slug);
        }
    }

    #[test]
    fn what_a_guide_names_is_there() {
        let operations: HashSet<&str> = pages().iter().map(|page| page.about.name).collect();
        let namespaces: HashSet<&str> = pages().iter().map(|page| page.about.namespace()).collect();
        let codes = Code::ALL.iter().map(|code| code.specific());
        let tables = || [Tables::Verifications, Tables::Ratelimits].into_iter().flat_map(Table::all);
        let columns = tables().flat_map(|table| table.columns).map(|column| column.name);
        let actions = grantable().asked().filter_map(|(permission, _)| permission.rsplit(['.', '#']).next());
        let names: HashSet<&str> =
            codes.chain(tables().map(|table| table.name)).chain(columns).chain(actions).collect();
        let is_name =
            |word: &str| word.contains('_') && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        for guide in guides() {
            for word in code_words(guide) {
                let namespace = word.split_once('.').map(|(namespace, action)| (namespace, action.contains('.')));
                if let Some((namespace, false)) = namespace.filter(|(namespace, _)| namespaces.contains(namespace))
                {
                    assert!(operations.contains(word), "{}: no operation of {namespace} is {word}", guide.slug);
                }
                // Metrics are a promise of their own.
                if is_name(word) && !word.starts_with("keyrack_") {
                    assert!(names.contains(word), "{}: nothing is called {word}", guide.slug);
                }
            }
        }
    }

    #[test]
    fn every_code_of_analytics_has_a_guide() {
        let page = pages().iter().find(|page| page.about.name == "analytics.getVerifications").unwrap();
        assert_eq!(guides_about(page.about.name).count(), 1);
        for code in page.about.errors {
            assert_eq!(guides_about(code.specific()).count(), 1, "{code:?}");
        }
    }

    #[test]
    fn parts_are_cut_at_headings_and_never_within_code() {
        let guide = Guide::of((
            "x",
            "---\ntitle: X\nsummary: About x.\n---\n\n## One\n\na\n\n```sh\n## no\n```\n### Two `b`\nc\n",
        ));
        let part = |heading: &str, text: &str| Part { heading: heading.to_owned(), text: text.to_owned() };
        assert_eq!(guide.parts(""), [part("One", "a\n\n```sh\n## no\n```"), part("Two `b`", "c")]);
        assert_eq!((guide.title, guide.summary, &*anchor("Two `b`: c?")), ("X", "About x.", "two-b-c"));
    }
}
