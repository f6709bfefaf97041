//! Finding pages by their words.
//!
//! A page is a bag of words with weights: what is in its name weighs most, then its summary, then the rest.
//! Rare words count more than common ones, and a page that has all words of the query beats one that has
//! some of them often. A guide is found by the part of it that fits best. The whole index is a few hundred kilobytes
//! and is made once.

use std::collections::{HashMap, HashSet};

use super::{Guide, OperationPage, anchor, guides, path_of};
use crate::error::Code;

const NAME_WEIGHT: f64 = 8.0;
const SUMMARY_WEIGHT: f64 = 3.0;
const TEXT_WEIGHT: f64 = 1.0;
/// What a word counts that only begins with a word of the query.
const BEGINNING: f64 = 0.4;
/// What stands for the server's address, which nobody knows here; the command line takes it from there.
const ANY_SERVER: &str = "$KEYRACK_URL";
/// Shorter words of a query must match whole.
const SHORTEST_BEGINNING: usize = 3;

/// Who reads a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// Whoever may send every member of a request.
    Anyone,
    /// An assistant, who is not offered some.
    Assistant,
}

/// A page that was found.
#[derive(Debug, Clone)]
pub struct Found {
    /// Where it is on a server; a part of a guide with what leads to it on its page.
    pub path: String,
    /// What it is about.
    pub title: String,
    /// In a sentence.
    pub summary: String,
    /// The rest, without tables.
    pub text: String,
}

/// All pages, ready to be searched.
#[derive(Debug)]
pub struct Index(Vec<Page>);

#[derive(Debug)]
struct Page {
    found: Found,
    /// The text for assistants, where it is another one.
    for_assistants: Option<String>,
    words: HashMap<String, f64>,
}

impl Index {
    /// The pages of operations, of all codes and of all guides.
    pub fn of(operations: &[OperationPage]) -> Self {
        let operations = operations.iter().map(of_operation);
        let codes = Code::ALL.iter().copied().map(of_code);
        Index(operations.chain(codes).chain(guides().iter().flat_map(parts_of)).collect())
    }

    /// The pages that match a query, best first, as they are to this reader.
    pub fn search(&self, query: &str, most: usize, reader: Reader) -> Vec<Found> {
        let pages = self.0.as_slice();
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
        let mut seen = HashSet::new();
        ranked.retain(|(_, page)| seen.insert(page.found.path.split('#').next()));
        ranked.into_iter().take(most).map(|(_, page)| page.for_reader(reader)).collect()
    }

    /// The page at a path, as it is to this reader; guides are there in parts.
    pub fn page(&self, path: &str, reader: Reader) -> Option<Found> {
        self.0.iter().find(|page| page.found.path == path).map(|page| page.for_reader(reader))
    }
}

