//! `keys.updateKey`

use schemars::JsonSchema;
use serde::Deserialize;

use super::create_key::monthly_needs_a_day;
use super::links::{identity_by_external_id, permissions_by_slug, roles_by_name};
use super::recorded::{self, Facts, Parts};
use super::rights::UPDATE_KEY;
use super::update_credits::SPENDS_ALL;
use super::{about, locate, locate_for};
use crate::audit::{Changes, Event, Target};
use crate::authorization::Rule;
use crate::calendar::UnixMs;
use crate::catalogue::{About, Assistants, Consequences, Effect, Operation, Pin, Question, ShownAfter, if_so};
use crate::changes::Mutation;
use crate::ids::KeyId;
use crate::operations::fields::{self, Interval, RatelimitRequest, SLUG_PATTERN};
use crate::reply::{Empty, Reply};
use crate::schema::together;
use crate::store::credits::{self, Refill};
use crate::store::keys::{self, Key};
use crate::store::ratelimits::Owner;
use crate::store::rerolls::{self, Rerolled};
use crate::store::subject::Subject;
use crate::store::{permissions, roles};
use crate::value::{Meta, Patch};
use crate::{Caller, Code, Error, Keyrack};

/// Changes a key.
#[derive(Debug)]
pub struct UpdateKey;

/// What is sent. Absent members stay as they are.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// The key.
    key_id: KeyId,
    /// For people; null: none.
    #[serde(default)]
    #[schemars(length(min = 1, max = 255))]
    name: Patch<String>,
    /// Whom it belongs to; the identity is created if new; null: nobody.
    #[serde(default)]
    #[schemars(length(min = 1, max = 255))]
    external_id: Patch<String>,
    /// Replaces the whole object; null: none.
    #[serde(default)]
    meta: Patch<Meta>,
    /// Unix ms after which it is refused; null: never.
    #[serde(default)]
    #[schemars(range(max = UnixMs::LATEST_EXPIRY))]
    expires: Patch<UnixMs>,
    /// Its balance and refill; null: unlimited.
    #[serde(default)]
    credits: Patch<CreditsChange>,
    /// Replaces all limits of this key; null or empty: none.
    #[serde(default)]
    #[schemars(length(max = 50))]
    ratelimits: Patch<Vec<RatelimitRequest>>,
    /// Whether it may be used.
    enabled: Option<bool>,
    /// Replaces its roles by existing ones.
    #[schemars(length(max = 100), inner(length(min = 1, max = 128)))]
    roles: Option<Vec<String>>,
    /// Replaces its own permissions; created if new.
    #[schemars(length(max = 1000), inner(length(min = 1, max = 128), regex(pattern = SLUG_PATTERN)))]
    permissions: Option<Vec<String>>,
}

/// A change of credits.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreditsChange {
    /// The balance; null: unlimited, without refill.
    #[serde(default)]
    #[schemars(range(min = 0, max = 9_223_372_036_854_775_807_i64))]
    remaining: Patch<i64>,
    /// Replaces the refill; null: none.
    #[serde(default)]
    refill: Patch<RefillChange>,
}

/// A new refill.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RefillChange {
    /// How often.
    interval: Interval,
    /// The balance is set to it if it is lower.
    #[schemars(range(min = 1, max = 9_223_372_036_854_775_807_i64))]
    amount: i64,
    /// Day of the month; required for monthly, not allowed for daily.
    #[schemars(range(min = 1, max = 31))]
    refill_day: Option<i64>,
}

const DISABLES: &str = "Disables the key. It is refused at once, until it is enabled again.";
const ENDS: &str = "Lets the key end at a time that is over. It is refused at once.";
const TAKES_PERMISSIONS: &str = "Takes all its own permissions from the key.";
const TAKES_ROLES: &str = "Takes all its roles from the key.";

impl Operation for UpdateKey {
    const ABOUT: About = About {
        name: "keys.updateKey",
        title: "Change a key",
        summary: "Changes a key. Absent members stay, null clears, lists replace what was there.",
        description: "The change counts from the next verification on. `ratelimits`, `roles` and `permissions` replace \
                      the whole list; a limit whose name stays keeps its id and its count. `credits.remaining: null` \
                      makes the key unlimited and removes its refill.",
        example: r#"{"keyId": "<keyId>", "name": "Mobile app, Berlin", "enabled": true, "expires": null}"#,
        rule: Rule::forbidding(UPDATE_KEY),
        effect: Effect::Write,
        idempotent: true,
        errors: &[Code::KeyNotFound, Code::RoleNotFound],
        assistants: Assistants {
            hint: "Lists replace the whole: read the key first and send all that are to stay. To revoke for now, enabled: false.",
            pinned_by: Some(Pin::KeyId("keyId")),
            shown_after: Some(ShownAfter { read: "keys.getKey", by: &["keyId"] }),
            ..Assistants::DEFAULT
        },
        ..About::DEFAULT
    };

    const ASKS: bool = true;

    type Request = Request;
    type Response = Empty;

    fn consequences(request: &Request, now: UnixMs) -> Consequences {
        let empties = |named: &Option<Vec<String>>| named.as_ref().is_some_and(Vec::is_empty);
        let balance = match &request.credits {
            Patch::Value(credits) => credits.remaining,
            _ => Patch::Absent,
        };
        if_so([
            (DISABLES, request.enabled == Some(false)),
            (ENDS, matches!(request.expires, Patch::Value(end) if end <= now)),
            (SPENDS_ALL, balance == Patch::Value(0)),
            (TAKES_PERMISSIONS, empties(&request.permissions)),
            (TAKES_ROLES, empties(&request.roles)),
        ])
    }

