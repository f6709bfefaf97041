//! A root key that was revoked changes nothing from then on, whatever was already on its way: the store is asked
//! under the lock, since memory may not know yet.

use std::pin::Pin;

use keyrack_core::authorization::OnDenied;
use keyrack_core::calendar::UnixMs;
use keyrack_core::caller::{Origin, Via};
use keyrack_core::catalogue::{About, Operation, Visitor};
use keyrack_core::clock::Clock;
use keyrack_core::docs::{PLACEHOLDERS, Placeholder};
use keyrack_core::operations::apis::CreateApi;
use keyrack_core::operations::root_keys;
use keyrack_core::operations::workspace::{CreateWorkspace, UpdateWorkspace};
use keyrack_core::{Caller, Code, Error, Keyrack, catalogue, operations};
use serde_json::{Value, json};

use crate::{Database, Instance, on_both_engines};

on_both_engines!(
    nothing_is_read_for_a_caller_who_could_satisfy_no_rule_of_an_operation,
    a_caller_whose_root_key_was_revoked_elsewhere_changes_nothing,
    a_root_key_that_may_do_more_or_has_another_name_is_as_good_as_before,
    a_narrowed_operator_changes_no_other_workspace,
    an_operator_that_expires_makes_no_workspace_whose_root_key_does_not,
);

const START: i64 = 1_800_000_000_000;

async fn root_key(instance: &Instance, members: Value) -> (String, String) {
    let mut body = json!({ "permissions": ["api.*.create_api"] });
    body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    let made = instance.run::<root_keys::CreateKey>(body).await.unwrap();
    (made["keyId"].as_str().unwrap().to_owned(), made["key"].as_str().unwrap().to_owned())
}

fn caller(instance: &Instance, key: &str) -> Caller {
    instance.keyrack.authenticate(key, Origin::local(Via::Http)).unwrap()
}

async fn code(instance: &Instance, caller: &Caller) -> Option<Code> {
    match instance.keyrack.change(caller).await {
        Ok(mutation) => {
            drop(mutation);
            None
        }
        Err(error) => Some(error.code()),
    }
}

async fn a_caller_whose_root_key_was_revoked_elsewhere_changes_nothing(database: Database) {
    let clock = Clock::standing_at(UnixMs::new(START));
    let here = database.set_up_at(clock.clone()).await;
    let made = [
        root_key(&here, json!({})).await,
        root_key(&here, json!({})).await,
        root_key(&here, json!({})).await,
        root_key(&here, json!({ "expires": START + 1000 })).await,
    ];
    // It does not follow: the root keys are in its memory as they were.
    let there = Instance { keyrack: database.open_at(clock.clone()).await, ..here.clone() };
    let callers = made.each_ref().map(|(_, key)| caller(&there, key));
    for caller in &callers {
        assert_eq!(code(&there, caller).await, None, "before");
    }
    let [(deleted, _), (disabled, _), (narrowed, _), _] = &made;
    here.run::<root_keys::DeleteKey>(json!({ "keyId": deleted })).await.unwrap();
    here.run::<root_keys::UpdateKey>(json!({ "keyId": disabled, "enabled": false })).await.unwrap();
    let less = json!({ "keyId": narrowed, "permissions": ["api.*.read_api"] });
    here.run::<root_keys::UpdateKey>(less).await.unwrap();
    clock.set(UnixMs::new(START + 1001));
    let codes = [Code::RootKeyNotFound, Code::KeyDisabled, Code::ServiceUnavailable, Code::Forbidden];
    for (caller, expected) in callers.iter().zip(codes) {
        assert_eq!(code(&there, caller).await, Some(expected));
    }
    let name = json!({ "name": "made by a narrowed key" });
    let [_, _, narrowed, _] = callers;
    assert!(catalogue::run::<CreateApi>(&there.keyrack, narrowed, name).await.is_err());
    assert_eq!(crate::count(&here, "apis").await, 0);

    let of_workspace = caller(&there, &here.root_key);
    let mut transaction = here.keyrack.store().write().await.unwrap();
    sqlx::query("UPDATE workspaces SET enabled = 0").execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(code(&there, &of_workspace).await, Some(Code::WorkspaceDisabled));
}

async fn a_root_key_that_may_do_more_or_has_another_name_is_as_good_as_before(database: Database) {
    let here = database.set_up().await;
    let (id, key) = root_key(&here, json!({})).await;
    let there = here.other_process(&database).await;
    let caller = caller(&there, &key);
    let more = json!({ "keyId": id, "name": "renamed", "permissions": ["api.*.read_api", "api.*.create_api"] });
    here.run::<root_keys::UpdateKey>(more).await.unwrap();
    assert_eq!(code(&there, &caller).await, None);
}

