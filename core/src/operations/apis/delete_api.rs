//! `apis.deleteApi`

use schemars::JsonSchema;
use serde::Deserialize;

use crate::audit::{Event, Target};
use crate::authorization::{Expression, Rule};
use crate::calendar::UnixMs;
use crate::catalogue::{About, Assistants, Consequences, Effect, Operation, Pin, Question};
use crate::error::OrNotFound as _;
use crate::ids::ApiId;
use crate::reply::{Empty, Reply};
use crate::store::affected::Of;
use crate::store::subject::Subject;
use crate::store::{Connection, affected, apis};
use crate::{Caller, Code, Error, Keyrack};

/// Deletes an API and with it all its keys.
#[derive(Debug)]
pub struct DeleteApi;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// The API.
    #[schemars(length(min = 8))]
    api_id: ApiId,
}

impl Operation for DeleteApi {
    const ABOUT: About = About {
        name: "apis.deleteApi",
        title: "Delete an API",
        summary: "Deletes an API; all its keys stop verifying at once. There is no way back.",
        description: "An API with delete protection answers 412; switch it off with `apis.updateApi` first. Deleting \
                      twice answers 404.",
        example: r#"{"apiId": "<apiId>"}"#,
        rule: Rule::forbidding(Expression::Any(&[
            Expression::Leg("api.*.delete_api"),
            Expression::Leg("api.{apiId}.delete_api"),
        ])),
        effect: Effect::Destroy,
        idempotent: true,
        errors: &[Code::ApiNotFound, Code::ProtectedResource],
        assistants: Assistants { pinned_by: Some(Pin::Api("apiId")), ..Assistants::DEFAULT },
        ..About::DEFAULT
    };

    const ASKS: bool = true;

    type Request = Request;
    type Response = Empty;

    fn consequences(_: &Request, _: UnixMs) -> Consequences {
        vec!["Deletes the API for good. All its keys are refused at once."]
    }

    async fn question(
        keyrack: &Keyrack,
        caller: &Caller,
        request: &Request,
        consequences: Consequences,
    ) -> Result<Question, Error> {
        let authorized = caller.authorize(&Self::ABOUT.rule, &[("apiId", &request.api_id)])?;
        let mut connection = keyrack.store().read().await?;
        let api = deletable(&mut connection, caller, &request.api_id).await?;
        let affected = affected::keys(&mut connection, Of::Api(&api.id)).await?;
        let question =
            authorized.asking(consequences).text("API", &*api.name).text("id", &*api.id).affecting(affected);
        Ok(question.agreed_by_typing(&api.name))
    }

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Empty>, Error> {
        let authorized = caller.authorize(&Self::ABOUT.rule, &[("apiId", &request.api_id)])?;
        let mut mutation = keyrack.change(caller).await?;
        let api = deletable(mutation.connection(), caller, &request.api_id).await?;
        let now = mutation.now();
        apis::delete(mutation.connection(), &api.id, now).await?;
        mutation.record(Event::new("api.delete", format!("Deleted API {}", api.id)).on(Target::api(&api)));
        mutation.touch(Subject::Api(api.id));
        mutation.commit().await?;
        Ok(authorized.reply(Empty {}))
    }
}

/// An API of the caller's workspace that may be deleted.
async fn deletable(connection: &mut Connection, caller: &Caller, api_id: &ApiId) -> Result<apis::Api, Error> {
    let api = apis::find(connection, caller.workspace_id(), api_id).await?.or_not_found(Code::ApiNotFound)?;
    if api.delete_protection {
        return Err(Error::new(
            Code::ProtectedResource,
            "The API is protected against deletion. Switch `deleteProtection` off with `apis.updateApi` first.",
        ));
    }
    Ok(api)
}
