//! MCP over streamable HTTP, as routes for the listener that serves the API.
//!
//! Stateless, with plain JSON answers: every request stands for itself, any node can answer it, and a
//! restart of the server is nothing that a client could notice. Authentication happens here, before the
//! body is read and before rmcp sees the request; the credential goes no further.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{self, Body, Bytes, HttpBody as _};
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HOST, X_CONTENT_TYPE_OPTIONS};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, post};
use axum::{Extension, Json, Router};
use http_body_util::{BodyDataStream, LengthLimitError, Limited};
use keyrack_core::caller::ClientAddress;
use keyrack_core::large_bodies::{LARGE, Room};
use keyrack_core::{Caller, Code, Error, Keyrack};
use rmcp::model::ErrorCode;
use rmcp::transport::streamable_http_server::session::SessionManager;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::caller::{HOW_TO_SEND, NoCredential, origin, take_credential};
use crate::catalogue::{Catalogue, Offer};
use crate::gate::{self, Refusal};
use crate::refusal::refuse;
use crate::service::{KeyrackMcp, Policy};
use crate::sessions::{Sessions, guard};
use crate::view::{View, is_visible};
use crate::wishes::Wishes;
use crate::workers::{IsLarge, off_the_workers};

/// Where MCP is, each also with `/` at its end: Unkey's older and newer path are the same to us, and the others say a
/// wish. Exact paths, so that nothing below them is served by accident.
const PATHS: [&str; 8] = [
    "/mcp",
    "/mcp/v1",
    "/mcp/v2",
    "/mcp/ratelimits",
    "/mcp/readonly",
    "/mcp/compact",
    "/mcp/x/{toolsets}",
    "/mcp/x/{toolsets}/readonly",
];
const MAX_BODY_BYTES: usize = 1024 * 1024;
/// Room that a message takes for each of its bytes: it is read into trees of values, twice over.
const ROOM_PER_BYTE: usize = 4;
/// How long a body may take to arrive.
const BODY_DEADLINE: Duration = Duration::from_secs(30);
/// Where clients look for an authorization server, with any path behind it.
const OAUTH_DOCUMENTS: [&str; 3] =
    ["oauth-authorization-server", "oauth-protected-resource", "openid-configuration"];
const NO_OAUTH: &str = "Keyrack takes root keys, not OAuth; pass --header MCP-UNKEY-BEARER-AUTH:<root key>";

/// What an operator decides about MCP over HTTP.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// Host names, with or without port, under which the server is reached besides the loopback names.
    pub public_hosts: Vec<String>,
    /// Whether the server may be reached under any literal address: true where it does not only listen on
    /// loopback. A browser can be tricked with names, not with addresses.
    pub literal_addresses: bool,
    /// What tools do and who sees which.
    pub policy: Policy,
    /// Bytes that a body may have; more than a mebibyte is never taken.
    pub max_body_bytes: usize,
    /// Whether clients of the older protocol get sessions, in which their users can be asked by forms. A session ends
    /// with the process.
    pub sessions: bool,
    /// Ends streams that stay open, in sessions. Calls in flight go on.
    pub shutdown: CancellationToken,
}

/// The routes of MCP: `/mcp` and its older spellings, and what keeps clients from trying OAuth.
///
/// Without sessions no request here is longer than a call, so a listener that stops has nothing to tell them: it waits
/// for those in flight.
pub fn router(keyrack: Keyrack, catalogue: Arc<Catalogue>, settings: HttpSettings) -> Router {
    let mcp = KeyrackMcp::for_http(keyrack.clone(), catalogue.clone(), settings.policy.clone());
    let views = Views { catalogue: catalogue.clone(), ceiling: settings.policy.ceiling.clone() };
    let literal_addresses = settings.literal_addresses;
    let largest = settings.max_body_bytes.min(MAX_BODY_BYTES);
    let bodies = Bodies { keyrack: keyrack.clone(), catalogue, largest };
    let make = move || Ok(mcp.clone());
    let mut routes = if settings.sessions {
        let sessions = Sessions::until(settings.shutdown.clone());
        let service = StreamableHttpService::new(make, sessions.manager(), transport(settings));
        at_paths(service).route_layer(middleware::from_fn_with_state(sessions, guard))
    } else {
        let never = Arc::new(NeverSessionManager::default());
        at_paths(StreamableHttpService::new(make, never, transport(settings)))
    };
    routes = routes.route_layer(middleware::from_fn_with_state(bodies, look_at_message));
    routes = routes.route_layer(middleware::from_fn_with_state(views, read_wishes));
    routes = routes.route_layer(middleware::from_fn_with_state(keyrack, authenticate));
    routes = routes.route_layer(middleware::map_response(as_json_rpc));
    if literal_addresses {
        routes = routes.route_layer(middleware::map_request(name_literal_address));
    }
    routes = routes.route("/register", post(register));
    for document in OAUTH_DOCUMENTS {
        routes = routes
            .route(&format!("/.well-known/{document}"), any(no_such_document))
            .route(&format!("/.well-known/{document}/{{*resource}}"), any(no_such_document))
            .route(&format!("/mcp/.well-known/{document}"), any(no_such_document));
    }
    routes.route_layer(middleware::map_response(keep_nowhere))
}

