//! Counts stay exact however many callers there are at once, on both databases.

use std::collections::BTreeMap;
use std::future::Future;

use keyrack_test_harness::{Answer, Server};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::fixture::{WINDOW, new_api, new_key, read_key};
use crate::{keyrack, program};

/// Runs all calls at once and returns their answers.
pub(crate) async fn at_once<Call>(calls: impl IntoIterator<Item = Call>) -> Vec<Answer>
where
    Call: Future<Output = Answer> + Send + 'static,
{
    let tasks: JoinSet<Answer> = calls.into_iter().collect();
    tasks.join_all().await
}

pub(crate) fn call(
    server: &Server,
    operation: &'static str,
    body: Value,
) -> impl Future<Output = Answer> + Send + 'static {
    let client = server.client();
    async move { client.call(operation, body).await }
}

fn tally(answers: &[Answer], member: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for answer in answers {
        assert_eq!(answer.status, 200, "{}", answer.text);
        *counts.entry(answer.data()[member].to_string()).or_default() += 1;
    }
    counts
}

async fn exactly_as_many_as_credits(server: Server) {
    let key = new_key(&server, &new_api(&server).await, json!({"credits": {"remaining": 100}})).await;
    let answers = at_once((0..200).map(|_| call(&server, "keys.verifyKey", json!({"key": key.key})))).await;
    let due = BTreeMap::from([("\"USAGE_EXCEEDED\"".to_owned(), 100), ("\"VALID\"".to_owned(), 100)]);
    assert_eq!(tally(&answers, "code"), due);
    let valid = answers.iter().filter(|answer| answer.data()["valid"] == true);
    let mut left: Vec<i64> = valid.filter_map(|answer| answer.data()["credits"].as_i64()).collect();
    left.sort_unstable();
    assert_eq!(left, (0..100).collect::<Vec<i64>>(), "each balance is reported once");
    assert_eq!(read_key(&server, &key).await["credits"]["remaining"], 0);
}

#[tokio::test]
async fn two_hundred_verifications_of_a_hundred_credits_give_a_hundred_valid_on_sqlite() {
    exactly_as_many_as_credits(keyrack().await).await;
}

#[tokio::test]
async fn two_hundred_verifications_of_a_hundred_credits_give_a_hundred_valid_on_postgres() {
    exactly_as_many_as_credits(program().on_postgres().await.start().await).await;
}

#[tokio::test]
async fn credits_with_a_cost_are_never_overspent() {
    let server = keyrack().await;
    let key = new_key(&server, &new_api(&server).await, json!({"credits": {"remaining": 100}})).await;
    let body = json!({"key": key.key, "credits": {"cost": 7}});
    let answers = at_once((0..50).map(|_| call(&server, "keys.verifyKey", body.clone()))).await;
    assert_eq!(tally(&answers, "valid")["true"], 14);
    assert_eq!(read_key(&server, &key).await["credits"]["remaining"], 2);
}

#[tokio::test]
async fn five_hundred_calls_on_a_limit_of_a_hundred_admit_a_hundred() {
    let server = keyrack().await;
    let body = json!({"namespace": "email", "identifier": "user", "limit": 100, "duration": WINDOW});
    let answers = at_once((0..500).map(|_| call(&server, "ratelimit.limit", body.clone()))).await;
    let due = BTreeMap::from([("false".to_owned(), 400), ("true".to_owned(), 100)]);
    assert_eq!(tally(&answers, "success"), due);
    let overview = server.call("workspace.getOverview", json!({})).await.expect(200);
    assert_eq!(overview.data()["counts"]["namespaces"], 1, "the namespace was made once");
}

#[tokio::test]
async fn two_limits_of_a_key_are_counted_together_under_load() {
    let server = keyrack().await;
    let limit = |name: &str, limit: u64, duration: u64| json!({"name": name, "limit": limit, "duration": duration, "autoApply": true});
    let limits = json!([limit("small", 20, WINDOW), limit("large", 200, WINDOW - 1000)]);
    let key = new_key(&server, &new_api(&server).await, json!({"ratelimits": limits})).await;
    let answers = at_once((0..100).map(|_| call(&server, "keys.verifyKey", json!({"key": key.key})))).await;
    assert_eq!(tally(&answers, "valid")["true"], 20);
    let last = server.call("keys.verifyKey", json!({"key": key.key})).await;
    let large = last.data()["ratelimits"]
        .as_array()
        .and_then(|all| all.iter().find(|one| one["name"] == "large"))
        .cloned();
    assert_eq!(large.expect("the large limit")["remaining"], 180, "refusals leaked into the large limit");
}

async fn one_identity_for_all(server: Server) {
    let api = new_api(&server).await;
    let body = json!({"apiId": api, "externalId": "brand.new", "permissions": ["made.once", "made.twice"]});
    let answers = at_once((0..20).map(|_| call(&server, "keys.createKey", body.clone()))).await;
    let mut identities = std::collections::BTreeSet::new();
    for answer in answers {
        let id = answer.expect(200).text_of("keyId");
        let key = server.call("keys.getKey", json!({"keyId": id})).await.expect(200);
        identities.insert(key.data()["identity"]["id"].to_string());
        assert_eq!(key.data()["permissions"], json!(["made.once", "made.twice"]));
    }
    assert_eq!(identities.len(), 1);
}

#[tokio::test]
async fn twenty_keys_for_a_new_external_id_share_one_identity_on_sqlite() {
    one_identity_for_all(keyrack().await).await;
}

#[tokio::test]
async fn twenty_keys_for_a_new_external_id_share_one_identity_on_postgres() {
    one_identity_for_all(program().on_postgres().await.start().await).await;
}

async fn all_updates_succeed(server: Server) {
    let key = new_key(&server, &new_api(&server).await, json!({})).await;
    let body = |n: u64| {
        json!({
            "keyId": key.id, "externalId": "brand.new", "permissions": ["made", format!("p{n}")],
            "ratelimits": [{"name": "calls", "limit": n + 1, "duration": 60_000, "autoApply": true},
                           {"name": format!("n{n}x"), "limit": 1, "duration": 60_000, "autoApply": false}],
        })
    };
    for answer in at_once((0..10).map(|n| call(&server, "keys.updateKey", body(n)))).await {
        answer.expect(200);
    }
    let stored = read_key(&server, &key).await;
    assert_eq!(stored["ratelimits"].as_array().map(Vec::len), Some(2), "one update won whole: {stored}");
    assert_eq!(stored["permissions"].as_array().map(Vec::len), Some(2), "one update won whole: {stored}");
}

#[tokio::test]
async fn ten_updates_of_one_key_all_succeed_on_sqlite() {
    all_updates_succeed(keyrack().await).await;
}

#[tokio::test]
async fn ten_updates_of_one_key_all_succeed_on_postgres() {
    all_updates_succeed(program().on_postgres().await.start().await).await;
}

#[tokio::test]
async fn of_ten_creations_of_one_name_one_succeeds() {
    let server = keyrack().await;
    for (operation, body) in [
        ("permissions.createPermission", json!({"name": "n", "slug": "same"})),
        ("permissions.createRole", json!({"name": "same"})),
        ("identities.createIdentity", json!({"externalId": "same"})),
    ] {
        let answers = at_once((0..10).map(|_| call(&server, operation, body.clone()))).await;
        let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409, 409, 409, 409, 409, 409, 409, 409, 409], "{operation}");
    }
}
