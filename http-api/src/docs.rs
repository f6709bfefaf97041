//! `/docs` and `/reference`: core's documentation as HTML, the same as Markdown, and `/llms.txt`.
//!
//! The pages are whole documents without scripts and without anything from elsewhere, readable on a phone
//! and in the dark. Links are relative, so that they work behind a proxy that adds a path. Each page has a twin for
//! programs, at its path and `.md`, made of the same blocks ([`page`]). Every text is escaped by the form that it
//! becomes; all are made once, when the first one is asked for.

mod content;
mod html;
mod line;
mod llms;
mod markdown;
mod page;
mod twin;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::{Extension, State};
use axum::routing::get;
use bytes::Bytes;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response, Uri};
use http_body_util::Full;
use keyrack_core::docs::{self, guides};
use keyrack_core::error::Code;
use keyrack_core::ids::RequestId;
use keyrack_core::operations;

use crate::envelope::Answer;
use crate::problem;
use crate::state::Shared;
pub(crate) use line::escaped;
use page::Block;

/// The routes of the pages. Twins of pages with a name are at the same routes.
const ROUTES: [&str; 9] = [
    "/docs",
    "/docs.md",
    "/docs/guides/{slug}",
    "/docs/operations/{name}",
    "/docs/errors/{system}/{category}/{specific}",
    "/reference",
    "/reference.md",
    "/llms.txt",
    "/llms-full.txt",
];

/// Nothing but the page itself and its own style.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const HTML: &str = "text/html; charset=utf-8";
const MARKDOWN: &str = "text/markdown; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";

/// The routes of the pages, which are made when the first one is asked for.
pub(crate) fn routes(public_url: &str) -> Router<Arc<Shared>> {
    let pages: Arc<(String, OnceLock<Pages>)> = Arc::new((public_url.to_owned(), OnceLock::new()));
    let answer = async move |shared: State<Arc<Shared>>, id: Extension<RequestId>, uri: Uri| {
        let (public_url, made) = &*pages;
        answer(made.get_or_init(|| Pages::new(public_url)), shared, id, &uri).await
    };
    ROUTES.into_iter().fold(Router::new(), |routes, path| routes.route(path, get(answer.clone())))
}

