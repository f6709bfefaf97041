//! `/claim/{claim}`: the page on which a one-time link shows the text of a key.
//!
//! Programs that show previews of links fetch them, so GET reveals nothing and changes nothing: it says what the link is
//! about, and has a button. POST shows the text, once. The page is a whole document without scripts and without anything
//! from elsewhere, that nobody keeps, indexes or frames, and that sends its address to nobody. The address is a secret until
//! the link was opened: logs, metrics and traces have the route in its place.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, State};
use axum::routing::any;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY, RETRY_AFTER,
    USER_AGENT, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri};
use http_body_util::Full;
use keyrack_core::Error;
use keyrack_core::calendar::UnixMs;
use keyrack_core::caller::{ClientAddress, Origin, Via};
use keyrack_core::claims::{self, Behind, Described};
use keyrack_core::ids::RequestId;
use keyrack_core::keys::secret::Secret;
use keyrack_core::printable;

use crate::docs::escaped;
use crate::envelope::Answer;
use crate::problem;
use crate::state::Shared;

/// Where the page is.
const PATH: &str = "/claim/{claim}";

/// Besides the page itself and its own style, its one button.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

const STYLE: &str = "\
:root{color-scheme:light dark;--text:#1a1a1a;--quiet:#5c5c5c;--ground:#fff;--soft:#f3f3f1;--line:#ddd;--link:#0b57a4}\
@media(prefers-color-scheme:dark){:root{--text:#e6e6e3;--quiet:#a0a09c;--ground:#161616;--soft:#222;--line:#3a3a3a;\
--link:#8ab8f0}}\
body{margin:0 auto;max-width:36rem;padding:1rem;font:16px/1.55 system-ui,sans-serif;color:var(--text);\
background:var(--ground);overflow-wrap:anywhere}\
h1{line-height:1.2}dt{color:var(--quiet);font-size:.85rem}dd{margin:0 0 .6rem}\
button{font:inherit;padding:.6rem 1rem;border:1px solid var(--link);border-radius:6px;background:var(--link);\
color:var(--ground);cursor:pointer}\
code{font:.9em ui-monospace,monospace}\
pre{background:var(--soft);border:1px solid var(--line);border-radius:6px;padding:.8rem;white-space:pre-wrap;\
user-select:all;-webkit-user-select:all}";

/// The route of the page.
pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new().route(PATH, any(answer))
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    Extension(id): Extension<RequestId>,
    Extension(ClientAddress(address)): Extension<ClientAddress>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Answer {
    let token = uri.path().rsplit('/').next().unwrap_or_default();
    let page = match method {
        Method::GET => claims::look(&shared.keyrack, token).await.map(offered),
        Method::POST => {
            let client = headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
            let origin = Origin::new(Via::Http, address, id).of_client(client);
            claims::open(&shared.keyrack, token, &origin).await.map(opened)
        }
        _ => {
            let told = "<p>This page is opened with GET, and shows the key once with POST.</p>";
            let mut answer = Page::new(StatusCode::METHOD_NOT_ALLOWED, "Not like this", told).answer();
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, POST"));
            return answer;
        }
    };
    page.map_or_else(|error| failed(&id, &error), Page::answer)
}

/// A page on its way.
struct Page {
    status: StatusCode,
    title: &'static str,
    /// What stands below the title, as HTML.
    body: String,
}

impl Page {
    fn new(status: StatusCode, title: &'static str, body: impl Into<String>) -> Page {
        Page { status, title, body: body.into() }
    }

    fn answer(self) -> Answer {
        let Page { status, title, body } = self;
        let text = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <meta name=\"robots\" content=\"noindex\">\
             <title>{title} · Keyrack</title><style>{STYLE}</style></head>\n\
             <body><main><h1>{title}</h1>{body}</main></body></html>\n"
        );
        let mut answer = Response::new(Full::from(text));
        *answer.status_mut() = status;
        for (name, value) in [
            (CONTENT_TYPE, "text/html; charset=utf-8"),
            (CONTENT_SECURITY_POLICY, POLICY),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (REFERRER_POLICY, "no-referrer"),
            (CACHE_CONTROL, "no-store"),
            (HeaderName::from_static("x-robots-tag"), "noindex"),
        ] {
            answer.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        answer
    }
}

