//! `rootKeys.deleteKey`

use schemars::JsonSchema;
use serde::Deserialize;

use super::power::{DELETE, about, in_reach, keep_a_way_in};
use crate::audit::Event;
use crate::authorization::Rule;
use crate::calendar::UnixMs;
use crate::catalogue::{About, Consequences, Effect, Operation, Question};
use crate::ids::RootKeyId;
use crate::reply::{Empty, Reply};
use crate::root_keys::{root_key_changes, root_key_target};
use crate::store::root_keys;
use crate::store::subject::Subject;
use crate::{Caller, Code, Error, Keyrack};

/// Deletes a root key.
#[derive(Debug)]
pub struct DeleteKey;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// The root key.
    key_id: RootKeyId,
}

impl Operation for DeleteKey {
    const ABOUT: About = About {
        name: "rootKeys.deleteKey",
        title: "Delete a root key",
        summary: "Deletes a root key for good; it is refused from then on.",
        description: "The caller must cover every permission of the key, and may be that key: then this answer is \
                      the last that it gets, and the next call with it answers 401. `keyrack api` asks before that. \
                      Only an operator deletes an operator. A caller that has an expiry itself may delete keys that \
                      have none. The last enabled root key without an expiry that has full access answers 412. Deleting \
                      twice answers 404.",
        example: r#"{"keyId": "<rootKeyId>"}"#,
        rule: Rule::forbidding(DELETE),
        effect: Effect::Destroy,
        ends_root_key: Some("keyId"),
        errors: &[Code::KeyNotFound, Code::ProtectedResource],
        ..About::DEFAULT
    };

    const ASKS: bool = true;

    type Request = Request;
    type Response = Empty;

    fn consequences(_: &Request, _: UnixMs) -> Consequences {
        vec!["Deletes the root key. Whatever calls Keyrack with it is refused at once."]
    }

    async fn question(
        keyrack: &Keyrack,
        caller: &Caller,
        request: &Request,
        consequences: Consequences,
    ) -> Result<Question, Error> {
        let authorized = caller.authorize(&Self::ABOUT.rule, &[("keyId", &request.key_id)])?;
        let mut connection = keyrack.store().read().await?;
        let key = in_reach(&mut connection, caller, &request.key_id).await?;
        keep_a_way_in(&mut connection, &key, None).await?;
        Ok(about(authorized.asking(consequences), &key))
    }

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Empty>, Error> {
        let authorized = caller.authorize(&Self::ABOUT.rule, &[("keyId", &request.key_id)])?;
        let mut mutation = keyrack.change_first(caller).await?;
        let key = in_reach(mutation.connection(), caller, &request.key_id).await?;
        keep_a_way_in(mutation.connection(), &key, None).await?;
        let now = mutation.now();
        root_keys::delete(mutation.connection(), &key.id, now).await?;
        let event = Event::new("rootKey.delete", format!("Deleted root key {}", key.id));
        mutation.record(event.on(root_key_target(&key)).changing(root_key_changes(Some(&key), None)));
        mutation.touch(Subject::RootKey(key.id));
        mutation.commit().await?;
        Ok(authorized.reply(Empty {}))
    }
}