/// Answers with the page at the request's path.
async fn answer(pages: &Pages, shared: State<Arc<Shared>>, id: Extension<RequestId>, uri: &Uri) -> Answer {
    let found = pages.0.get(uri.path());
    let Some(page) = found else { return problem::unknown_path(shared, id).await };
    let mut response = Response::new(Full::from(page.text.clone()));
    for (name, value) in [
        (CONTENT_TYPE, page.kind),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// A page as it is sent.
struct Page {
    kind: &'static str,
    text: Bytes,
}

/// All pages by path.
struct Pages(BTreeMap<String, Page>);

impl Pages {
    /// The pages of a server that clients reach at `public_url`.
    fn new(public_url: &str) -> Self {
        let mut pages = Pages(BTreeMap::new());
        let mut twins = BTreeMap::new();
        for (path, title, blocks) in all(public_url) {
            let twin = twin::blocks(&blocks, public_url) + "\n";
            // A link of `/docs/operations/x` goes up two steps to the root.
            let root = "../".repeat(path.matches('/').count() - 1);
            let twin_path = format!("{path}{}", twin::ENDING);
            let body = html::blocks(&blocks, &root);
            let page = html::document(&title, &root, twin_path.trim_start_matches('/'), &body);
            pages.add(path.clone(), HTML, page);
            pages.add(twin_path, MARKDOWN, twin.clone());
            twins.insert(path, twin);
        }
        pages.add("/llms.txt".to_owned(), PLAIN, llms::index(public_url));
        let full = llms::full(|path| twins.get(path).map_or("", |twin| twin.trim_end()));
        pages.add("/llms-full.txt".to_owned(), PLAIN, full);
        pages
    }

    fn add(&mut self, path: String, kind: &'static str, text: String) {
        self.0.insert(path, Page { kind, text: text.into() });
    }
}

/// Every page: its path, its title and what it says.
fn all(public_url: &str) -> Vec<(String, String, Vec<Block>)> {
    let page = |path: String, title: &str, blocks| (path, title.to_owned(), blocks);
    let mut all = vec![
        page("/docs".to_owned(), "Documentation", content::index()),
        page("/reference".to_owned(), "Reference", content::reference(public_url)),
    ];
    all.extend(guides().iter().map(|guide| page(guide.path(), guide.title, content::guide(guide, public_url))));
    let operations = operations::pages().iter();
    all.extend(operations.map(|each| page(each.path(), each.about.name, content::operation(each, public_url))));
    let codes = Code::ALL.iter();
    all.extend(codes.map(|code| page(docs::path_of(*code), code.specific(), content::explained(*code))));
    all
}

#[cfg(test)]
mod tests {
    use pulldown_cmark::{Event, Options, Parser, Tag};

    use super::*;

    const BASE: &str = "https://keys.example.com/base";

    fn text(page: &Page) -> &str {
        std::str::from_utf8(&page.text).unwrap()
    }

    /// What a page of HTML says to who reads it.
    fn words(html: &str) -> Vec<String> {
        let mut words = String::new();
        for part in html.split('<').skip(1) {
            let (tag, text) = part.split_once('>').unwrap();
            let name = tag.trim_start_matches('/').split([' ', '>']).next().unwrap_or_default();
            if !["a", "b", "code"].contains(&name) {
                words.push(' ');
            }
            words.push_str(text);
        }
        let words = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")]
            .into_iter()
            .fold(words, |words, (escape, letter)| words.replace(escape, letter));
        words.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn every_page_has_a_twin_that_says_the_same() {
        let pages = Pages::new(BASE);
        let html: Vec<&String> =
            pages.0.iter().filter(|(_, page)| page.kind == HTML).map(|(path, _)| path).collect();
        assert!(html.len() > 100, "{html:?}");
        for path in html {
            let page = text(&pages.0[path]);
            let (_, main) = page.split_once("<main>").unwrap();
            let twin = &pages.0[&format!("{path}.md")];
            assert_eq!(twin.kind, MARKDOWN);
            let mut read = String::new();
            pulldown_cmark::html::push_html(&mut read, Parser::new_ext(text(twin), Options::ENABLE_TABLES));
            assert_eq!(words(&read), words(main.split_once("</main>").unwrap().0), "{path}");
            let alternate = page.split_once("type=\"text/markdown\" href=\"").unwrap().1;
            let alternate = alternate.split('"').next().unwrap().trim_start_matches("../");
            assert_eq!(format!("/{alternate}"), format!("{path}.md"));
        }
        assert_eq!(pages.0.values().filter(|page| page.kind == MARKDOWN).count() * 2 + 2, pages.0.len());
    }

    #[test]
    fn every_link_of_what_programs_read_is_whole_and_leads_to_a_page() {
        let pages = Pages::new(BASE);
        let mut seen = 0;
        for (path, page) in pages.0.iter().filter(|(_, page)| page.kind != HTML) {
            for event in Parser::new_ext(text(page), Options::ENABLE_TABLES) {
                let Event::Start(Tag::Link { dest_url, .. }) = event else { continue };
                let target = dest_url.strip_prefix(BASE).unwrap_or_else(|| panic!("{path}: {dest_url}"));
                let target = target.split('#').next().unwrap();
                let is_there = pages.0.get(target).is_some_and(|page| page.kind == MARKDOWN);
                assert!(is_there || target == "/openapi.json", "{path}: {dest_url}");
                seen += 1;
            }
        }
        assert!(seen > 1000, "{seen}");
    }

    #[test]
    fn the_index_for_programs_has_every_page_and_nothing_grows_without_bound() {
        let pages = Pages::new(BASE);
        let (index, full) = (text(&pages.0["/llms.txt"]), text(&pages.0["/llms-full.txt"]));
        assert!(index.starts_with("# Keyrack\n\n> ") && full.starts_with("# Keyrack\n\n> "));
        for path in pages.0.keys().filter(|path| path.ends_with(".md") && *path != "/docs.md") {
            assert!(index.contains(&format!("]({BASE}{path}): ")), "{path}");
            if *path != "/reference.md" {
                assert!(full.contains(text(&pages.0[path]).trim_end()), "{path}");
            }
        }
        for line in index.lines() {
            assert!(line.len() < 600, "{line}");
        }
        let largest = |path: &str| match path {
            "/llms.txt" | "/docs" | "/docs.md" => 64 << 10,
            "/llms-full.txt" | "/reference" | "/reference.md" => 1 << 20,
            _ => 96 << 10,
        };
        for (path, page) in &pages.0 {
            assert!(page.text.len() < largest(path), "{path}: {} bytes", page.text.len());
        }
    }

    #[test]
    fn every_link_leads_to_a_page() {
        let pages = Pages::new("http://127.0.0.1:8080");
        for (path, page) in pages.0.iter().filter(|(_, page)| page.kind == HTML) {
            let text = text(page);
            for link in text.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
                if let Some(anchor) = link.strip_prefix('#') {
                    assert!(text.contains(&format!("id=\"{anchor}\"")), "{path}: {link}");
                    continue;
                }
                let mut at: Vec<&str> = path.split('/').collect();
                at.pop();
                for step in link.split('#').next().unwrap().split('/') {
                    if step == ".." {
                        at.pop();
                    } else {
                        at.push(step)
                    }
                }
                let target = at.join("/");
                assert!(pages.0.contains_key(&target) || target == "/openapi.json", "{path}: {link} is {target}");
            }
        }
    }
}
