//! `rootKeys.updateKey`

use schemars::JsonSchema;
use serde::Deserialize;

use super::power::{WRITE, about, check_covered, check_known, check_outlives, in_reach, in_words, keep_a_way_in};
use crate::audit::Event;
use crate::authorization::{Grants, Rule};
use crate::calendar::UnixMs;
use crate::catalogue::{About, Consequences, Effect, Operation, Question, if_so};
use crate::ids::RootKeyId;
use crate::operations::fields::distinct;
use crate::reply::{Empty, Reply};
use crate::root_keys::{root_key_changes, root_key_target};
use crate::store::Connection;
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

const ENABLES: &str = "Enables the root key. Whoever has it can do again what it may.";
const DISABLES: &str = "Disables the root key. Whatever calls Keyrack with it is refused at once.";
const TAKES_ALL: &str =
    "Takes all its permissions from the root key. Whatever calls Keyrack with it is refused at once.";
const WIDENS: &str = "Lets the root key do more than before.";

impl Operation for UpdateKey {
    const ABOUT: About = About {
        name: "rootKeys.updateKey",
        title: "Change a root key",
        summary: "Changes a root key: its name, whether it may be used, all its permissions.",
        description: "The caller must cover every permission that the key has and every one that it gets; a caller with \
                      an expiry may only change keys that expire no later. Only an operator changes an operator. The last \
                      enabled root key without an expiry that has full access can be neither disabled nor narrowed.",
        example: r#"{"keyId": "<rootKeyId>", "name": "gateway, Berlin"}"#,
        rule: Rule::forbidding(WRITE),
        effect: Effect::Write,
        errors: &[Code::KeyNotFound, Code::ProtectedResource],
        ..About::DEFAULT
    };

    const ASKS: bool = true;

    type Request = Request;
    type Response = Empty;

    fn consequences(request: &Request, _: UnixMs) -> Consequences {
        let empties = request.permissions.as_ref().is_some_and(Vec::is_empty);
        if_so([
            (DISABLES, request.enabled == Some(false)),
            (ENABLES, request.enabled == Some(true)),
            (TAKES_ALL, empties),
            (WIDENS, request.permissions.is_some() && !empties),
        ])
    }

    async fn question(
        keyrack: &Keyrack,
        caller: &Caller,
        request: &Request,
        mut consequences: Consequences,
    ) -> Result<Question, Error> {
        let authorized = caller.authorize(&Self::ABOUT.rule, &[("keyId", &request.key_id)])?;
        check_known(caller, request.permissions.as_deref().unwrap_or_default())?;
        let mut connection = keyrack.store().read().await?;
        let before = changeable(&mut connection, caller, request).await?;
        let after = request.applied_to(&before);
        keep_a_way_in(&mut connection, &before, Some(&after)).await?;
        let held = Grants::new(&before.workspace_id, before.permissions.iter().map(String::as_str));
        let gained: Vec<&str> =
            after.permissions.iter().map(String::as_str).filter(|permission| !held.covers(permission)).collect();
        consequences.retain(|consequence| match *consequence {
            DISABLES => before.enabled,
            ENABLES => !before.enabled,
            TAKES_ALL => !before.permissions.is_empty(),
            _ => !gained.is_empty(),
        });
        let gained = (!gained.is_empty()).then(|| in_words(caller.workspace_id(), gained));
        Ok(about(authorized.asking(consequences), &before).text_if_any("gains", gained.as_deref()))
    }

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Empty>, Error> {
        let authorized = caller.authorize(&Self::ABOUT.rule, &[("keyId", &request.key_id)])?;
        check_known(caller, request.permissions.as_deref().unwrap_or_default())?;
        let mut mutation = keyrack.change_first(caller).await?;
        let before = changeable(mutation.connection(), caller, &request).await?;
        let after = request.applied_to(&before);
        keep_a_way_in(mutation.connection(), &before, Some(&after)).await?;
        let now = mutation.now();
        root_keys::update(mutation.connection(), &after, now).await?;
        let event = Event::new("rootKey.update", format!("Updated root key {}", after.id));
        mutation.record(event.on(root_key_target(&after)).changing(root_key_changes(Some(&before), Some(&after))));
        mutation.touch(Subject::RootKey(after.id));
        mutation.commit().await?;
        Ok(authorized.reply(Empty {}))
    }
}

/// The root key that a request is about, if the caller may change it in that way.
async fn changeable(connection: &mut Connection, caller: &Caller, request: &Request) -> Result<RootKey, Error> {
    let key = in_reach(connection, caller, &request.key_id).await?;
    check_covered(caller, request.permissions.as_deref().unwrap_or_default())?;
    check_outlives(caller, &key)?;
    Ok(key)
}

impl Request {
    /// What becomes of the root key.
    fn applied_to(&self, before: &RootKey) -> RootKey {
        let mut after = RootKey {
            enabled: self.enabled.unwrap_or(before.enabled),
            permissions: self.permissions.clone().map_or_else(|| before.permissions.clone(), distinct),
            ..before.clone()
        };
        self.name.clone().apply(&mut after.name);
        after
    }
}
