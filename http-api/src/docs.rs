//! `/docs` and `/reference`: core's documentation as HTML.
//!
//! The pages are whole documents without scripts and without anything from elsewhere, readable on a phone
//! and in the dark. Links are relative, so that they work behind a proxy that adds a path. Every text goes
//! through [`escaped`]; the pages are made once, when the first one is asked for.

mod html;
mod markdown;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::{Extension, State};
use axum::routing::get;
use bytes::Bytes;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response, Uri};
use http_body_util::Full;
use keyrack_core::catalogue::{About, Effect};
use keyrack_core::docs::{self, Field, Guide, OperationPage, guides, guides_about};
use keyrack_core::error::Code;
use keyrack_core::ids::RequestId;
use keyrack_core::operations;

use crate::envelope::Answer;
use crate::problem;
use crate::state::Shared;
use html::{escaped, prose, table};

/// The routes of the pages.
const ROUTES: [&str; 5] = [
    "/docs",
    "/docs/guides/{slug}",
    "/docs/operations/{name}",
    "/docs/errors/{system}/{category}/{specific}",
    "/reference",
];

/// Nothing but the page itself and its own style.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The routes of the pages, which are made when the first one is asked for.
pub(crate) fn routes(public_url: &str) -> Router<Arc<Shared>> {
    let pages: Arc<(String, OnceLock<Pages>)> = Arc::new((public_url.to_owned(), OnceLock::new()));
    let answer = async move |shared: State<Arc<Shared>>, id: Extension<RequestId>, uri: Uri| {
        let (public_url, made) = &*pages;
        page(made.get_or_init(|| Pages::new(public_url)), shared, id, &uri).await
    };
    ROUTES.into_iter().fold(Router::new(), |routes, path| routes.route(path, get(answer.clone())))
}

