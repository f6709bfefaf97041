//! `keys.rerollKey`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::rights::CREATE_KEY;
use super::{about, locate, locate_for, recorded, scope_of, stores_plaintexts, vault};
use crate::audit::{Changes, Event, Target};
use crate::authorization::{Conditional, Expression, OnDenied, Rule};
use crate::calendar::{MINUTE_MS, UnixMs};
use crate::catalogue::{About, Assistants, Consequences, Effect, Operation, Pin, Question, ShownAfter};
use crate::changes::Mutation;
use crate::ids::{self, KeyId, Kind};
use crate::keys::rerolling::{LONGEST_GRACE_MS, Rerolling};
use crate::keys::secret::{self, GeneratedKey, Revealed};
use crate::operations::fields;
use crate::reply::Reply;
use crate::store::apis::Api;
use crate::store::credits::{self, Credits};
use crate::store::encrypted_keys;
use crate::store::keys::{self, Key};
use crate::store::ratelimits::{self, Owner};
use crate::store::rerolls::Rerolled;
use crate::store::subject::Subject;
use crate::value::Nullable;
use crate::{Caller, Code, Error, Keyrack, resident};

/// Issues a key in place of another.
#[derive(Debug)]
pub struct RerollKey;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// The key to replace.
    key_id: KeyId,
    /// Grace of the old key: a duration in ms, never a date; 0: it ends now; null: as before.
    #[schemars(range(min = 0, max = LONGEST_GRACE_MS))]
    expiration: Nullable<i64>,
}

/// What is answered.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// `key_…` of the new key.
    pub key_id: KeyId,
    /// The new key itself. It is shown this once.
    pub key: Revealed,
}

impl Operation for RerollKey {
    const ABOUT: About = About {
        name: "keys.rerollKey",
        title: "Reroll a key",
        summary: "Issues a new key with everything the old one has, and ends the old one after a grace period.",
        description: "The new key has the old one's name, meta, identity, permissions, roles, limits, expiry and \
                      balance, and is disabled if the old one is. It has a new id and a secret that is shown this \
                      once. During the grace period both verify, each with a balance of its own. `expiration` is a \
                      duration of at most a year, rounded up to the whole minute; the old key never outlives its own \
                      expiry, and afterwards verifies as `EXPIRED`. A reroll may be repeated while the old key \
                      lives: the new key has the expiry from before the first. Once a reroll has ended a key, \
                      rerolling it answers 412 with the id of the key in its place.",
        example: r#"{"keyId": "<keyId>", "expiration": 86400000}"#,
        rule: Rule::forbidding(CREATE_KEY).and(&[Conditional {
            name: "recoverable",
            when: "the key is recoverable",
            check: Expression::Any(&[
                Expression::Leg("api.{apiId}.encrypt_key"),
                Expression::Leg("api.*.encrypt_key"),
                Expression::Leg("unkey:v1:{workspaceId}:keyspaces/{keySpaceId}/keys/*#encrypt_key"),
            ]),
            on_denied: OnDenied::Forbidden,
        }]),
        effect: Effect::Write,
        idempotent: false,
        errors: &[Code::KeyNotFound, Code::PreconditionFailed],
        assistants: Assistants {
            hint: "Shows the new key once. The old one ends after the grace in expiration; use 0 for a leaked key.",
            pinned_by: Some(Pin::KeyId("keyId")),
            shown_after: Some(ShownAfter { read: "keys.getKey", by: &["keyId"] }),
            ..Assistants::DEFAULT
        },
        ..About::DEFAULT
    };

    const ASKS: bool = true;

    type Request = Request;
    type Response = Response;

    fn consequences(request: &Request, _: UnixMs) -> Consequences {
        match request.expiration.0 {
            None => Consequences::new(),
            Some(0) => vec!["Replaces the key. The old one is refused at once."],
            Some(_) => vec!["Replaces the key. The old one is refused at the end of its grace period."],
        }
    }