/// The routes of the service, with and without a slash at their end.
fn at_paths<M: SessionManager>(service: StreamableHttpService<KeyrackMcp, M>) -> Router {
    PATHS.into_iter().fold(Router::new(), |routes, path| {
        routes.route_service(path, service.clone()).route_service(&format!("{path}/"), service.clone())
    })
}

/// Answers hold secrets and what is true at one moment: nobody between keeps them, nobody guesses what they are.
async fn keep_nowhere(mut response: Response) -> Response {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn transport(settings: HttpSettings) -> StreamableHttpServerConfig {
    let loopback = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut origins = ["http://localhost:*", "http://127.0.0.1:*", "http://[::1]:*"].map(str::to_owned).to_vec();
    for host in &settings.public_hosts {
        let port = if has_port(host) { "" } else { ":*" };
        origins.extend(["https", "http"].map(|scheme| format!("{scheme}://{host}{port}")));
    }
    StreamableHttpServerConfig::default()
        .with_legacy_session_mode(settings.sessions)
        .with_json_response(true)
        .with_allowed_hosts(loopback.into_iter().chain(settings.public_hosts))
        .with_allowed_origins(origins)
        .enforce_origin_validation()
        .with_max_request_body_bytes(MAX_BODY_BYTES)
}

fn has_port(host: &str) -> bool {
    host.parse::<Authority>().is_ok_and(|authority| authority.port().is_some())
}

/// rmcp knows the names of its hosts one by one; a literal address is as good as the first of them.
async fn name_literal_address(mut request: Request) -> Request {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let authority = host.and_then(|host| host.parse::<Authority>().ok());
    let is_literal = authority.is_some_and(|authority| {
        authority.host().trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok()
    });
    if is_literal {
        request.headers_mut().insert(HOST, HeaderValue::from_static("localhost"));
    }
    request
}

/// Finds the caller, hands it on in the request's extensions, and takes the credential away.
async fn authenticate(State(keyrack): State<Keyrack>, mut request: Request, next: Next) -> Response {
    let credential = match take_credential(request.headers_mut()) {
        Ok(credential) => credential,
        Err(NoCredential::Missing) => {
            let error = Error::new(Code::CredentialMissing, format!("No root key was sent. {HOW_TO_SEND}"));
            let address = request.extensions().get::<ClientAddress>().and_then(|address| address.0);
            keyrack.refused_credential("mcp", address, None, &error);
            return refuse(StatusCode::UNAUTHORIZED, error.detail(), REALM);
        }
        Err(NoCredential::Contradicting) => {
            let message = "Two different root keys were sent in the headers of one request. Send one.";
            return refuse(StatusCode::BAD_REQUEST, message, None);
        }
    };
    let origin = |request: &Request| origin(request.headers(), request.extensions().get::<ClientAddress>());
    let address = origin(&request).address;
    let is_discovery = request.headers().get(METHOD_OF_MESSAGE).is_some_and(|method| method == DISCOVERY);
    let token = credential.token.expose();
    let mut found = keyrack.authenticate(token, origin(&request));
    if found.as_ref().is_err_and(|error| error.code() == Code::RootKeyNotFound) {
        // Another process may have made it a moment ago.
        let again = origin(&request);
        if keyrack.learn_root_key(token).await {
            found = keyrack.authenticate(token, again);
        }
    }
    match found {
        Ok(caller) => {
            request.extensions_mut().insert::<Arc<Caller>>(Arc::new(caller));
            next.run(request).await
        }
        Err(error) => {
            keyrack.refused_credential("mcp", address, Some(credential.token.expose()), &error);
            rejected(&error, credential.is_bearer, is_discovery, credential.token.expose())
        }
    }
}

/// What requests may wish.
#[derive(Clone)]
struct Views {
    catalogue: Arc<Catalogue>,
    ceiling: Arc<Wishes>,
}

/// Reads what a request wishes to be shown, and hands the view on in its extensions.
async fn read_wishes(State(views): State<Views>, mut request: Request, next: Next) -> Response {
    let wishes = Wishes::of_request(request.uri(), request.headers(), &views.catalogue);
    match wishes.and_then(|wishes| View::new(views.ceiling, Arc::new(wishes))) {
        Ok(view) => {
            request.extensions_mut().insert(view);
            next.run(request).await
        }
        Err(what) => {
            let message = format!(
                "What this connection wishes to see cannot be understood: {what}. Nothing is shown, because ignoring it \
                 could show or allow more than was meant."
            );
            refuse(StatusCode::BAD_REQUEST, &views.catalogue.in_tool_names(&message), None)
        }
    }
}

/// Who may send how much.
#[derive(Clone)]
struct Bodies {
    keyrack: Keyrack,
    catalogue: Arc<Catalogue>,
    /// Bytes of the largest body.
    largest: usize,
}

impl Bodies {
    /// Bytes that the body of this caller may have. Who holds nothing that a tool asks for has little to say.
    fn largest_of(&self, caller: &Caller) -> usize {
        let is_admitted =
            |offer: &Arc<Offer>| offer.about.rule.asks() && is_visible(offer.about, caller.principal());
        if self.catalogue.offers().iter().any(is_admitted) { self.largest } else { self.largest.min(LARGE) }
    }

    /// Takes the body of a caller, or answers why not.
    async fn take(&self, caller: &Caller, sent: Body) -> Result<(Vec<u8>, Option<Room>), Response> {
        let largest = self.largest_of(caller);
        let whole = sent.size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(largest);
        let too_large = || {
            let message = format!("The body is larger than the {largest} bytes that are allowed.");
            refuse(StatusCode::PAYLOAD_TOO_LARGE, &message, None)
        };
        if whole > largest {
            return Err(too_large());
        }
        let pieces = BodyDataStream::new(Limited::new(sent, largest));
        let taking = self.keyrack.bodies().take(caller.workspace_id(), whole * ROOM_PER_BYTE, pieces);
        match tokio::time::timeout(BODY_DEADLINE, taking).await {
            Ok(Ok(body)) => Ok(body),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
            Ok(Err(_)) => {
                let message = "The body ended before it was complete. Send it again.";
                Err(refuse(StatusCode::BAD_REQUEST, message, None))
            }
            Err(_) => {
                let message =
                    format!("The body did not arrive within {} s. Send it again.", BODY_DEADLINE.as_secs());
                Err(refuse(StatusCode::REQUEST_TIMEOUT, &message, None))
            }
        }
    }
}

/// Reads the body, answers what is no message, and hands on what the library can read.
async fn look_at_message(
    State(bodies): State<Bodies>,
    Extension(caller): Extension<Arc<Caller>>,
    request: Request,
    next: Next,
) -> Response {
    if request.method() != Method::POST {
        return next.run(request).await;
    }
    let (mut parts, sent) = request.into_parts();
    if !accepts_json(&parts.headers) {
        let message = "Answers are `application/json`; send an `Accept` that takes it, or none.";
        return refuse(StatusCode::NOT_ACCEPTABLE, message, None);
    }
    let (body, room) = match bodies.take(&caller, sent).await {
        Ok(taken) => taken,
        Err(refusal) => return refusal,
    };
    // A form of a web page cannot send this type, so nobody's browser is made to call tools.
    if !is_json(parts.headers.get(CONTENT_TYPE)) {
        let message = "Send the message with `Content-Type: application/json`.";
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, message, None);
    }
    // The library wants to read both types, and answers with the first only.
    parts.headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
    if body.len() <= LARGE {
        return answer_message(parts, body, next).await;
    }
    parts.extensions.insert(IsLarge);
    let answer = off_the_workers(async move {
        let answer = answer_message(parts, body, next).await;
        drop(room);
        answer
    });
    answer
        .await
        .unwrap_or_else(|| refuse(StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong on our side.", None))
}

async fn answer_message(parts: Parts, body: Vec<u8>, next: Next) -> Response {
    if let Err(refusal) = gate::read(&body) {
        let status = if refusal.is_of_a_request() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
        return (status, Json(refusal.to_json())).into_response();
    }
    let (meant, skipped) = match gate::meant(&body) {
        Cow::Owned(meant) => (Some(meant), 0),
        // A mark before it is all that may go.
        Cow::Borrowed(meant) => (None, body.len() - meant.len()),
    };
    let message = meant.map_or_else(|| Bytes::from(body).slice(skipped..), Bytes::from);
    next.run(Request::from_parts(parts, message.into())).await
}

/// Whether an `Accept` takes JSON, or there is none.
fn accepts_json(headers: &HeaderMap) -> bool {
    let mut accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).peekable();
    let takes = |range: &str| {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let is_excluded = |part: &str| {
            let weight = part.split_once('=').filter(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
            weight.is_some_and(|(_, weight)| weight.trim().parse() == Ok(0.0))
        };
        matches!(kind.as_str(), "application/json" | "application/*" | "*/*") && !parts.any(is_excluded)
    };
    accepted.peek().is_none() || accepted.flat_map(|value| value.split(',')).any(takes)
}

fn is_json(content_type: Option<&HeaderValue>) -> bool {
    let kind = content_type.and_then(|value| value.to_str().ok()).and_then(|value| value.split(';').next());
    kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// Gives refusals of the library, which are plain texts or have no id, the form of JSON-RPC.
async fn as_json_rpc(response: Response) -> Response {
    if response.status().as_u16() < 400 {
        return response;
    }
    let (mut parts, sent) = response.into_parts();
    let Ok(body) = body::to_bytes(sent, MAX_BODY_BYTES).await else {
        return refuse(parts.status, "The request was refused.", None);
    };
    let read = serde_json::from_slice::<Value>(&body).ok().filter(|value| value["error"].is_object());
    let answer = match read {
        Some(answer) if answer.get("id").is_some() => return Response::from_parts(parts, body.into()),
        Some(mut answer) => {
            answer["id"] = Value::Null;
            answer
        }
        None => Refusal::without_id(ErrorCode::INVALID_REQUEST, String::from_utf8_lossy(&body)).to_json(),
    };
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Response::from_parts(parts, answer.to_string().into())
}

const REALM: Option<&str> = Some(r#"Bearer realm="keyrack""#);
const INVALID_TOKEN: Option<&str> = Some(r#"Bearer realm="keyrack", error="invalid_token""#);

/// The header in which clients of the newer protocol repeat the method of a message.
const METHOD_OF_MESSAGE: &str = "mcp-method";
/// The first message of a client that may speak either protocol.
const DISCOVERY: &str = "server/discover";

/// The refusal of a root key. A client that may speak either protocol shows nothing of a 403 to its discovery; a 400
/// makes it begin again with the older protocol, whose 403 it shows.
fn rejected(error: &Error, is_bearer: bool, is_discovery: bool, token: &str) -> Response {
    let mut message = format!("{} {HOW_TO_SEND}", error.detail());
    if token.contains("${") {
        message.push_str(" What arrived is the name of a variable: the client did not put its value there.");
    }
    match (is_bearer, is_discovery) {
        (true, _) => refuse(StatusCode::UNAUTHORIZED, &message, INVALID_TOKEN),
        (false, true) => refuse(StatusCode::BAD_REQUEST, &message, None),
        (false, false) => refuse(StatusCode::FORBIDDEN, &message, None),
    }
}

/// Dynamic registration of OAuth clients, which clients try after a 401 and whose answer they print.
async fn register() -> (StatusCode, Json<Value>) {
    let refusal = json!({ "error": "invalid_client_metadata", "error_description": NO_OAUTH });
    (StatusCode::BAD_REQUEST, Json(refusal))
}

async fn no_such_document() -> (StatusCode, Json<Value>) {
    (StatusCode::NOT_FOUND, Json(json!({ "error": "not_found", "error_description": NO_OAUTH })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_takes_json_is_accepted() {
        for (accept, expected) in [
            (&[][..], true),
            (&["application/json"], true),
            (&["*/*"], true),
            (&["text/html, */*;q=0.1"], true),
            (&["text/event-stream", "Application/JSON; q=0.5"], true),
            (&["application/*"], true),
            (&["text/event-stream"], false),
            (&["application/json;q=0"], false),
            (&["application/json; q=0.0, text/html"], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in accept {
                headers.append(ACCEPT, HeaderValue::from_static(value));
            }
            assert_eq!(accepts_json(&headers), expected, "{accept:?}");
        }
    }

    #[test]
    fn public_hosts_are_allowed_as_hosts_and_as_origins() {
        let settings = HttpSettings {
            public_hosts: vec!["keys.example".to_owned(), "other.example:8443".to_owned()],
            literal_addresses: false,
            policy: Policy::default(),
            max_body_bytes: MAX_BODY_BYTES,
            sessions: false,
            shutdown: CancellationToken::new(),
        };
        let config = transport(settings);
        assert!(config.allowed_hosts.contains(&"keys.example".to_owned()));
        assert!(config.allowed_hosts.contains(&"localhost".to_owned()));
        assert!(config.allowed_origins.contains(&"https://keys.example:*".to_owned()));
        assert!(config.allowed_origins.contains(&"https://other.example:8443".to_owned()));
        assert!(!config.legacy_session_mode && config.json_response);
    }
}