/// The answer to GET.
fn offered(behind: Behind<Described>) -> Page {
    match behind {
        Behind::Nothing => nothing(),
        Behind::Shown(at) => shown_before(at),
        Behind::Waiting(about) => Page::new(
            StatusCode::OK,
            "A key for you",
            format!(
                "<p>This link shows the text of a key, once. Have the place ready where you keep it.</p>{}\
                 <form method=\"post\"><button>Show the key</button></form>\
                 <p>Did you not ask for it? Then close this page: the link is void at {}.</p>",
                facts(&about),
                about.expires_at.rfc3339(),
            ),
        ),
    }
}

/// The answer to POST.
fn opened(behind: Behind<(Described, Secret)>) -> Page {
    match behind {
        Behind::Nothing => nothing(),
        Behind::Shown(at) => shown_before(at),
        Behind::Waiting((about, text)) => Page::new(
            StatusCode::OK,
            "Your key",
            format!(
                "<pre>{}</pre><p>A click on it marks all of it: copy it, and keep it where secrets are kept. It is not shown \
                 again, and this page cannot be loaded again.</p>{}",
                escaped(text.expose()),
                facts(&about),
            ),
        ),
    }
}

fn facts(about: &Described) -> String {
    let kind = if about.is_root_key { "Root key" } else { "Key" };
    let name = about.name.as_deref().map(printable::line);
    let key = match name.filter(|name| !name.trim().is_empty()) {
        Some(name) => format!("{} <code>{}</code>", escaped(&name), escaped(&about.key_id)),
        None => format!("<code>{}</code>", escaped(&about.key_id)),
    };
    format!(
        "<dl><dt>{kind}</dt><dd>{key}</dd><dt>Workspace</dt><dd>{}</dd><dt>Asked for with the root key</dt><dd>{}</dd></dl>",
        escaped(&printable::line(&about.workspace)),
        escaped(&printable::line(&about.issuer)),
    )
}

fn nothing() -> Page {
    Page::new(
        StatusCode::NOT_FOUND,
        "Nothing here",
        "<p>This link never was one, its time is over, or its key is gone. If you still need the key, ask for it to be \
         rerolled: that makes a new text and a new link.</p>",
    )
}

fn shown_before(at: UnixMs) -> Page {
    Page::new(
        StatusCode::GONE,
        "Shown already",
        format!(
            "<p>The key was shown at {}, and is not shown again.</p><p>Was that not you, or is the text lost? Then have the \
             key rerolled with a grace period of 0: its old text is refused from then on, and there is a new link.</p>",
            at.rfc3339(),
        ),
    )
}

/// The page for what went wrong; the log has the cause of what is our fault.
fn failed(id: &RequestId, error: &Error) -> Answer {
    problem::log(id, error);
    let status = StatusCode::from_u16(error.code().status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = format!(
        "<p>{}</p><p>If the page then says that the key was shown already, have it rerolled. Request: <code>{id}</code></p>",
        escaped(error.detail())
    );
    let mut answer = Page::new(status, "Not at this moment", body).answer();
    if let Some(seconds) = error.retry_after_seconds() {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(name: &str) -> Described {
        Described {
            key_id: "key_1".to_owned(),
            name: Some(name.to_owned()),
            is_root_key: false,
            workspace: name.to_owned(),
            issuer: name.to_owned(),
            expires_at: UnixMs::new(1_795_879_500_000),
        }
    }

    #[test]
    fn nothing_that_is_stored_becomes_markup_or_a_line() {
        let hostile = "</dd><script>alert(1)</script>\u{202e}\n\"'&";
        for page in [
            offered(Behind::Waiting(about(hostile))),
            opened(Behind::Waiting((about(hostile), Secret::from_string("<b>sk_1".to_owned())))),
        ] {
            assert!(!page.body.contains("<script") && !page.body.contains("<b>"), "{}", page.body);
            assert!(!page.body.contains(['\u{202e}', '\n']), "{}", page.body);
        }
    }

    #[test]
    fn every_page_has_no_script_loads_nothing_and_is_kept_by_nobody() {
        for page in [
            offered(Behind::Waiting(about("mobile"))),
            offered(Behind::Shown(UnixMs::new(0))),
            offered(Behind::Nothing),
            opened(Behind::Waiting((about("mobile"), Secret::from_string("sk_1".to_owned())))),
        ] {
            for forbidden in ["<script", "src=", "href=", "url(", "onclick"] {
                assert!(!page.body.contains(forbidden), "{forbidden}: {}", page.body);
            }
            let answer = page.answer();
            assert_eq!(answer.headers()[CACHE_CONTROL], "no-store");
            assert_eq!(answer.headers()[REFERRER_POLICY], "no-referrer");
            assert!(answer.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap().starts_with("default-src 'none'"));
        }
    }
}
