//! The routes: one per operation of the catalogue, and the service paths.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::{Extension, State};
use axum::routing::{get, post};
use bytes::Bytes;
use http::StatusCode;
use keyrack_core::catalogue::{Operation, Visitor};
use keyrack_core::each;
use keyrack_core::error::{Code, Error};
use keyrack_core::keyrack::Keyrack;

use keyrack_core::ids::RequestId;

use crate::envelope::Answer;
use crate::{docs, envelope, health, openapi, operations, problem};

/// What the HTTP API needs to know besides the Keyrack it serves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where clients reach the server, without a trailing slash.
    pub public_url: String,
    /// Bytes that a body may have.
    pub max_body_bytes: usize,
}

impl Settings {
    /// Where the documentation is, without a trailing slash.
    pub fn docs(&self) -> String {
        format!("{}/docs", self.public_url)
    }
}

/// What all routes share.
pub(crate) struct Shared {
    pub(crate) keyrack: Keyrack,
    pub(crate) docs: String,
    pub(crate) max_body_bytes: usize,
    pub(crate) public_url: String,
    pub(crate) pages: OnceLock<docs::Pages>,
    openapi: OnceLock<Bytes>,
}

impl Shared {
    pub(crate) fn new(keyrack: Keyrack, settings: Settings) -> Self {
        Shared {
            keyrack,
            docs: settings.docs(),
            max_body_bytes: settings.max_body_bytes,
            public_url: settings.public_url,
            pages: OnceLock::new(),
            openapi: OnceLock::new(),
        }
    }
}

/// All routes, with answers in the envelope for unknown paths and methods.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let mut routes = Routes(Router::new());
    each(&mut routes);
    let routes = docs::ROUTES.into_iter().fold(routes.0, |routes, path| routes.route(path, get(docs::page)));
    routes
        .route("/v2/liveness", get(health::liveness))
        .route("/healthz", get(health::health))
        .route("/readyz", get(health::ready))
        .route("/openapi.json", get(document))
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .with_state(shared)
}

/// Builds a route per operation.
struct Routes(Router<Arc<Shared>>);

impl Visitor for Routes {
    fn operation<O: Operation>(&mut self) {
        let path = format!("/v2/{}", O::ABOUT.name);
        self.0 = std::mem::take(&mut self.0).route(&path, post(operations::call::<O>));
    }
}

async fn document(State(shared): State<Arc<Shared>>) -> Answer {
    let document = shared.openapi.get_or_init(|| openapi::document(&shared.public_url).to_string().into());
    envelope::json(StatusCode::OK, document.clone())
}

/// 404 for a path at which there is nothing.
pub(crate) async fn unknown_path(
    State(shared): State<Arc<Shared>>,
    Extension(id): Extension<RequestId>,
) -> Answer {
    let error = Error::new(
        Code::RouteNotFound,
        "There is nothing at this path. Operations are at `/v2/<namespace>.<operation>`; `/openapi.json` lists them.",
    );
    problem::response(&id, &shared.docs, &error)
}

async fn unknown_method(State(shared): State<Arc<Shared>>, Extension(id): Extension<RequestId>) -> Answer {
    let error = Error::new(
        Code::MethodNotAllowed,
        "This path does not take that method; the `Allow` header names those it takes. Operations are POST requests.",
    );
    problem::response(&id, &shared.docs, &error)
}
