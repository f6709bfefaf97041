//! `apis.getApi`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::READ_API;
use crate::authorization::Rule;
use crate::catalogue::{About, Assistants, Operation, Pin};
use crate::error::OrNotFound as _;
use crate::ids::ApiId;
use crate::reply::Reply;
use crate::store::apis;
use crate::{Caller, Code, Error, Keyrack};

/// Reads an API.
#[derive(Debug)]
pub struct GetApi;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// The API.
    #[schemars(length(min = 8))]
    api_id: ApiId,
}

/// What is answered.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// `api_…`
    pub id: ApiId,
    /// For people.
    pub name: String,
}

impl Operation for GetApi {
    const ABOUT: About = About {
        name: "apis.getApi",
        title: "Read an API",
        summary: "Reads the name of an API.",
        description: "An API that was deleted, or that belongs to another workspace, reads as one that never existed.",
        example: r#"{"apiId": "<apiId>"}"#,
        rule: Rule::forbidding(READ_API),
        errors: &[Code::ApiNotFound],
        assistants: Assistants { pinned_by: Some(Pin::Api("apiId")), ..Assistants::DEFAULT },
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = Response;

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Response>, Error> {
        let authorized = caller.authorize(&Self::ABOUT.rule, &[("apiId", &request.api_id)])?;
        let mut connection = keyrack.store().read().await?;
        let api = apis::find(&mut connection, caller.workspace_id(), &request.api_id).await?;
        let api = api.or_not_found(Code::ApiNotFound)?;
        Ok(authorized.reply(Response { id: api.id.into(), name: api.name }))
    }
}
