//! Finding pages by their words.
//!
//! A page is a bag of words with weights: what is in its name weighs most, then its summary, then the rest.
//! Rare words count more than common ones, and a page that has all words of the query beats one that has
//! some of them often. The whole index is a few hundred kilobytes and is made once.

use std::collections::HashMap;
use std::sync::OnceLock;

use super::{OperationPage, operations, path_of};
use crate::error::Code;

const NAME_WEIGHT: f64 = 8.0;
const SUMMARY_WEIGHT: f64 = 3.0;
const TEXT_WEIGHT: f64 = 1.0;
/// What a word counts that only begins with a word of the query.
const BEGINNING: f64 = 0.4;
/// Shorter words of a query must match whole.
const SHORTEST_BEGINNING: usize = 3;

/// A page that was found.
#[derive(Debug, Clone)]
pub struct Found {
    /// Where it is on a server.
    pub path: String,
    /// What it is about.
    pub title: String,
    /// In a sentence.
    pub summary: String,
    /// The rest, without tables.
    pub text: String,
}

struct Page {
    found: Found,
    words: HashMap<String, f64>,
}

/// The pages that match a query, best first.
pub fn search(query: &str, most: usize) -> Vec<Found> {
    let pages = pages();
    let mut terms = words(query);
    terms.sort_unstable();
    terms.dedup();
    let rarities: Vec<f64> = terms.iter().map(|term| rarity(pages, term)).collect();
    let mut ranked: Vec<(f64, &Page)> = Vec::new();
    for page in pages {
        let scores = terms.iter().zip(&rarities).map(|(term, rarity)| rarity * weight(page, term));
        let (matched, sum) = scores
            .filter(|score| *score > 0.0)
            .fold((0_u32, 0.0), |(matched, sum), score| (matched + 1, sum + score));
        if matched > 0 {
            ranked.push((sum * f64::from(matched), page));
        }
    }
    ranked.sort_by(|(one, page), (other, next)| {
        other.total_cmp(one).then_with(|| page.found.path.cmp(&next.found.path))
    });
    ranked.into_iter().take(most).map(|(_, page)| page.found.clone()).collect()
}

/// How much a word says about a page, less for each further time that it is there.
fn weight(page: &Page, term: &str) -> f64 {
    if let Some(weight) = page.words.get(term) {
        return weight.ln_1p();
    }
    if term.chars().count() < SHORTEST_BEGINNING {
        return 0.0;
    }
    let beginning = page.words.iter().filter(|(word, _)| word.starts_with(term));
    BEGINNING * beginning.map(|(_, weight)| *weight).fold(0.0, f64::max).ln_1p()
}

#[expect(clippy::cast_precision_loss, reason = "there are a few hundred pages")]
fn rarity(pages: &[Page], term: &str) -> f64 {
    let having = pages.iter().filter(|page| weight(page, term) > 0.0).count();
    (1.0 + pages.len() as f64 / (1.0 + having as f64)).ln()
}

fn pages() -> &'static [Page] {
    static PAGES: OnceLock<Vec<Page>> = OnceLock::new();
    PAGES.get_or_init(|| {
        let operations = operations().iter().map(of_operation);
        operations.chain(Code::ALL.iter().copied().map(of_code)).collect()
    })
}

fn of_operation(page: &OperationPage) -> Page {
    let about = page.about;
    let mut text = about.description.to_owned();
    let permissions = page.permissions().into_iter().map(|(when, needed)| match when {
        "" => format!("Needs {needed}."),
        when => format!("If {when}, needs {needed}."),
    });
    for sentence in permissions.chain(page.example().map(|example| format!("Example: {example}"))) {
        text.push(' ');
        text.push_str(&sentence);
    }
    let fields = page.request.iter().chain(&page.response).map(|field| format!("{} {}", field.path, field.text));
    let fields: Vec<String> = fields.collect();
    let found = Found {
        path: page.path(),
        title: format!("{}: {}", about.name, about.title),
        summary: about.summary.to_owned(),
        text: text.trim().to_owned(),
    };
    indexed(found, &fields.join(" "))
}

fn of_code(code: Code) -> Page {
    let found = Found {
        path: path_of(code),
        title: format!("{} {}: {}", code.status(), code.title(), code.path()),
        summary: code.meaning().to_owned(),
        text: code.remedy().to_owned(),
    };
    indexed(found, "error")
}

fn indexed(found: Found, further: &str) -> Page {
    let mut index: HashMap<String, f64> = HashMap::new();
    let parts = [
        (found.title.as_str(), NAME_WEIGHT),
        (&found.summary, SUMMARY_WEIGHT),
        (&found.text, TEXT_WEIGHT),
        (further, TEXT_WEIGHT / 2.0),
    ];
    for (text, weight) in parts {
        for word in words(text) {
            *index.entry(word).or_insert(0.0) += weight;
        }
    }
    Page { found, words: index }
}

/// The words of a text in lower case and without a plural's `s`; `createKey` is two of them.
fn words(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut word = String::new();
    let mut finish = |word: &mut String| {
        let singular = word.strip_suffix('s').filter(|stem| stem.len() > 1 && !stem.ends_with('s'));
        match singular {
            Some(stem) => found.push(stem.to_owned()),
            None if !word.is_empty() => found.push(word.clone()),
            None => {}
        }
        word.clear();
    };
    let mut after_lower = false;
    for letter in text.chars() {
        if !letter.is_alphanumeric() || (letter.is_uppercase() && after_lower) {
            finish(&mut word);
        }
        if letter.is_alphanumeric() {
            word.extend(letter.to_lowercase());
        }
        after_lower = letter.is_lowercase();
    }
    finish(&mut word);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_that_is_meant_comes_first() {
        for (query, path) in [
            ("create a key", "/docs/operations/keys.createKey"),
            ("keys.verifyKey", "/docs/operations/keys.verifyKey"),
            ("verify", "/docs/operations/keys.verifyKey"),
            ("delete api", "/docs/operations/apis.deleteApi"),
            ("create identity", "/docs/operations/identities.createIdentity"),
            ("key_not_found", "/docs/errors/unkey/data/key_not_found"),
            ("insufficient permissions", "/docs/errors/unkey/authorization/insufficient_permissions"),
            ("namespace gone", "/docs/errors/unkey/data/ratelimit_namespace_gone"),
            ("429", "/docs/errors/user/too_many_requests/workspace_rate_limited"),
        ] {
            let found = search(query, 3);
            let paths: Vec<&str> = found.iter().map(|page| page.path.as_str()).collect();
            assert_eq!(paths.first(), Some(&path), "{query}: {paths:?}");
        }
    }

    #[test]
    fn a_query_without_words_or_with_unknown_ones_finds_nothing() {
        assert!(search("", 5).is_empty());
        assert!(search(" ?! ", 5).is_empty());
        assert!(search("zyzzyva", 5).is_empty());
        assert_eq!(search("key", 2).len(), 2);
    }

    #[test]
    fn words_are_split_where_people_read_them() {
        assert_eq!(
            words("keys.createKey, API_not-found: Größe"),
            ["key", "create", "key", "api", "not", "found", "größe"]
        );
        assert_eq!(words("access ids s"), ["access", "id", "s"]);
    }
}