    async fn question(
        keyrack: &Keyrack,
        caller: &Caller,
        request: &Request,
        mut consequences: Consequences,
    ) -> Result<Question, Error> {
        let (authorized, key, api) = locate_for::<Self>(keyrack, caller, &request.key_id).await?;
        check_recoverable(keyrack, caller, &key, &api).await?;
        let now = keyrack.clock().now();
        let mut connection = keyrack.store().read().await?;
        Rerolling::begin(&mut connection, Rerolled::Key(&key.id), key.expires_at, now).await?;
        let is_over = key.expires_at.is_some_and(|end| end < now);
        consequences.retain(|_| key.enabled && !is_over);
        let grace = request.expiration.0.filter(|grace_ms| *grace_ms > 0);
        let question = authorized.asking(consequences);
        let question = question.text_if_any("grace period", grace.map(|ms| format!("{ms} ms")).as_deref());
        Ok(about(question, &key, &api))
    }

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Response>, Error> {
        let (authorized, old, api) = locate_for::<Self>(keyrack, caller, &request.key_id).await?;
        let is_recoverable = check_recoverable(keyrack, caller, &old, &api).await?;
        let mut mutation = keyrack.change(caller).await?;
        let (old, _) = locate(keyrack, mutation.connection(), caller, &request.key_id).await?;
        let generated = generate(&api.stored, &old)?;
        let now = mutation.now();
        let rerolling =
            Rerolling::begin(mutation.connection(), Rerolled::Key(&old.id), old.expires_at, now).await?;
        let new = copy(&mut mutation, &old, rerolling.inherited_expiry(), &generated).await?;
        if is_recoverable {
            let (workspace_id, now) = (caller.workspace_id(), mutation.now());
            vault(keyrack)?.keep(mutation.connection(), workspace_id, &new.id, &generated.secret, now).await?;
        }
        let mut ends_at = old.expires_at;
        if let Some(grace_ms) = request.expiration.0 {
            let due = end_of_grace(mutation.now(), grace_ms);
            ends_at = rerolling.end(&mut mutation, &new.id, due).await?;
        }
        let (new_target, old_target) =
            (recorded::target(&mut mutation, &new).await?, recorded::target(&mut mutation, &old).await?);
        let view = |expires: Option<UnixMs>| json!({ "expires": expires });
        mutation.record(
            Event::new("key.reroll", format!("Rerolled key {} to key {}", old.id, new.id))
                .on(new_target)
                .on(old_target)
                .on(Target::api(&api.stored))
                .changing(Changes::between(&view(old.expires_at), &view(ends_at))),
        );
        mutation.touch(Subject::Key(new.id.clone()));
        mutation.touch(Subject::Key(old.id));
        mutation.commit().await?;
        Ok(authorized.reply(Response { key_id: new.id.into(), key: Revealed(generated.secret) }))
    }
}

/// Whether a key is recoverable, and with it its successor, which the caller, the server and the API have to allow.
async fn check_recoverable(
    keyrack: &Keyrack,
    caller: &Caller,
    old: &Key,
    api: &resident::Api,
) -> Result<bool, Error> {
    let mut connection = keyrack.store().read().await?;
    let is_recoverable = !encrypted_keys::of_keys(&mut connection, &[&old.id]).await?.is_empty();
    if is_recoverable {
        caller.authorize_also(&RerollKey::ABOUT.rule, "recoverable", &scope_of(old, api))?;
        vault(keyrack)?;
        stores_plaintexts(&api.stored)?;
    }
    Ok(is_recoverable)
}

/// The beginning of the question about a reroll that ends the old key so many ms later.
/// A secret with the old key's prefix: all before the last underscore of what is shown of it.
fn generate(api: &Api, old: &Key) -> Result<GeneratedKey, Error> {
    let shown = old.start.rsplit_once('_').map(|(prefix, _)| prefix);
    let bytes = api.default_bytes.and_then(|bytes| usize::try_from(bytes).ok());
    secret::generate_key(shown.or(api.default_prefix.as_deref()), bytes.unwrap_or(secret::DEFAULT_KEY_BYTES))
        .map_err(Error::unexpected)
}

/// Stores a key like the old one: its fields, true balance, own limits, permissions and roles.
async fn copy(
    mutation: &mut Mutation,
    old: &Key,
    expires_at: Option<UnixMs>,
    generated: &GeneratedKey,
) -> Result<Key, Error> {
    let new = Key {
        id: ids::generate(Kind::Key),
        hash: generated.hash.to_base64(),
        start: generated.start.clone(),
        pending_migration_id: None,
        expires_at,
        last_used_at: None,
        created_at: mutation.now(),
        updated_at: None,
        ..old.clone()
    };
    keys::insert(mutation.connection(), std::slice::from_ref(&new)).await?;
    mutation.settle_refill(&old.id).await?;
    let balance = credits::find_locked(mutation.connection(), &old.id).await?;
    if balance != Credits::default() {
        let today = mutation.calendar().today;
        credits::set(mutation.connection(), &new.id, balance, today).await?;
    }
    let limits = ratelimits::of_keys(mutation.connection(), &[&old.id]).await?;
    let limits: Vec<_> = limits
        .into_iter()
        .map(|(_, limit)| ratelimits::Ratelimit { id: ids::generate(Kind::Ratelimit), ..limit })
        .collect();
    fields::add_ratelimits(mutation, &Owner::Key(new.id.clone()), &limits).await?;
    keys::copy_links(mutation.connection(), &old.id, &new.id).await?;
    Ok(new)
}

/// The millisecond before now, since a key is still good in that of its expiry; or the end of the grace period at
/// the next whole minute.
fn end_of_grace(now: UnixMs, expiration_ms: i64) -> UnixMs {
    if expiration_ms == 0 {
        return now.minus(1);
    }
    let end = now.plus(expiration_ms);
    let past_the_minute = end.get().rem_euclid(MINUTE_MS);
    if past_the_minute == 0 { end } else { end.plus(MINUTE_MS - past_the_minute) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grace_period_ends_at_a_whole_minute_and_none_ends_now() {
        for (now, expiration_ms, due) in [
            (90_001, 0, 90_000),
            (90_001, 1, 120_000),
            (60_000, 60_000, 120_000),
            (60_001, 60_000, 180_000),
            (59_999, 60_000, 120_000),
        ] {
            assert_eq!(end_of_grace(UnixMs::new(now), expiration_ms).get(), due, "{now} + {expiration_ms}");
        }
    }
}
