//! A root key that was revoked changes nothing from then on, whatever was already on its way: the store is asked
//! under the lock, since memory may not know yet.

use keyrack_core::caller::{Origin, Via};
use keyrack_core::changes::Mutation;
use keyrack_core::clock::Clock;
use keyrack_core::operations::apis::CreateApi;
use keyrack_core::operations::root_keys;
use keyrack_core::operations::workspace::{CreateWorkspace, UpdateWorkspace};
use keyrack_core::{Caller, Code, catalogue};
use serde_json::{Value, json};

use crate::{Database, Instance, on_both_engines};

on_both_engines!(
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
    match Mutation::begin(&instance.keyrack, caller).await {
        Ok(mutation) => {
            drop(mutation);
            None
        }
        Err(error) => Some(error.code()),
    }
}

async fn a_caller_whose_root_key_was_revoked_elsewhere_changes_nothing(database: Database) {
    let clock = Clock::standing_at(START);
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
    clock.set(START + 1001);
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
    let clock = Clock::standing_at(START);
    let here = database.set_up_at(clock.clone()).await;
    let mut transaction = here.keyrack.store().write().await.unwrap();
    let expires = START + 1000;
    sqlx::query("UPDATE root_keys SET expires_at = $1").bind(expires).execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
    let there = Instance { keyrack: database.open_at(clock).await, ..here.clone() };
    let refused = there.run::<CreateWorkspace>(json!({ "name": "staging" })).await.unwrap_err();
    assert_eq!(refused.code(), Code::InsufficientPermissions);
}
