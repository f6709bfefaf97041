//! `keys.updateCredits`

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::rights::UPDATE_KEY;
use super::{about, locate, locate_for, recorded};
use crate::audit::{Changes, Event, Target};
use crate::authorization::Rule;
use crate::calendar::UnixMs;
use crate::catalogue::{About, Assistants, Consequences, Effect, Operation, Pin, Question, if_so};
use crate::changes::Mutation;
use crate::ids::KeyId;
use crate::operations::fields::KeyCredits;
use crate::reply::Reply;
use crate::store::credits::{self, Credits};
use crate::store::keys;
use crate::store::subject::Subject;
use crate::value::Patch;
use crate::{Caller, Code, Error, Keyrack};

/// Changes the balance of a key.
#[derive(Debug)]
pub struct UpdateCredits;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// The key.
    // Clients of the contract may send any text of that length here: what is no id is not found.
    #[schemars(with = "String", length(min = 3, max = 255))]
    key_id: KeyId,
    /// Credits to set, add or take; null with `set`: unlimited.
    #[serde(default)]
    #[schemars(range(min = 0, max = 9_223_372_036_854_775_807_i64))]
    value: Patch<i64>,
    /// What to do with the balance.
    operation: Change,
}

/// What is done with a balance.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Change {
    Set,
    Increment,
    Decrement,
}

/// What people are asked about before a key has no credits left.
pub(super) const SPENDS_ALL: &str = "Leaves the key no credits. It is refused until it has some again.";

impl Operation for UpdateCredits {
    const ABOUT: About = About {
        name: "keys.updateCredits",
        title: "Change a key's credits",
        summary: "Sets, adds to or takes from the balance of a key, exactly, whatever is being spent meanwhile.",
        description: "The answer holds the balance afterwards. `decrement` stops at 0 and `increment` at the largest \
                      64-bit integer. `set` with null or without a value makes the key unlimited and removes its \
                      refill; `set` with a number leaves the refill. An unlimited key has nothing to add to or \
                      take from: 400.",
        example: r#"{"keyId": "<keyId>", "operation": "increment", "value": 100}"#,
        rule: Rule::forbidding(UPDATE_KEY),
        effect: Effect::Write,
        idempotent: false,
        errors: &[Code::KeyNotFound],
        assistants: Assistants {
            hint: "increment and decrement need a value and a key with a balance.",
            pinned_by: Some(Pin::KeyId("keyId")),
            ..Assistants::DEFAULT
        },
        ..About::DEFAULT
    };

    const ASKS: bool = true;

    type Request = Request;
    type Response = KeyCredits;

    fn consequences(request: &Request, _: UnixMs) -> Consequences {
        let may_leave_none = matches!(
            (request.operation, request.value),
            (Change::Set, Patch::Value(0)) | (Change::Decrement, Patch::Value(_))
        );
        if_so([(SPENDS_ALL, may_leave_none)])
    }

    async fn question(
        keyrack: &Keyrack,
        caller: &Caller,
        request: &Request,
        mut consequences: Consequences,
    ) -> Result<Question, Error> {
        let (authorized, key, api) = locate_for::<Self>(keyrack, caller, &request.key_id).await?;
        let remaining = credits::find(&mut *keyrack.store().read().await?, &key.id).await?.remaining;
        consequences.retain(|_| remaining != Some(0) && request.leaves_none(remaining));
        let question = about(authorized.asking(consequences), &key, &api);
        Ok(question.text_if_any("credits", remaining.map(|credits| credits.to_string()).as_deref()))
    }

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<KeyCredits>, Error> {
        let (authorized, _, api) = locate_for::<Self>(keyrack, caller, &request.key_id).await?;
        let value = request.value.into_value();
        let mut mutation = keyrack.change(caller).await?;
        let (key, _) = locate(keyrack, mutation.connection(), caller, &request.key_id).await?;
        let before = credits::find(mutation.connection(), &key.id).await?;
        change(&mut mutation, &key.id, request.operation, value).await?;
        let now = mutation.now();
        keys::update(mutation.connection(), &key, now).await?;
        let credits = credits::find(mutation.connection(), &key.id).await?;
        let balance = credits.remaining.map_or_else(|| "unlimited".to_owned(), |remaining| remaining.to_string());
        let target = recorded::target(&mut mutation, &key).await?;
        let view = |credits: Credits| json!({ "credits": KeyCredits::from(credits) });
        mutation.record(
            Event::new("key.update", format!("Changed the credits of key {}; they are now {balance}", key.id))
                .on(Target::new("keySpace", &api.stored.key_space_id))
                .on(target)
                .changing(Changes::between(&view(before), &view(credits))),
        );
        mutation.touch(Subject::Key(key.id));
        mutation.commit().await?;
        Ok(authorized.reply(KeyCredits::from(credits)))
    }
}

impl Request {
    /// Whether it leaves nothing of a balance; a key without one has no end of credits.
    fn leaves_none(&self, remaining: Option<i64>) -> bool {
        let Patch::Value(value) = self.value else { return false };
        match self.operation {
            Change::Set => value == 0,
            Change::Increment => false,
            Change::Decrement => remaining.is_some_and(|remaining| remaining <= value),
        }
    }
}

async fn change(
    mutation: &mut Mutation,
    key_id: &str,
    operation: Change,
    value: Option<i64>,
) -> Result<(), Error> {
    mutation.settle_refill(key_id).await?;
    let today = mutation.calendar().today;
    let limited = match (operation, value) {
        (Change::Set, Some(value)) => {
            return credits::set_remaining(mutation.connection(), key_id, value, today).await;
        }
        (Change::Set, None) => {
            return credits::set(mutation.connection(), key_id, Credits::default(), today).await;
        }
        (Change::Increment, Some(value)) => credits::increment(mutation.connection(), key_id, value).await?,
        (Change::Decrement, Some(value)) => credits::decrement(mutation.connection(), key_id, value).await?,
        (Change::Increment | Change::Decrement, None) => {
            return Err(Error::invalid(
                "body.value",
                "`value` must be an integer when the operation is increment or decrement",
                "Send how many credits to add or to take, 0 or more.",
            ));
        }
    };
    if limited {
        return Ok(());
    }
    Err(Error::invalid(
        "body.operation",
        "the key has unlimited credits, so there is no balance to add to or to take from",
        "Give the key a balance first, with the operation `set` and a value.",
    ))
}