async fn a_narrowed_operator_changes_no_other_workspace(database: Database) {
    let here = database.set_up().await;
    let made = here.run::<CreateWorkspace>(json!({ "name": "staging" })).await.unwrap();
    let there = here.other_process(&database).await;
    let operator = caller(&there, &here.root_key);
    let mut transaction = here.keyrack.store().write().await.unwrap();
    sqlx::query("UPDATE root_keys SET operator = 0").execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
    let body = json!({ "workspaceId": made["workspaceId"], "name": "renamed" });
    let refused = catalogue::run::<UpdateWorkspace>(&there.keyrack, operator, body).await;
    assert_eq!(refused.unwrap_err().code(), Code::ServiceUnavailable);
    let operator = caller(&there, &here.root_key);
    let refused = catalogue::run::<CreateWorkspace>(&there.keyrack, operator, json!({ "name": "third" })).await;
    assert_eq!(refused.unwrap_err().code(), Code::ServiceUnavailable);
    assert_eq!(crate::count(&here, "workspaces").await, 2);
}

async fn an_operator_that_expires_makes_no_workspace_whose_root_key_does_not(database: Database) {
    let clock = Clock::standing_at(UnixMs::new(START));
    let here = database.set_up_at(clock.clone()).await;
    let mut transaction = here.keyrack.store().write().await.unwrap();
    let expires = START + 1000;
    sqlx::query("UPDATE root_keys SET expires_at = $1").bind(expires).execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
    let there = Instance { keyrack: database.open_at(clock).await, ..here.clone() };
    let refused = there.run::<CreateWorkspace>(json!({ "name": "staging" })).await.unwrap_err();
    assert_eq!(refused.code(), Code::InsufficientPermissions);
}

/// Calls of every operation with its example, about things that nobody knows.
struct Calls<'a> {
    keyrack: &'a Keyrack,
    root_key: String,
    pending: Vec<(&'static About, Pending<'a>)>,
}

type Pending<'a> = Pin<Box<dyn Future<Output = Option<Error>> + 'a>>;

impl Visitor for Calls<'_> {
    fn operation<O: Operation>(&mut self) {
        let about = const { &O::ABOUT };
        let unknown = |text: &str, placeholder: &Placeholder| match placeholder.mark {
            // Its digest, as the form of a migration has it, is looked at before the migration is.
            "<newKeyHash>" => text.replace(placeholder.mark, &"0".repeat(64)),
            _ => text.replace(placeholder.mark, "unknown_123"),
        };
        let example = PLACEHOLDERS.iter().fold(about.example.to_owned(), |text, known| unknown(&text, known));
        let request = keyrack_core::json::read(example.as_bytes()).unwrap();
        let (keyrack, root_key) = (self.keyrack, self.root_key.clone());
        let call = async move {
            let caller = keyrack.authenticate(&root_key, Origin::local(Via::Http)).unwrap();
            catalogue::run::<O>(keyrack, caller, request).await.err()
        };
        self.pending.push((about, Box::pin(call)));
    }
}

/// What every operation answers to a root key.
async fn refusals(instance: &Instance, root_key: &str) -> Vec<(&'static About, Option<Error>)> {
    let mut calls = Calls { keyrack: &instance.keyrack, root_key: root_key.to_owned(), pending: Vec::new() };
    operations::each(&mut calls);
    let mut answers = Vec::new();
    for (about, call) in calls.pending {
        answers.push((about, call.await));
    }
    answers
}

/// The store is closed: whoever asks it anything, or follows its changes, is answered that it is away.
async fn nothing_is_read_for_a_caller_who_could_satisfy_no_rule_of_an_operation(database: Database) {
    let here = database.set_up().await;
    let (_, nothing) = root_key(&here, json!({ "permissions": [] })).await;
    here.keyrack.store().close().await;
    let (mut masked, mut forbidden) = (0, 0);
    for (about, error) in refusals(&here, &nothing).await {
        if !about.rule.asks() {
            continue;
        }
        let code = error.as_ref().map(Error::code);
        match about.rule.on_denied {
            OnDenied::Masked(expected) => {
                masked += 1;
                assert_eq!(code, Some(expected), "{}", about.name);
            }
            OnDenied::Forbidden => {
                forbidden += 1;
                assert_eq!(code, Some(Code::InsufficientPermissions), "{}", about.name);
            }
            OnDenied::Verdict => assert_eq!(code, None, "{}", about.name),
        }
    }
    assert!(masked >= 4 && forbidden > 40, "{masked}, {forbidden}");
    let asked = refusals(&here, &here.root_key).await.into_iter();
    let away =
        asked.filter(|(_, error)| error.as_ref().is_some_and(|error| error.code() == Code::ServiceUnavailable));
    let away: Vec<&str> = away.map(|(about, _)| about.name).collect();
    assert!(away.len() > 45, "who may do all does ask the store: {away:?}");
}
