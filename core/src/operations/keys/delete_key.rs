//! `keys.deleteKey`

use schemars::JsonSchema;
use serde::Deserialize;

use super::{about, locate, locate_for, recorded};
use crate::audit::Event;
use crate::authorization::{Expression, Rule};
use crate::calendar::UnixMs;
use crate::catalogue::{About, Assistants, Consequences, Effect, Operation, Pin, Question};
use crate::ids::KeyId;
use crate::reply::{Empty, Reply};
use crate::store::keys;
use crate::store::subject::Subject;
use crate::{Caller, Code, Error, Keyrack};

/// Deletes a key.
#[derive(Debug)]
pub struct DeleteKey;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// The key.
    key_id: KeyId,
    /// Whether to remove every trace, so that the same key could be imported again.
    #[serde(default)]
    permanent: bool,
}

impl Operation for DeleteKey {
    const ABOUT: About = About {
        name: "keys.deleteKey",
        title: "Delete a key",
        summary: "Deletes a key; it stops verifying at once. There is no way back.",
        description: "The key verifies as `NOT_FOUND` from the next request on. Unless `permanent` is true its hash \
                      stays reserved until the server's retention of deleted things ends, which by default is never. \
                      Deleting twice answers 404. To take a key out of use for a while, disable it with \
                      `keys.updateKey` instead.",
        example: r#"{"keyId": "<keyId>"}"#,
        rule: Rule::forbidding(Expression::Any(&[
            Expression::Leg("api.*.delete_key"),
            Expression::Leg("api.{apiId}.delete_key"),
            Expression::Leg("unkey:v1:{workspaceId}:keyspaces/{keySpaceId}/keys/{keyId}#delete_key"),
        ])),
        effect: Effect::Destroy,
        idempotent: true,
        errors: &[Code::KeyNotFound],
        assistants: Assistants {
            hint: "keys.updateKey can disable it instead.",
            pinned_by: Some(Pin::KeyId("keyId")),
            ..Assistants::DEFAULT
        },
        ..About::DEFAULT
    };

    const ASKS: bool = true;

    type Request = Request;
    type Response = Empty;

    fn consequences(request: &Request, _: UnixMs) -> Consequences {
        let sentence = if request.permanent {
            "Deletes the key and all that is stored of it. It is refused at once, and nothing can bring it back."
        } else {
            "Deletes the key. It is refused at once, and nothing can bring it back."
        };
        vec![sentence]
    }

    async fn question(
        keyrack: &Keyrack,
        caller: &Caller,
        request: &Request,
        consequences: Consequences,
    ) -> Result<Question, Error> {
        let (authorized, key, api) = locate_for::<Self>(keyrack, caller, &request.key_id).await?;
        Ok(about(authorized.asking(consequences), &key, &api))
    }

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Empty>, Error> {
        let (authorized, ..) = locate_for::<Self>(keyrack, caller, &request.key_id).await?;
        let mut mutation = keyrack.change(caller).await?;
        let (key, _) = locate(keyrack, mutation.connection(), caller, &request.key_id).await?;
        let (now, target) = (mutation.now(), recorded::target(&mut mutation, &key).await?);
        let description = if request.permanent {
            keys::purge(mutation.connection(), std::slice::from_ref(&key.id)).await?;
            format!("Permanently deleted key {}", key.id)
        } else {
            keys::delete(mutation.connection(), &key.id, now).await?;
            format!("Deleted key {}", key.id)
        };
        mutation.record(Event::new("key.delete", description).on(target));
        mutation.touch(Subject::Key(key.id));
        mutation.commit().await?;
        Ok(authorized.reply(Empty {}))
    }
}
