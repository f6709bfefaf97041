//! `identities.createIdentity` and `identities.getIdentity`.

use serde_json::json;

use crate::fixture::{WINDOW, limited_client, new_api, new_identity, new_key, read_key};
use crate::keyrack;

#[tokio::test]
async fn an_identity_is_found_by_its_id_and_by_its_external_id() {
    let server = keyrack().await;
    let limit = json!({"name": "calls", "limit": 5, "duration": WINDOW, "autoApply": true});
    let members =
        json!({"meta": {"plan": "pro", "deep": {"n": 9_007_199_254_740_993_i64}}, "ratelimits": [limit]});
    let id = new_identity(&server, "user_1.a-b", members.clone()).await;
    let mut answers = Vec::new();
    for identity in [id.as_str(), "user_1.a-b"] {
        let answer = server.call("identities.getIdentity", json!({"identity": identity})).await;
        answers.push(answer.expect(200).data().clone());
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!((&answers[0]["id"], &answers[0]["meta"]), (&json!(id), &members["meta"]));
    let stored = &answers[0]["ratelimits"][0];
    assert!(stored["id"].as_str().is_some_and(|id| id.starts_with("rl_")), "{stored}");
    assert_eq!((&stored["limit"], &stored["autoApply"]), (&json!(5), &json!(true)));
}

#[tokio::test]
async fn empty_parts_are_left_out() {
    let server = keyrack().await;
    let id = new_identity(&server, "bare", json!({"meta": {}, "ratelimits": []})).await;
    let answer = server.call("identities.getIdentity", json!({"identity": "bare"})).await.expect(200);
    assert_eq!(answer.data(), &json!({"id": id, "externalId": "bare"}));
}

#[tokio::test]
async fn an_external_id_is_taken_once_and_case_matters() {
    let server = keyrack().await;
    new_identity(&server, "customer", json!({})).await;
    let answer = server.call("identities.createIdentity", json!({"externalId": "customer"})).await;
    let answer = answer.expect_error(409, "unkey/data/identity_already_exists");
    assert!(answer.detail().contains("customer"), "{}", answer.detail());
    new_identity(&server, "Customer", json!({})).await;
    let answer = server.call("identities.getIdentity", json!({"identity": "CUSTOMER"})).await;
    answer.expect_error(404, "unkey/data/identity_not_found");
}

#[tokio::test]
async fn an_id_wins_over_an_external_id_with_the_same_text() {
    let server = keyrack().await;
    let first = new_identity(&server, "first", json!({})).await;
    new_identity(&server, &first, json!({})).await;
    let answer = server.call("identities.getIdentity", json!({"identity": first})).await.expect(200);
    assert_eq!(answer.text_of("externalId"), "first");
}

#[tokio::test]
async fn nonsense_is_not_found_and_not_refused() {
    let server = keyrack().await;
    for identity in ["no such one", "%", "'; DROP TABLE identities; --", &"x".repeat(255)] {
        let answer = server.call("identities.getIdentity", json!({"identity": identity})).await;
        answer.expect_error(404, "unkey/data/identity_not_found");
    }
    let answer = server.call("identities.getIdentity", json!({"identity": "x".repeat(256)})).await;
    assert_eq!(answer.expect(400).locations(), ["body.identity"]);
}

#[tokio::test]
async fn unknown_members_are_tolerated_when_creating() {
    let server = keyrack().await;
    new_identity(&server, "customer", json!({"note": "from an older client"})).await;
}

#[tokio::test]
async fn of_duplicate_limit_names_the_last_wins() {
    let server = keyrack().await;
    let limit = |limit: u64| json!({"name": "calls", "limit": limit, "duration": WINDOW, "autoApply": false});
    new_identity(&server, "customer", json!({"ratelimits": [limit(1), limit(7)]})).await;
    let answer = server.call("identities.getIdentity", json!({"identity": "customer"})).await.expect(200);
    assert_eq!(answer.data()["ratelimits"].as_array().map(Vec::len), Some(1));
    assert_eq!(answer.data()["ratelimits"][0]["limit"], 7);
}

#[tokio::test]
async fn meta_above_a_mebibyte_is_refused_with_both_sizes() {
    let server = keyrack().await;
    let create = async |name: &str, length: usize| {
        let body = json!({"externalId": name, "meta": {"blob": "x".repeat(length)}});
        server.call("identities.createIdentity", body).await
    };
    create("fits", 1_048_000).await.expect(200);
    let answer = create("bursts", 1_048_576).await.expect_error(400, "unkey/application/invalid_input");
    assert!(answer.detail().contains("MB"), "{}", answer.detail());
}

#[tokio::test]
async fn keys_of_an_existing_identity_are_linked_to_it() {
    let server = keyrack().await;
    let id = new_identity(&server, "customer", json!({"meta": {"a": 1}})).await;
    let key = new_key(&server, &new_api(&server).await, json!({"externalId": "customer"})).await;
    let due = json!({"id": id, "externalId": "customer", "meta": {"a": 1}});
    assert_eq!(read_key(&server, &key).await["identity"], due);
}

#[tokio::test]
async fn an_unknown_identity_is_404_before_the_permission_is_asked() {
    let server = keyrack().await;
    new_identity(&server, "customer", json!({})).await;
    let other = limited_client(&server, &["identity.id_other123.read_identity"]).await;
    let answer = other.call("identities.getIdentity", json!({"identity": "nobody"})).await;
    answer.expect_error(404, "unkey/data/identity_not_found");
    let answer = other.call("identities.getIdentity", json!({"identity": "customer"})).await;
    answer.expect_error(403, "unkey/authorization/insufficient_permissions");
    // Who may read no identity at all is not told which there are.
    let stranger = limited_client(&server, &[]).await;
    for identity in ["nobody", "customer"] {
        let answer = stranger.call("identities.getIdentity", json!({"identity": identity})).await;
        answer.expect_error(403, "unkey/authorization/insufficient_permissions");
    }
}
