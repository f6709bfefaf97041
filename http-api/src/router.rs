//! The routes: one per operation of the catalogue, and the service paths.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, State};
use axum::routing::post;
use keyrack_core::catalogue::{Operation, Visitor};
use keyrack_core::each;
use keyrack_core::error::{Code, Error};
use keyrack_core::ids::RequestId;

use crate::envelope::Answer;
use crate::paths::path_of;
use crate::state::Shared;
use crate::{claim, docs, health, openapi, operations, problem};

/// All routes, with answers in the envelope for unknown paths and methods.
pub(crate) fn router(shared: Arc<Shared>, public_url: &str) -> Router {
    let mut routes = Routes(Router::new());
    each(&mut routes);
    routes
        .0
        .merge(docs::routes(public_url))
        .merge(openapi::routes(public_url))
        .merge(health::routes())
        .merge(claim::routes())
        .fallback(problem::unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .with_state(shared)
}

/// Builds a route per operation.
struct Routes(Router<Arc<Shared>>);

impl Visitor for Routes {
    fn operation<O: Operation>(&mut self) {
        let path = path_of(&O::ABOUT);
        self.0 = std::mem::take(&mut self.0).route(&path, post(operations::call::<O>));
    }
}

async fn unknown_method(State(shared): State<Arc<Shared>>, Extension(id): Extension<RequestId>) -> Answer {
    let error = Error::new(
        Code::MethodNotAllowed,
        "This path does not take that method; the `Allow` header names those it takes. Operations are POST requests.",
    );
    problem::response(&id, &shared.docs, &error)
}
