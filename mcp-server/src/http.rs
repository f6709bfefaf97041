//! MCP over streamable HTTP, as routes for the listener that serves the API.
//!
//! Stateless, with plain JSON answers: every request stands for itself, any node can answer it, and a
//! restart of the server is nothing that a client could notice. Authentication happens here, before the
//! body is read and before rmcp sees the request; the credential goes no further.

use std::error::Error as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body;
use axum::extract::{Request, State};
use axum::http::header::{HOST, WWW_AUTHENTICATE};
use axum::http::uri::Authority;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, post};
use axum::{Json, Router};
use http_body_util::LengthLimitError;
use keyrack_core::caller::ClientAddress;
use keyrack_core::json::Unfit;
use keyrack_core::{Caller, Error, Keyrack};
use rmcp::model::ErrorCode;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use serde_json::{Value, json};

use crate::caller::{HOW_TO_SEND, NoCredential, origin, take_credential};
use crate::service::KeyrackMcp;

/// Where MCP is: Unkey's older and newer path are the same to us. Exact paths, so that nothing below them
/// is served by accident.
const PATHS: [&str; 6] = ["/mcp", "/mcp/", "/mcp/v1", "/mcp/v1/", "/mcp/v2", "/mcp/v2/"];
const MAX_BODY_BYTES: usize = 1024 * 1024;
/// How long a body may take.
const BODY_LIMIT: Duration = Duration::from_secs(30);
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
    /// Tool calls per root key and minute; 0 is no limit.
    pub calls_per_minute: u32,
}

/// Values that a message may hold: the library reads a message twice over into trees of them.
const MOST_VALUES: usize = 100_000;
/// Levels of a message around the arguments of a tool: itself and its `params`.
const AROUND_ARGUMENTS: usize = 2;

/// The routes of MCP: `/mcp` and its older spellings, and what keeps clients from trying OAuth.
///
/// No request here is longer than a call, so a listener that stops has nothing to tell them: it waits for
/// those in flight.
pub fn router(keyrack: Keyrack, settings: HttpSettings) -> Router {
    let mcp = KeyrackMcp::for_http(keyrack.clone(), settings.calls_per_minute);
    let literal_addresses = settings.literal_addresses;
    let service = StreamableHttpService::new(
        move || Ok(mcp.clone()),
        Arc::new(NeverSessionManager::default()),
        transport(settings),
    );
    let mut routes = Router::new();
    for path in PATHS {
        routes = routes.route_service(path, service.clone());
    }
    routes = routes.route_layer(middleware::from_fn(look_at_body));
    routes = routes.route_layer(middleware::from_fn_with_state(keyrack, authenticate));
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
    routes
}

fn transport(settings: HttpSettings) -> StreamableHttpServerConfig {
    let loopback = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut origins = ["http://localhost:*", "http://127.0.0.1:*", "http://[::1]:*"].map(str::to_owned).to_vec();
    for host in &settings.public_hosts {
        let port = if has_port(host) { "" } else { ":*" };
        origins.extend(["https", "http"].map(|scheme| format!("{scheme}://{host}{port}")));
    }
    StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
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
            return refuse(StatusCode::UNAUTHORIZED, &format!("No root key was sent. {HOW_TO_SEND}"), REALM);
        }
        Err(NoCredential::Contradicting) => {
            let message = "Two different root keys were sent in the headers of one request. Send one.";
            return refuse(StatusCode::BAD_REQUEST, message, None);
        }
    };
    let origin = origin(request.headers(), request.extensions().get::<ClientAddress>());
    match keyrack.authenticate(credential.token.expose(), origin) {
        Ok(caller) => {
            request.extensions_mut().insert::<Arc<Caller>>(Arc::new(caller));
            next.run(request).await
        }
        Err(error) => rejected(&error, credential.is_bearer, credential.token.expose()),
    }
}

/// Reads the body in time, where rmcp would wait for ever, and refuses a message that would cost more to read than a
/// message may. What is no JSON is left to the library.
async fn look_at_body(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let bytes = match tokio::time::timeout(BODY_LIMIT, body::to_bytes(body, MAX_BODY_BYTES)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(error)) if error.source().is_some_and(|cause| cause.is::<LengthLimitError>()) => {
            let message = format!("The body is larger than the {MAX_BODY_BYTES} bytes that are allowed.");
            return refuse(StatusCode::PAYLOAD_TOO_LARGE, &message, None);
        }
        Ok(Err(_)) => {
            let message = "The body ended before it was complete. Send it again.";
            return refuse(StatusCode::BAD_REQUEST, message, None);
        }
        Err(_) => {
            let message = format!("The body did not arrive within {} s. Send it again.", BODY_LIMIT.as_secs());
            return refuse(StatusCode::REQUEST_TIMEOUT, &message, None);
        }
    };
    match keyrack_core::json::look_at(&bytes, AROUND_ARGUMENTS, MOST_VALUES) {
        Err(Unfit::TooMuch(why)) => refuse(StatusCode::BAD_REQUEST, &format!("The message {why}."), None),
        Ok(()) | Err(Unfit::Malformed(_)) => next.run(Request::from_parts(parts, bytes.into())).await,
    }
}

const REALM: Option<&str> = Some(r#"Bearer realm="keyrack""#);
const INVALID_TOKEN: Option<&str> = Some(r#"Bearer realm="keyrack", error="invalid_token""#);

fn rejected(error: &Error, is_bearer: bool, token: &str) -> Response {
    tracing::info!(code = error.code().specific(), "a root key was refused");
    let mut message = format!("{} {HOW_TO_SEND}", error.detail());
    if token.contains("${") {
        message.push_str(" What arrived is the name of a variable: the client did not put its value there.");
    }
    if is_bearer {
        refuse(StatusCode::UNAUTHORIZED, &message, INVALID_TOKEN)
    } else {
        refuse(StatusCode::FORBIDDEN, &message, None)
    }
}

/// A refusal before JSON-RPC begins, in its form all the same: clients print the body.
fn refuse(status: StatusCode, message: &str, challenge: Option<&'static str>) -> Response {
    let error = json!({ "code": ErrorCode::INVALID_REQUEST, "message": message });
    let mut response = (status, Json(json!({ "jsonrpc": "2.0", "id": null, "error": error }))).into_response();
    if let Some(challenge) = challenge {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    response
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
    fn public_hosts_are_allowed_as_hosts_and_as_origins() {
        let settings = HttpSettings {
            public_hosts: vec!["keys.example".to_owned(), "other.example:8443".to_owned()],
            literal_addresses: false,
            calls_per_minute: 0,
        };
        let config = transport(settings);
        assert!(config.allowed_hosts.contains(&"keys.example".to_owned()));
        assert!(config.allowed_hosts.contains(&"localhost".to_owned()));
        assert!(config.allowed_origins.contains(&"https://keys.example:*".to_owned()));
        assert!(config.allowed_origins.contains(&"https://other.example:8443".to_owned()));
        assert!(!config.legacy_session_mode && config.json_response);
    }
}
