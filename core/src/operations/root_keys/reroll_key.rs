//! `rootKeys.rerollKey`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::power::{DELETE, WRITE, about, check_outlives, in_reach};
use crate::audit::Event;
use crate::authorization::{Conditional, OnDenied, Rule};
use crate::calendar::UnixMs;
use crate::catalogue::{About, Consequences, Effect, Operation, Question};
use crate::ids::RootKeyId;
use crate::keys::rerolling::{LONGEST_GRACE_MS, Rerolling};
use crate::keys::secret::Revealed;
use crate::reply::Reply;
use crate::root_keys::{NewRootKey, issue_root_key, root_key_changes, root_key_target};
use crate::store::rerolls::Rerolled;
use crate::store::root_keys::{self, RootKey};
use crate::store::subject::Subject;
use crate::value::Nullable;
use crate::{Caller, Code, Error, Keyrack};

/// Replaces a root key by a new one.
#[derive(Debug)]
pub struct RerollKey;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// The root key to replace.
    key_id: RootKeyId,
    /// Grace in ms; 0: it ends now; null: as long as before.
    #[schemars(range(min = 0, max = LONGEST_GRACE_MS))]
    expiration: Nullable<i64>,
}

/// What is answered.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// `key_…`, the new root key.
    pub key_id: RootKeyId,
    /// The new root key itself. It is shown this once.
    pub key: Revealed,
}

impl Operation for RerollKey {
    const ABOUT: About = About {
        name: "rootKeys.rerollKey",
        title: "Reroll a root key",
        summary: "Makes a new root key that may do what an old one may, and ends the old one.",
        description: "The new key has the name, permissions and expiry of the old one and is enabled or an operator as \
                      that is. The caller must cover every permission of the key, and needs `#delete` too unless \
                      `expiration` is null. The old key never outlives an earlier expiry of its own. A reroll may be \
                      repeated while the old key lives: the new key has the expiry from before the first. Once a \
                      reroll has ended a key, rerolling it answers 412 with the id of the key in its place.",
        example: r#"{"keyId": "<rootKeyId>", "expiration": 86400000}"#,
        rule: Rule::forbidding(WRITE).and(&[Conditional {
            name: "expire",
            when: "expiration is not null",
            check: DELETE,
            on_denied: OnDenied::Forbidden,
        }]),
        effect: Effect::Write,
        idempotent: false,
        errors: &[Code::KeyNotFound, Code::PreconditionFailed],
        ..About::DEFAULT
    };

    const ASKS: bool = true;

    type Request = Request;
    type Response = Response;

    fn consequences(request: &Request, _: UnixMs) -> Consequences {
        match request.expiration.0 {
            None => vec!["Makes another root key that may do the same. The old one goes on."],
            Some(0) => vec!["Replaces the root key. The old one is refused at once."],
            Some(_) => vec!["Replaces the root key. The old one is refused at the end of its grace period."],
        }
    }

    async fn question(
        keyrack: &Keyrack,
        caller: &Caller,
        request: &Request,
        mut consequences: Consequences,
    ) -> Result<Question, Error> {
        let scope = [("keyId", &*request.key_id)];
        let authorized = caller.authorize(&Self::ABOUT.rule, &scope)?;
        if request.expiration.0.is_some() {
            caller.authorize_also(&Self::ABOUT.rule, "expire", &scope)?;
        }
        let now = keyrack.clock().now();
        let mut connection = keyrack.store().read().await?;
        let old = in_reach(&mut connection, caller, &request.key_id).await?;
        let rerolling = Rerolling::begin(&mut connection, Rerolled::RootKey(&old.id), old.expires_at, now).await?;
        check_outlives(caller, &heir_of(&old, &rerolling))?;
        let is_over = old.expires_at.is_some_and(|end| end < now);
        consequences.retain(|_| old.enabled && !is_over);
        let grace = request.expiration.0.filter(|grace_ms| *grace_ms > 0);
        let question = authorized.asking(consequences);
        let question = question.text_if_any("grace period", grace.map(|ms| format!("{ms} ms")).as_deref());
        Ok(about(question, &old))
    }

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Response>, Error> {
        let scope = [("keyId", &*request.key_id)];
        let authorized = caller.authorize(&Self::ABOUT.rule, &scope)?;
        if request.expiration.0.is_some() {
            caller.authorize_also(&Self::ABOUT.rule, "expire", &scope)?;
        }
        let mut mutation = keyrack.change_first(caller).await?;
        let now = mutation.now();
        let old = in_reach(mutation.connection(), caller, &request.key_id).await?;
        let rerolling =
            Rerolling::begin(mutation.connection(), Rerolled::RootKey(&old.id), old.expires_at, now).await?;
        let heir = heir_of(&old, &rerolling);
        check_outlives(caller, &heir)?;
        let new = NewRootKey {
            name: old.name.clone(),
            permissions: old.permissions.clone(),
            operator: old.operator,
            expires_at: heir.expires_at,
        };
        let (mut new, secret) = issue_root_key(&mut mutation, new).await?;
        if !old.enabled {
            new.enabled = false;
            root_keys::update(mutation.connection(), &new, now).await?;
        }
        let mut ended = old.clone();
        if let Some(grace) = request.expiration.0 {
            // A key is still good in the very millisecond of its expiry.
            let due = if grace == 0 { now.minus(1) } else { now.plus(grace) };
            ended.expires_at = rerolling.end(&mut mutation, &new.id, due).await?;
        }
        let event = Event::new("rootKey.reroll", format!("Rerolled root key {} to {}", old.id, new.id));
        let changes = root_key_changes(Some(&old), Some(&ended));
        mutation.record(event.on(root_key_target(&new)).on(root_key_target(&old)).changing(changes));
        mutation.touch(Subject::RootKey(old.id));
        mutation.commit().await?;
        Ok(authorized.reply(Response { key_id: new.id.into(), key: Revealed(secret) }))
    }
}

/// The root key as its successor inherits it.
fn heir_of(old: &RootKey, rerolling: &Rerolling<'_>) -> RootKey {
    RootKey { expires_at: rerolling.inherited_expiry(), ..old.clone() }
}