impl Page {
    fn for_reader(&self, reader: Reader) -> Found {
        let own = self.for_assistants.as_ref().filter(|_| reader == Reader::Assistant);
        Found { text: own.unwrap_or(&self.found.text).clone(), ..self.found.clone() }
    }
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

fn of_operation(page: &OperationPage) -> Page {
    let about = page.about;
    let fields = page.request.iter().chain(&page.response).map(|field| format!("{} {}", field.path, field.text));
    let fields: Vec<String> = fields.collect();
    let found = Found {
        path: page.path(),
        title: format!("{}: {}", about.name, about.title),
        summary: about.summary.to_owned(),
        text: text_for(page, Reader::Anyone),
    };
    let indexed = indexed(found, &fields.join(" "), f64::INFINITY);
    let is_other = !about.assistants.hidden.is_empty();
    Page { for_assistants: is_other.then(|| text_for(page, Reader::Assistant)), ..indexed }
}

/// What a page says after its summary. Of members that a reader is not offered it says just that.
fn text_for(page: &OperationPage, reader: Reader) -> String {
    let about = page.about;
    let hidden = if reader == Reader::Assistant { about.assistants.hidden } else { &[] };
    let names_hidden = |text: &str| hidden.iter().any(|member| text.split(' ').any(|word| word == *member));
    let permissions = page.permissions().into_iter().filter(|(when, _)| !names_hidden(when));
    let permissions = permissions.map(|(when, needed)| match when {
        "" => format!("Needs {needed}."),
        when => format!("If {when}, needs {needed}."),
    });
    let not_offered =
        (!hidden.is_empty()).then(|| format!("Not available to assistants: `{}`.", hidden.join("`, `")));
    let example = page.example().map(|example| format!("Example: {example}"));
    let sentences =
        [about.description.to_owned()].into_iter().chain(permissions).chain(not_offered).chain(example);
    sentences.collect::<Vec<_>>().join(" ").trim().to_owned()
}

fn of_code(code: Code) -> Page {
    let found = Found {
        path: path_of(code),
        title: format!("{} {}: {}", code.status(), code.title(), code.path()),
        summary: code.meaning().to_owned(),
        text: code.remedy().to_owned(),
    };
    indexed(found, "error", f64::INFINITY)
}

/// The parts of a guide, each a page to be found.
fn parts_of(guide: &Guide) -> impl Iterator<Item = Page> {
    guide.parts(ANY_SERVER).into_iter().map(|part| {
        let found = Found {
            path: format!("{}#{}", guide.path(), anchor(&part.heading)),
            title: format!("{}: {}", guide.title, part.heading),
            summary: guide.summary.to_owned(),
            text: part.text,
        };
        // Long texts, such as that of all tables, have every word often.
        indexed(found, "guide", SUMMARY_WEIGHT)
    })
}

/// A page with the words of its parts, of which those of its text weigh so much at most, however often they are there.
fn indexed(found: Found, further: &str, most_of_text: f64) -> Page {
    let mut index: HashMap<String, f64> = HashMap::new();
    let parts = [
        (found.title.as_str(), NAME_WEIGHT),
        (&found.summary, SUMMARY_WEIGHT),
        (&found.text, TEXT_WEIGHT),
        (further, TEXT_WEIGHT / 2.0),
    ];
    for (text, weight) in parts {
        let most = if weight <= TEXT_WEIGHT { most_of_text } else { f64::INFINITY };
        let mut counted: HashMap<String, f64> = HashMap::new();
        for word in words(text) {
            *counted.entry(word).or_insert(0.0) += weight;
        }
        for (word, sum) in counted {
            *index.entry(word).or_insert(0.0) += sum.min(most);
        }
    }
    Page { found, for_assistants: None, words: index }
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
    use crate::operations::index;

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
            ("429 this minute", "/docs/errors/user/too_many_requests/workspace_rate_limited"),
            ("usage per customer last month", "/docs/guides/analytics-sql#usage-per-customer-last-month"),
            ("columns of key_verifications_v1", "/docs/guides/analytics-sql#tables-and-columns"),
        ] {
            let found = index().search(query, 3, Reader::Anyone);
            let paths: Vec<&str> = found.iter().map(|page| page.path.as_str()).collect();
            assert_eq!(paths.first(), Some(&path), "{query}: {paths:?}");
        }
    }

    #[test]
    fn a_query_without_words_or_with_unknown_ones_finds_nothing() {
        let count = |query: &str, most: usize| index().search(query, most, Reader::Anyone).len();
        assert_eq!((count("", 5), count(" ?! ", 5), count("zyzzyva", 5), count("key", 2)), (0, 0, 0, 2));
    }

    #[test]
    fn assistants_read_what_they_are_not_offered_instead_of_what_it_needs() {
        let text = |reader: Reader| index().search("apis.listKeys", 1, reader).remove(0).text;
        let page = |reader: Reader| index().page("/docs/operations/apis.listKeys", reader).unwrap().text;
        assert_eq!(
            [page(Reader::Anyone), page(Reader::Assistant)],
            [text(Reader::Anyone), text(Reader::Assistant)]
        );
        let (anyone, assistant) = (text(Reader::Anyone), text(Reader::Assistant));
        assert!(anyone.contains("If decrypt is true, needs "), "{anyone}");
        assert!(!assistant.contains("decrypt_key"), "{assistant}");
        assert!(
            assistant.contains("Not available to assistants: `decrypt`, `revalidateKeysCache`."),
            "{assistant}"
        );
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
