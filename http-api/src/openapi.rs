//! The OpenAPI 3.1 document, generated from the catalogue.
//!
//! Beside the standard members each operation has `x-keyrack-permissions`: the permission rule as
//! `{check, onDenied, conditional, operator?}` with expressions as texts, `{any: […]}` and `{all: […]}`.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::StatusCode;
use keyrack_core::authorization::{OnDenied, Who};
use keyrack_core::catalogue::{About, Operation, Visitor, body_schema, request_schema};
use keyrack_core::each;
use keyrack_core::error::Code;
use keyrack_core::reply::Pagination;
use keyrack_core::schema::response_schema;
use serde_json::{Map, Value, json};

use crate::envelope;
use crate::paths::path_of;
use crate::state::Shared;

/// The document of this server, which clients reach at `public_url`.
pub fn document(public_url: &str) -> Value {
    let mut paths = Paths(Map::new());
    each(&mut paths);
    let mut paths = paths.0;
    paths.insert("/v2/liveness".to_owned(), liveness());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Keyrack",
            "description": "API-key management that you run yourself: keys, credits, rate limits, permissions, audit.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": public_url }],
        "security": [{ "rootKey": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "rootKey": { "type": "http", "scheme": "bearer", "description": "A root key." },
            },
            "schemas": { "Meta": meta(), "Pagination": response_schema::<Pagination>(), "Error": error() },
        },
    })
}

/// The route of the document, which is made when it is first asked for.
pub(crate) fn routes(public_url: &str) -> Router<Arc<Shared>> {
    let made: Arc<OnceLock<Bytes>> = Arc::default();
    let public_url = public_url.to_owned();
    let answer = async move || {
        let document = made.get_or_init(|| document(&public_url).to_string().into());
        envelope::json(StatusCode::OK, document.clone())
    };
    Router::new().route("/openapi.json", get(answer))
}

struct Paths(Map<String, Value>);

impl Visitor for Paths {
    fn operation<O: Operation>(&mut self) {
        let about = O::ABOUT;
        let mut responses = Map::new();
        responses.insert("200".to_owned(), success(&about, response_schema::<O::Response>()));
        for status in statuses(&about) {
            let kind = if status == 429 { "application/problem+json" } else { "application/json" };
            let content = json!({ kind: { "schema": { "$ref": "#/components/schemas/Error" } } });
            responses.insert(status.to_string(), json!({ "description": title(status), "content": content }));
        }
        let operation = json!({
            "operationId": about.name,
            "tags": [about.namespace()],
            "summary": about.title,
            "description": format!("{}\n\n{}", about.summary, about.description),
            "requestBody": {
                "required": !request_schema::<O>().has_no_members(),
                "content": { "application/json": { "schema": body_schema::<O>().as_value() } },
            },
            "responses": responses,
            "x-keyrack-permissions": permissions(&about),
        });
        self.0.insert(path_of(&about), json!({ "post": operation }));
    }
}

fn success(about: &About, data: Value) -> Value {
    let mut properties = json!({ "meta": { "$ref": "#/components/schemas/Meta" } });
    let mut required = vec!["meta"];
    if about.has_data {
        properties["data"] = data;
        required.push("data");
    }
    if about.list.is_some() {
        properties["pagination"] = json!({ "$ref": "#/components/schemas/Pagination" });
        required.push("pagination");
    }
    let schema = json!({ "type": "object", "properties": properties, "required": required });
    json!({ "description": "It worked.", "content": { "application/json": { "schema": schema } } })
}

/// The statuses that an operation may answer besides 200.
fn statuses(about: &About) -> Vec<u16> {
    let codes = about.codes().into_iter().chain(About::COMMON_CODES);
    let mut statuses: Vec<u16> = codes.map(Code::status).collect();
    statuses.sort_unstable();
    statuses.dedup();
    statuses
}

fn title(status: u16) -> &'static str {
    Code::ALL.iter().find(|code| code.status() == status).map_or("An error.", |code| code.title())
}

fn permissions(about: &About) -> Value {
    let conditional: Vec<Value> = about
        .rule
        .conditional
        .iter()
        .map(|rule| json!({ "when": rule.when, "check": rule.check, "onDenied": denied(rule.on_denied) }))
        .collect();
    let mut permissions =
        json!({ "check": about.rule.main, "onDenied": denied(about.rule.on_denied), "conditional": conditional });
    if about.rule.who == Who::Operators {
        permissions["operator"] = true.into();
    }
    permissions
}

fn denied(on_denied: OnDenied) -> Value {
    let code = match on_denied {
        OnDenied::Forbidden => Code::InsufficientPermissions,
        OnDenied::Masked(code) => code,
        OnDenied::Verdict => return json!({ "status": 200 }),
    };
    json!({ "status": code.status(), "code": format!("err:{}", code.path().replace('/', ":")) })
}

fn liveness() -> Value {
    let schema = json!({
        "type": "object",
        "properties": {
            "meta": { "$ref": "#/components/schemas/Meta" },
            "data": {
                "type": "object",
                "properties": { "message": { "type": "string" } },
                "required": ["message"],
            },
        },
        "required": ["meta", "data"],
    });
    json!({
        "get": {
            "operationId": "liveness",
            "tags": ["service"],
            "summary": "Whether the server is up",
            "security": [],
            "responses": {
                "200": { "description": "It is.", "content": { "application/json": { "schema": schema } } },
            },
        },
    })
}

fn meta() -> Value {
    json!({
        "type": "object",
        "properties": { "requestId": { "type": "string", "description": "Name it when you ask for help." } },
        "required": ["requestId"],
        "additionalProperties": false,
    })
}

fn error() -> Value {
    json!({
        "type": "object",
        "properties": {
            "meta": { "$ref": "#/components/schemas/Meta" },
            "error": {
                "type": "object",
                "properties": {
                    "title": { "type": "string", "description": "Fixed per code." },
                    "detail": { "type": "string", "description": "What was wrong and what to do." },
                    "status": { "type": "integer", "description": "The HTTP status." },
                    "type": { "type": "string", "description": "Address of the code's page; match its last three segments." },
                    "errors": {
                        "type": "array",
                        "description": "The faults of the request, on 400, 408 and 413.",
                        "items": {
                            "type": "object",
                            "properties": {
                                "location": { "type": "string", "description": "Such as body.ratelimits[0].limit." },
                                "message": { "type": "string" },
                                "fix": { "type": "string" },
                            },
                            "required": ["location", "message"],
                        },
                    },
                },
                "required": ["title", "detail", "status", "type"],
            },
        },
        "required": ["meta", "error"],
    })
}
