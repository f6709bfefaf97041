//! `rootKeys.updateKey`

use schemars::JsonSchema;
use serde::Deserialize;

use super::NO_TOOL;
use super::power::{WRITE, check_covered, check_known, check_outlives, in_reach, keep_a_way_in};
use crate::audit::Event;
use crate::authorization::Rule;
use crate::catalogue::{About, Assistants, Effect, Operation, Question, Tool};
use crate::ids::RootKeyId;
use crate::operations::fields::distinct;
use crate::reply::{Empty, Reply};
use crate::root_keys::{root_key_changes, root_key_target};
use crate::store::root_keys::{self, RootKey};
use crate::store::subject::Subject;
use crate::value::Patch;
use crate::{Caller, Code, Error, Keyrack};

/// Changes a root key.
#[derive(Debug)]
pub struct UpdateKey;

/// What is sent. Absent members stay as they are.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("minProperties" = 2))]
pub struct Request {
    /// The root key.
    key_id: RootKeyId,
    /// For people; null: none.
    #[serde(default)]
    #[schemars(length(min = 1, max = 255))]
    name: Patch<String>,
    /// Whether it may be used.
    enabled: Option<bool>,
    /// All that it may do from now on.
    #[schemars(length(min = 0, max = 1000), inner(length(min = 1, max = 255)))]
    permissions: Option<Vec<String>>,
}

impl Operation for UpdateKey {
    const ABOUT: About = About {
        name: "rootKeys.updateKey",
        title: "Change a root key",
        summary: "Changes the name of a root key, whether it may be used, or replaces its permissions, at once.",
        description: "The caller must cover every permission that the key has and every one that it gets; a caller with \
                      an expiry may only change keys that expire no later. Only an operator changes an operator. The last \
                      enabled root key without an expiry that has full access can be neither disabled nor narrowed.",
        example: r#"{"keyId": "<rootKeyId>", "name": "gateway, Berlin"}"#,
        rule: Rule::forbidding(WRITE),
        effect: Effect::Write,
        errors: &[Code::KeyNotFound, Code::ProtectedResource],
        assistants: Assistants { tool: Tool::Withheld(NO_TOOL), ..Assistants::DEFAULT },
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = Empty;

    async fn question(keyrack: &Keyrack, caller: &Caller, request: &Request) -> Result<Option<Question>, Error> {
        let authorized = caller.authorize(&Self::ABOUT.rule, &[("keyId", &request.key_id)])?;
        let wanted = request.permissions.as_deref().unwrap_or_default();
        check_known(caller, wanted)?;
        let mut connection = keyrack.store().read().await?;
        let key = in_reach(&mut connection, caller, &request.key_id).await?;
        check_covered(caller, wanted)?;
        let gained: Vec<&str> = wanted
            .iter()
            .map(String::as_str)
            .filter(|one| !key.permissions.iter().any(|held| held == one))
            .collect();
        let is_cut_off = request.enabled == Some(false) && key.enabled;
        let what = match (gained.is_empty(), is_cut_off) {
            (true, false) => return Ok(None),
            (_, true) => "Disables the root key. Whatever calls Keyrack with it is refused at once.",
            (false, false) => "Lets the root key do more than before.",
        };
        let gained = (!gained.is_empty()).then(|| gained.join(", "));
        let question = authorized
            .asking(what)
            .text_if_any("name", key.name.as_deref())
            .text("start", &*key.start)
            .text("id", &*key.id)
            .text_if_any("gains", gained.as_deref());
        Ok(Some(question))
    }

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Empty>, Error> {
        let authorized = caller.authorize(&Self::ABOUT.rule, &[("keyId", &request.key_id)])?;
        check_known(caller, request.permissions.as_deref().unwrap_or_default())?;
        let mut mutation = keyrack.change_first(caller).await?;
        let before = in_reach(mutation.connection(), caller, &request.key_id).await?;
        check_covered(caller, request.permissions.as_deref().unwrap_or_default())?;
        check_outlives(caller, &before)?;
        let mut after = RootKey {
            enabled: request.enabled.unwrap_or(before.enabled),
            permissions: request.permissions.map_or_else(|| before.permissions.clone(), distinct),
            ..before.clone()
        };
        request.name.apply(&mut after.name);
        keep_a_way_in(&mut mutation, &before, Some(&after)).await?;
        let now = mutation.now();
        root_keys::update(mutation.connection(), &after, now).await?;
        let event = Event::new("rootKey.update", format!("Updated root key {}", after.id));
        mutation.record(event.on(root_key_target(&after)).changing(root_key_changes(Some(&before), Some(&after))));
        mutation.touch(Subject::RootKey(after.id));
        mutation.commit().await?;
        Ok(authorized.reply(Empty {}))
    }
}
