//! `apis.createApi`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::audit::{Event, Target};
use crate::authorization::{Expression, Rule};
use crate::catalogue::{About, Effect, Operation};
use crate::ids::{self, ApiId, Kind};
use crate::reply::Reply;
use crate::store::apis::{self, Api};
use crate::store::subject::Subject;
use crate::{Caller, Error, Keyrack};

/// Creates an API.
#[derive(Debug)]
pub struct CreateApi;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// For people; need not be unique.
    #[schemars(length(min = 3, max = 256))]
    name: String,
}

/// What is answered.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// `api_…`
    pub api_id: ApiId,
}

impl Operation for CreateApi {
    const ABOUT: About = About {
        name: "apis.createApi",
        title: "Create an API",
        summary: "Creates an API, the container that keys are issued in and verified against.",
        description: "Create one API per service and environment, such as `payments-production`. Keys of one API \
                      share its settings: default prefix, address list, delete protection. Names need not be unique.",
        example: r#"{"name": "payments"}"#,
        rule: Rule::forbidding(Expression::Leg("api.*.create_api")),
        effect: Effect::Write,
        idempotent: false,
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = Response;

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Response>, Error> {
        let authorized = caller.authorize(&Self::ABOUT.rule, &[])?;
        let mut mutation = keyrack.change(caller).await?;
        let api = Api {
            id: ids::generate(Kind::Api),
            workspace_id: caller.workspace_id().to_owned(),
            name: request.name,
            key_space_id: ids::generate(Kind::KeySpace),
            delete_protection: false,
            ip_whitelist: None,
            default_prefix: None,
            default_bytes: None,
            store_encrypted_keys: false,
            created_at: mutation.now(),
        };
        apis::insert(mutation.connection(), &api).await?;
        mutation.record(Event::new("api.create", format!("Created API {}", api.id)).on(Target::api(&api)));
        mutation.touch(Subject::Api(api.id.clone()));
        mutation.commit().await?;
        Ok(authorized.reply(Response { api_id: api.id.into() }))
    }
}