/// Answers with the page at the request's path.
async fn page(pages: &Pages, shared: State<Arc<Shared>>, id: Extension<RequestId>, uri: &Uri) -> Answer {
    let found = pages.0.get(uri.path());
    let Some(page) = found.cloned() else { return problem::unknown_path(shared, id).await };
    let mut response = Response::new(Full::from(page));
    for (name, value) in [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// All pages by path.
struct Pages(BTreeMap<String, Bytes>);

impl Pages {
    /// The pages of a server that clients reach at `public_url`.
    fn new(public_url: &str) -> Self {
        let mut pages = BTreeMap::new();
        pages.insert("/docs".to_owned(), index());
        pages.insert("/reference".to_owned(), reference(public_url));
        for guide in guides() {
            let text = markdown::rendered(&guide.text(public_url), "../../");
            let summary = html::inline(guide.summary);
            let body = format!("<h1>{}</h1><p class=\"title\">{summary}</p>\n{text}", escaped(guide.title));
            pages.insert(guide.path(), html::document(guide.title, "../../", &body));
        }
        for page in operations::pages() {
            let body = format!("<h1>{}</h1>{}", escaped(page.about.name), operation(page, public_url, "../../"));
            pages.insert(page.path(), html::document(page.about.name, "../../", &body));
        }
        for code in Code::ALL {
            let path = docs::path_of(*code);
            pages.insert(path, html::document(code.specific(), "../../../../", &explained(*code)));
        }
        Pages(pages.into_iter().map(|(path, text)| (path, Bytes::from(text))).collect())
    }
}

fn link_to_operation(root: &str, name: &str) -> String {
    format!("<a href=\"{root}docs/operations/{0}\"><code>{0}</code></a>", escaped(name))
}

fn link_to_code(root: &str, code: Code, text: &str) -> String {
    format!("<a href=\"{root}docs/errors/{}\"><code>{}</code></a>", escaped(code.path()), escaped(text))
}

fn link_to_guide(root: &str, guide: &Guide) -> String {
    format!("<a href=\"{root}docs/guides/{}\">{}</a>", guide.slug, escaped(guide.title))
}

/// The guides that are about an operation or a code; nothing where there are none.
fn guides_of(name: &str, root: &str) -> String {
    let links: Vec<String> = guides_about(name).map(|guide| link_to_guide(root, guide)).collect();
    if links.is_empty() { String::new() } else { format!("<p>Guides: {}</p>", links.join(", ")) }
}

/// The operations by namespace, each namespace under a heading.
fn by_namespace() -> BTreeMap<&'static str, Vec<&'static OperationPage>> {
    let mut namespaces: BTreeMap<&str, Vec<&OperationPage>> = BTreeMap::new();
    for page in operations::pages() {
        namespaces.entry(page.about.namespace()).or_default().push(page);
    }
    namespaces
}

fn index() -> String {
    let mut body = "<h1>Keyrack</h1>".to_owned();
    body.push_str(&prose(
        "Every operation is `POST /v2/<namespace>.<operation>` with a JSON body and a root key as bearer token. \
         Success is 200 with `meta` and `data`; an error has `meta` and `error`, whose `type` is the address of its \
         page. `/openapi.json` describes the same for programs.",
    ));
    body.push_str("<h2 id=\"guides\">Guides</h2>");
    let rows = guides().iter().map(|guide| [link_to_guide("", guide), html::inline(guide.summary)]);
    body.push_str(&table(["guide", "what it is for"], rows));
    for (namespace, pages) in by_namespace() {
        body.push_str(&format!("<h2>{}</h2>", escaped(namespace)));
        let rows =
            pages.iter().map(|page| [link_to_operation("", page.about.name), html::inline(page.about.summary)]);
        body.push_str(&table(["operation", "what it does"], rows));
    }
    body.push_str("<h2 id=\"errors\">Errors</h2>");
    let mut codes = Code::ALL.to_vec();
    codes.sort_by_key(|code| (code.status(), code.path()));
    body.push_str(&codes_table("", &codes));
    html::document("Documentation", "", &body)
}

fn reference(public_url: &str) -> String {
    let mut body = "<h1>Reference</h1><p class=\"contents\">".to_owned();
    for page in operations::pages() {
        body.push_str(&format!("<a href=\"#{0}\">{0}</a> ", escaped(page.about.name)));
    }
    body.push_str("</p>");
    for page in operations::pages() {
        let name = escaped(page.about.name);
        body.push_str(&format!("<section id=\"{name}\"><h2>{}</h2>", link_to_operation("", page.about.name)));
        body.push_str(&operation(page, public_url, ""));
        body.push_str("</section>");
    }
    html::document("Reference", "", &body)
}

/// What there is to say about an operation, below its heading. `root` leads from the page to the server's root.
fn operation(page: &OperationPage, public_url: &str, root: &str) -> String {
    let about = page.about;
    let effect = match about.effect {
        Effect::Read => "Reads.",
        Effect::Write if about.idempotent => "Changes something; doing it twice leaves the same as doing it once.",
        Effect::Write => "Changes something; doing it twice does it twice.",
        Effect::Destroy => "Removes something for good.",
    };
    let mut text = format!("<p class=\"title\">{}</p>", escaped(about.title));
    text.push_str(&prose(about.summary));
    text.push_str(&prose(about.description));
    text.push_str(&format!("<p class=\"effect\">{effect}</p>"));
    text.push_str(&guides_of(about.name, root));
    if let Some(example) = page.example() {
        text.push_str(&format!("<pre><code>{}</code></pre>", escaped(&curl(public_url, about.name, &example))));
        let rows = page
            .placeholders()
            .map(|placeholder| [html::code(placeholder.mark), html::inline(&placeholder.to_string())]);
        text.push_str(&table(["replace", "by"], rows));
    }
    text.push_str("<h3>Request</h3>");
    if let Some(member) = about.bare_body {
        text.push_str(&prose(&format!("The body is the value of `{member}` alone, without an object around it.")));
    }
    text.push_str(&fields(&page.request));
    text.push_str("<h3>Answer (<code>data</code>)</h3>");
    if about.has_data {
        text.push_str(&fields(&page.response));
    } else {
        text.push_str(&prose("There is no `data`, only `meta`."));
    }
    text.push_str("<h3>Permissions</h3>");
    text.push_str(&permissions(page));
    text.push_str("<h3>Errors</h3>");
    let mut codes = page.codes.clone();
    codes.extend(About::COMMON_CODES.iter().filter(|code| !page.codes.contains(code)));
    text.push_str(&codes_table(root, &codes));
    text
}

/// A request that works as it stands, with `ROOT_KEY` in the environment.
fn curl(public_url: &str, name: &str, example: &str) -> String {
    let body = example.replace('\'', "'\\''");
    format!(
        "curl -s {public_url}/v2/{name} \\\n  -H \"Authorization: Bearer $ROOT_KEY\" \\\n  \
         -H \"Content-Type: application/json\" \\\n  -d '{body}'"
    )
}

fn fields(fields: &[Field]) -> String {
    if fields.is_empty() {
        return "<p>No members: <code>{}</code>.</p>".to_owned();
    }
    let rows = fields.iter().map(|field| {
        let star = if field.required { " <b title=\"always there\">*</b>" } else { "" };
        [format!("{}{star}", html::code(&field.path)), escaped(&field.kind), html::inline(&field.text)]
    });
    table(["member (* always there)", "type", "meaning"], rows)
}

fn permissions(page: &OperationPage) -> String {
    let needed = page.permissions();
    if needed.is_empty() {
        return "<p>Any valid root key.</p>".to_owned();
    }
    let items = needed.iter().map(|(when, permissions)| match *when {
        "" => format!("<li>{}</li>", html::code(permissions)),
        when => format!("<li>if {}: {}</li>", escaped(when), html::code(permissions)),
    });
    format!("<ul>{}</ul>", items.collect::<String>())
}

fn codes_table(root: &str, codes: &[Code]) -> String {
    let rows = codes.iter().map(|code| {
        [code.status().to_string(), link_to_code(root, *code, code.path()), html::inline(code.meaning())]
    });
    table(["status", "code", "meaning"], rows)
}

/// The page of a code.
fn explained(code: Code) -> String {
    let mut text = format!("<h1>{}</h1>", escaped(code.specific()));
    text.push_str(&format!("<p class=\"title\">{} {}</p>", code.status(), escaped(code.title())));
    text.push_str(&prose(code.meaning()));
    text.push_str("<h2>What to do</h2>");
    text.push_str(&prose(code.remedy()));
    text.push_str(&guides_of(code.specific(), "../../../../"));
    text.push_str(&format!(
        "<p>Match it by the end of <code>error.type</code>: {}</p>",
        html::code(&format!("/errors/{}", code.path()))
    ));
    let answering: Vec<String> = operations::pages()
        .iter()
        .filter(|page| page.codes.contains(&code))
        .map(|page| link_to_operation("../../../../", page.about.name))
        .collect();
    if !answering.is_empty() {
        text.push_str(&format!("<h2>Who answers it</h2><p>{}</p>", answering.join(", ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_in_an_example_stays_inside_the_shells_quotes() {
        let line = curl("http://h", "a.b", r#"{"name": "it's"}"#);
        assert!(line.ends_with(r#"-d '{"name": "it'\''s"}'"#), "{line}");
    }

    #[test]
    fn every_link_leads_to_a_page() {
        let pages = Pages::new("http://127.0.0.1:8080");
        for (path, page) in &pages.0 {
            let text = std::str::from_utf8(page).unwrap();
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
