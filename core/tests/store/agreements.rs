//! Agreements to calls: each is good for one call of one root key, for a while, as long as what was asked about is so.

use keyrack_core::calendar::UnixMs;
use keyrack_core::caller::{Origin, Via};
use keyrack_core::catalogue::{Fact, Question};
use keyrack_core::clock::Clock;
use keyrack_core::confirmations::{ASKED_MS, Call, HELD_MS, Held, Void, agree, ask, decide, hold};
use keyrack_core::root_keys::NewRootKey;
use keyrack_core::{Caller, setup};
use serde_json::{Value, json};

use crate::{Database, Instance, on_both_engines};

on_both_engines!(
    an_agreement_is_good_once_for_one_call_and_for_five_minutes,
    a_held_call_is_decided_within_a_day_and_made_within_another,
);

const START: i64 = 1_000_000;

fn caller(instance: &Instance, root_key: &str) -> Caller {
    instance.keyrack.authenticate(root_key, Origin::local(Via::Mcp)).unwrap()
}

async fn another_root_key(instance: &Instance) -> String {
    let new = NewRootKey { name: None, permissions: vec!["*".to_owned()], operator: false, expires_at: None };
    let (_, secret) = setup::create_root_key(&instance.keyrack, &instance.workspace_id, new).await.unwrap();
    secret.expose().to_owned()
}

fn question(keys: i64) -> Question {
    Question { consequences: vec!["Deletes the API."], facts: vec![("keys", Fact::Count(keys))], typed: None }
}

async fn an_agreement_is_good_once_for_one_call_and_for_five_minutes(database: Database) {
    let clock = Clock::standing_at(UnixMs::new(START));
    let instance = database.set_up_at(clock.clone()).await;
    let keyrack = &instance.keyrack;
    let (own, other) = (caller(&instance, &instance.root_key), another_root_key(&instance).await);
    let other = caller(&instance, &other);
    let (request, question) = (json!({ "apiId": "api_1", "a": [1, 2] }), question(3));
    let call = Call { caller: &own, operation: "apis.deleteApi", request: &request, question: &question };
    let at = |after: i64| clock.set(UnixMs::new(START + after));
    let token = ask(keyrack, &call).await.unwrap();
    let (reordered, many): (Value, _) = (json!({ "a": [1, 2], "apiId": "api_1" }), self::question(300));
    let elsewhere = json!({ "apiId": "api_2", "a": [1, 2] });
    for (of, void) in [
        (Call { operation: "keys.deleteKey", ..call }, Void::OtherCall),
        (Call { request: &elsewhere, ..call }, Void::OtherCall),
        (Call { caller: &other, ..call }, Void::OtherCall),
        (Call { question: &many, ..call }, Void::Changed),
    ] {
        assert_eq!(agree(keyrack, &of, &token).await.unwrap(), Err(void), "{of:?}");
    }
    assert_eq!(agree(keyrack, &call, "ask_made_up").await.unwrap(), Err(Void::Unknown));
    at(ASKED_MS + 1);
    assert_eq!(agree(keyrack, &call, &token).await.unwrap(), Err(Void::Over));
    at(ASKED_MS);
    let reordered = Call { request: &reordered, ..call };
    assert_eq!(agree(keyrack, &reordered, &token).await.unwrap(), Ok(()), "what was void is good where it is not");
    assert_eq!(agree(keyrack, &call, &token).await.unwrap(), Err(Void::Spent));
    at(ASKED_MS + 1);
    assert_eq!(
        agree(keyrack, &call, &token).await.unwrap(),
        Err(Void::Spent),
        "what was acted on is not merely over"
    );
}

async fn a_held_call_is_decided_within_a_day_and_made_within_another(database: Database) {
    let clock = Clock::standing_at(UnixMs::new(START));
    let instance = database.set_up_at(clock.clone()).await;
    let keyrack = &instance.keyrack;
    let own = caller(&instance, &instance.root_key);
    let (request, question) = (json!({ "apiId": "api_1" }), question(3));
    let call = Call { caller: &own, operation: "apis.deleteApi", request: &request, question: &question };
    let at = |after: i64| clock.set(UnixMs::new(START + after));
    let Held::Waiting(first) = hold(keyrack, &call).await.unwrap() else { panic!("it waits") };
    at(HELD_MS + 1);
    assert!(decide(keyrack, &first, true).await.unwrap().is_none(), "its day is over");
    let Held::Waiting(second) = hold(keyrack, &call).await.unwrap() else { panic!("it waits anew") };
    assert_ne!(first, second);
    assert!(decide(keyrack, &second, true).await.unwrap().is_some());
    at(2 * (HELD_MS + 1));
    let Held::Waiting(third) = hold(keyrack, &call).await.unwrap() else { panic!("what was approved is over") };
    assert!(decide(keyrack, &third, true).await.unwrap().is_some());
    assert_eq!(hold(keyrack, &call).await.unwrap(), Held::Approved);
    assert!(matches!(hold(keyrack, &call).await.unwrap(), Held::Waiting(_)), "an approval is for one call");
}