    async fn question(
        keyrack: &Keyrack,
        caller: &Caller,
        request: &Request,
        mut consequences: Consequences,
    ) -> Result<Question, Error> {
        let (authorized, key, api) = locate_for::<Self>(keyrack, caller, &request.key_id).await?;
        let mut connection = keyrack.store().read().await?;
        let permissions = permissions::of_key(&mut connection, &key.id).await?;
        let roles = roles::of_key(&mut connection, &key.id).await?;
        let credits = credits::find(&mut connection, &key.id).await?;
        let now = keyrack.clock().now();
        consequences.retain(|consequence| match *consequence {
            DISABLES => key.enabled,
            ENDS => key.expires_at.is_none_or(|end| end > now),
            SPENDS_ALL => credits.remaining != Some(0),
            TAKES_PERMISSIONS => !permissions.is_empty(),
            _ => !roles.is_empty(),
        });
        Ok(about(authorized.asking(consequences), &key, &api))
    }

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Empty>, Error> {
        let (authorized, _, api) = locate_for::<Self>(keyrack, caller, &request.key_id).await?;
        let meta = request.meta.as_ref().try_map(fields::key_meta);
        let (refill, meta) = together(read_refill(&request.credits), meta)?;
        let mut mutation = keyrack.change(caller).await?;
        mutation.correlate();
        let (mut key, _) = locate(keyrack, mutation.connection(), caller, &request.key_id).await?;
        let parts = Parts {
            credits: !request.credits.is_absent(),
            ratelimits: !request.ratelimits.is_absent(),
            permissions: request.permissions.is_some(),
            roles: request.roles.is_some(),
        };
        let before = Facts::read(&mut mutation, &key, parts).await?;
        if let Some(change) = request.external_id.into_change() {
            key.identity_id = match change {
                Some(external_id) => Some(identity_by_external_id(&mut mutation, external_id).await?),
                None => None,
            };
        }
        request.name.apply(&mut key.name);
        meta.apply(&mut key.meta);
        if request.expires.apply(&mut key.expires_at) {
            rerolls::forget(mutation.connection(), Rerolled::Key(&key.id)).await?;
        }
        key.enabled = request.enabled.unwrap_or(key.enabled);
        let now = mutation.now();
        keys::update(mutation.connection(), &key, now).await?;
        change_credits(&mut mutation, &key, request.credits, refill).await?;
        if let Some(change) = request.ratelimits.into_change() {
            let owner = Owner::Key(key.id.clone());
            fields::replace_ratelimits(&mut mutation, &owner, change.unwrap_or_default()).await?;
        }
        replace_links(&mut mutation, &key.id, request.permissions, request.roles).await?;
        let after = Facts::read(&mut mutation, &key, parts).await?;
        let target = recorded::target(&mut mutation, &key).await?;
        mutation.record(
            Event::new("key.update", format!("Updated key {}", key.id))
                .on(target)
                .on(Target::api(&api.stored))
                .changing(Changes::between(&before, &after)),
        );
        mutation.touch(Subject::Key(key.id));
        mutation.commit().await?;
        Ok(authorized.reply(Empty {}))
    }
}

/// What the refill becomes.
fn read_refill(credits: &Patch<CreditsChange>) -> Result<Patch<Refill>, Error> {
    let Patch::Value(change) = credits else { return Ok(Patch::Absent) };
    change.refill.as_ref().try_map(|refill| {
        let day = match (refill.interval, refill.refill_day) {
            (Interval::Daily, None) => None,
            (Interval::Monthly, Some(day)) => Some(day),
            (Interval::Monthly, None) => return Err(monthly_needs_a_day("body")),
            (Interval::Daily, Some(_)) => {
                return Err(Error::invalid(
                    "body.credits.refill.refillDay",
                    "`refillDay` must not be given with the daily interval",
                    "Leave it out, or send the interval monthly.",
                ));
            }
        };
        Ok(Refill { amount: refill.amount, day })
    })
}

async fn change_credits(
    mutation: &mut Mutation,
    key: &Key,
    change: Patch<CreditsChange>,
    refill: Patch<Refill>,
) -> Result<(), Error> {
    let mut credits = key.credits;
    let sets_balance = match change {
        Patch::Absent => return Ok(()),
        Patch::Null => {
            credits = credits::Credits::default();
            true
        }
        Patch::Value(change) => change.remaining.apply(&mut credits.remaining),
    };
    if credits.remaining.is_none() {
        credits.refill = None;
    }
    let sets_refill = refill.apply(&mut credits.refill);
    mutation.settle_refill(&key.id).await?;
    let today = mutation.calendar().today;
    if sets_balance {
        credits::set(mutation.connection(), &key.id, credits, today).await
    } else if sets_refill {
        credits::set_refill(mutation.connection(), &key.id, credits.refill, today).await
    } else {
        Ok(())
    }
}

async fn replace_links(
    mutation: &mut Mutation,
    key_id: &str,
    permissions: Option<Vec<String>>,
    roles: Option<Vec<String>>,
) -> Result<(), Error> {
    if let Some(slugs) = permissions {
        let permissions = permissions_by_slug(mutation, slugs).await?;
        keys::unlink_all_permissions(mutation.connection(), key_id).await?;
        let links: Vec<_> = permissions.iter().map(|permission| (key_id, permission.id.as_str())).collect();
        keys::link_permissions(mutation.connection(), &links).await?;
    }
    if let Some(names) = roles {
        let roles = roles_by_name(mutation, names).await?;
        keys::unlink_all_roles(mutation.connection(), key_id).await?;
        let links: Vec<_> = roles.iter().map(|role| (key_id, role.id.as_str())).collect();
        keys::link_roles(mutation.connection(), &links).await?;
    }
    Ok(())
}
