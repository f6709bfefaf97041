//! `identities.updateIdentity`, `identities.deleteIdentity`, and who may list identities.

use keyrack_test_harness::{Answer, Server};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::fixture::{
    NewKey, WINDOW, limited_client, merged, new_api, new_identity, new_key, read_key, verify, verify_answer,
};
use crate::keyrack;

fn limit(name: &str, limit: u64) -> Value {
    json!({"name": name, "limit": limit, "duration": WINDOW, "autoApply": true})
}

async fn update(server: &Server, members: Value) -> Answer {
    server.call("identities.updateIdentity", merged(json!({"identity": "customer"}), members)).await
}

async fn delete(server: &Server, identity: &str) -> Answer {
    server.call("identities.deleteIdentity", json!({"identity": identity})).await
}

async fn read(server: &Server) -> Value {
    let answer = server.call("identities.getIdentity", json!({"identity": "customer"})).await;
    answer.expect(200).data().clone()
}

async fn key_of_the_customer(server: &Server) -> NewKey {
    new_key(server, &new_api(server).await, json!({"externalId": "customer"})).await
}

#[tokio::test]
async fn absent_members_stay_and_given_ones_replace_the_whole() {
    let server = keyrack().await;
    let members = json!({"meta": {"a": 1, "b": {"c": 2}}, "ratelimits": [limit("calls", 5)]});
    let id = new_identity(&server, "customer", members).await;
    let before = read(&server).await;
    let answer = update(&server, json!({})).await.expect(200);
    assert_eq!((answer.data(), &read(&server).await), (&before, &before), "the stored meta is answered");
    let answer = update(&server, json!({"meta": {"b": 9_007_199_254_740_993_i64}})).await.expect(200);
    assert_eq!(answer.data()["meta"], json!({"b": 9_007_199_254_740_993_i64}));
    assert_eq!(answer.data()["ratelimits"], before["ratelimits"]);
    let answer = update(&server, json!({"meta": {}, "ratelimits": []})).await.expect(200);
    assert_eq!(answer.data(), &json!({"id": id, "externalId": "customer"}));
    assert_eq!(&read(&server).await, answer.data());
    let by_id = server.call("identities.updateIdentity", json!({"identity": id, "meta": {"x": 1}})).await;
    assert_eq!(by_id.expect(200).data()["meta"], json!({"x": 1}));
}

#[tokio::test]
async fn limits_are_replaced_by_name_and_those_that_stay_keep_their_ids() {
    let server = keyrack().await;
    let members = json!({"ratelimits": [limit("kept", 1), limit("gone", 1)]});
    new_identity(&server, "customer", members).await;
    let stored = read(&server).await;
    let kept = stored["ratelimits"].as_array().and_then(|all| all.iter().find(|one| one["name"] == "kept"));
    let kept = kept.expect("it is there")["id"].clone();
    let wanted = json!({"ratelimits": [limit("other", 3), limit("kept", 2), limit("also", 4)]});
    let answer = update(&server, wanted).await.expect(200);
    let limits = answer.data()["ratelimits"].as_array().expect("limits").clone();
    let named: Vec<_> =
        limits.iter().map(|one| (one["name"].as_str().unwrap_or_default(), &one["limit"])).collect();
    assert_eq!(named, [("also", &json!(4)), ("kept", &json!(2)), ("other", &json!(3))], "by name");
    assert_eq!(limits[1]["id"], kept);
    assert_eq!(&read(&server).await, answer.data());
}

#[tokio::test]
async fn permission_then_names_then_size_then_existence_is_checked() {
    let server = keyrack().await;
    let blob = json!({"blob": "x".repeat(1_048_576)});
    let twice = json!([limit("calls", 1), limit("other", 1), limit("calls", 2)]);
    let nobody = |members: Value| merged(json!({"identity": "nobody"}), members);
    let all = nobody(json!({"meta": blob, "ratelimits": twice}));
    let stranger = limited_client(&server, &["identity.*.read_identity"]).await;
    // Of who may not do it no large body is read.
    let answer = stranger.call("identities.updateIdentity", nobody(json!({"ratelimits": twice}))).await;
    answer.expect_error(403, "unkey/authorization/insufficient_permissions");
    let answer = server.call("identities.updateIdentity", all).await;
    let answer = answer.expect_error(400, "unkey/application/invalid_input");
    assert_eq!(answer.locations(), ["body.ratelimits[2].name"]);
    assert!(answer.detail().contains("calls"), "{}", answer.detail());
    let answer = server.call("identities.updateIdentity", nobody(json!({"meta": blob}))).await;
    let answer = answer.expect_error(400, "unkey/application/invalid_input");
    assert_eq!(answer.locations(), ["body.meta"]);
    let answer = server.call("identities.updateIdentity", nobody(json!({}))).await;
    answer.expect_error(404, "unkey/data/identity_not_found");
    let answer = stranger.call("identities.deleteIdentity", nobody(json!({}))).await;
    answer.expect_error(403, "unkey/authorization/insufficient_permissions");
    delete(&server, "nobody").await.expect_error(404, "unkey/data/identity_not_found");
}

#[tokio::test]
async fn the_very_next_verification_sees_what_changed() {
    let server = keyrack().await;
    new_identity(&server, "customer", json!({"ratelimits": [limit("calls", 5)]})).await;
    let key = key_of_the_customer(&server).await;
    let data = verify(&server, &key, json!({})).await;
    assert_eq!(data["ratelimits"][0]["remaining"], 4);
    update(&server, json!({"meta": {"plan": "pro"}, "ratelimits": [limit("calls", 3)]})).await.expect(200);
    let data = verify(&server, &key, json!({})).await;
    assert_eq!(data["identity"]["meta"], json!({"plan": "pro"}));
    assert_eq!((&data["ratelimits"][0]["limit"], &data["ratelimits"][0]["remaining"]), (&json!(3), &json!(1)));
    update(&server, json!({"ratelimits": []})).await.expect(200);
    assert_eq!(verify(&server, &key, json!({})).await.get("ratelimits"), None);
}

#[tokio::test]
async fn keys_of_a_deleted_identity_stay_valid_and_belong_to_nobody() {
    let server = keyrack().await;
    let id = new_identity(&server, "customer", json!({"ratelimits": [limit("calls", 1)]})).await;
    let key = key_of_the_customer(&server).await;
    verify(&server, &key, json!({})).await;
    assert_eq!(verify(&server, &key, json!({})).await["code"], "RATE_LIMITED");
    let answer = delete(&server, "customer").await.expect(200);
    assert_eq!(answer.body.as_object().map(serde_json::Map::len), Some(1), "meta only: {}", answer.text);
    let data = verify(&server, &key, json!({})).await;
    assert_eq!((&data["code"], data.get("identity"), data.get("ratelimits")), (&json!("VALID"), None, None));
    assert_eq!(read_key(&server, &key).await.get("identity"), None);
    let answer = verify_answer(&server, &key.key, json!({"ratelimits": [{"name": "calls"}]})).await;
    answer.expect_error(412, "unkey/application/precondition_failed");
    for identity in ["customer", &id] {
        delete(&server, identity).await.expect_error(404, "unkey/data/identity_not_found");
        let answer = server.call("identities.getIdentity", json!({"identity": identity})).await;
        answer.expect_error(404, "unkey/data/identity_not_found");
        let answer = server.call("identities.updateIdentity", json!({"identity": identity})).await;
        answer.expect_error(404, "unkey/data/identity_not_found");
    }
    let listed = server.call("identities.listIdentities", json!({})).await.expect(200);
    assert_eq!(listed.data(), &json!([]));
}

#[tokio::test]
async fn an_external_id_that_is_free_again_makes_a_new_identity_without_the_old_keys() {
    let server = keyrack().await;
    let first = new_identity(&server, "customer", json!({"ratelimits": [limit("calls", 1)]})).await;
    let old = key_of_the_customer(&server).await;
    verify(&server, &old, json!({})).await;
    for _ in 0..2 {
        delete(&server, "customer").await.expect(200);
        let again = new_identity(&server, "customer", json!({"ratelimits": [limit("calls", 1)]})).await;
        assert_ne!(again, first);
    }
    assert_eq!(read_key(&server, &old).await.get("identity"), None);
    assert_eq!(verify(&server, &old, json!({})).await["code"], "VALID");
    let new = key_of_the_customer(&server).await;
    assert_eq!(verify(&server, &new, json!({})).await["code"], "VALID", "the count is fresh");
    delete(&server, "customer").await.expect(200);
    key_of_the_customer(&server).await;
    let revived = read(&server).await;
    assert!(revived.get("ratelimits").is_none(), "creating a key makes a bare identity: {revived}");
}

async fn all_succeed(calls: impl IntoIterator<Item = (keyrack_test_harness::Client, Value)>) {
    let mut tasks = JoinSet::new();
    for (client, body) in calls {
        tasks.spawn(async move { client.call("identities.updateIdentity", body).await });
    }
    for answer in tasks.join_all().await {
        answer.expect(200);
    }
}

#[tokio::test]
async fn parallel_updates_all_succeed_and_one_of_them_is_left() {
    let server = keyrack().await;
    new_identity(&server, "customer", json!({})).await;
    let body = |n: u64| {
        let limits = json!([limit("calls", n + 1), limit(&format!("own{n}"), n + 1)]);
        json!({"identity": "customer", "ratelimits": limits})
    };
    all_succeed((0..10).map(|n| (server.client(), body(n)))).await;
    let stored = read(&server).await;
    let limits = stored["ratelimits"].as_array().expect("limits");
    assert_eq!(limits.len(), 2, "{stored}");
    assert_eq!(limits[0]["limit"], limits[1]["limit"], "{stored}");
    for n in 0..50 {
        new_identity(&server, &format!("user{n}"), json!({})).await;
    }
    for round in 0..3 {
        let one = |n: u64| json!({"identity": format!("user{n}"), "ratelimits": [limit("calls", n + round + 1)]});
        all_succeed((0..50).map(|n| (server.client(), one(n)))).await;
    }
}

#[tokio::test]
async fn of_parallel_deletions_one_is_the_deletion() {
    let server = keyrack().await;
    new_identity(&server, "customer", json!({})).await;
    let mut tasks = JoinSet::new();
    for _ in 0..5 {
        let client = server.client();
        tasks.spawn(async move {
            client.call("identities.deleteIdentity", json!({"identity": "customer"})).await.status
        });
    }
    let mut statuses = tasks.join_all().await;
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 404, 404, 404, 404]);
}

#[tokio::test]
async fn one_identity_that_may_not_be_read_refuses_the_whole_page_and_no_identity_refuses_none() {
    let server = keyrack().await;
    let other = limited_client(&server, &["identity.id_other123.read_identity"]).await;
    let empty = other.call("identities.listIdentities", json!({})).await.expect(200);
    assert_eq!(empty.data(), &json!([]));
    let mut ids = [new_identity(&server, "one", json!({})).await, new_identity(&server, "two", json!({})).await];
    ids.sort_unstable();
    let denied = |answer: Answer| answer.expect_error(403, "unkey/authorization/insufficient_permissions");
    denied(other.call("identities.listIdentities", json!({})).await);
    let grant = format!("identity.{}.read_identity", ids[0]);
    let narrow = limited_client(&server, &[&grant]).await;
    let answer = denied(narrow.call("identities.listIdentities", json!({})).await);
    assert!(answer.detail().starts_with("Missing one of these permissions:"), "{}", answer.detail());
    assert!(answer.detail().contains(&ids[1]), "{}", answer.detail());
    let page = narrow.call("identities.listIdentities", json!({"limit": 1})).await.expect(200);
    assert_eq!(page.data()[0]["id"], ids[0], "what is on the page decides");
    assert_eq!(page.body["pagination"]["cursor"], ids[1]);
    let found = narrow.call("identities.listIdentities", json!({"search": ids[0]})).await.expect(200);
    assert_eq!(found.data().as_array().map(Vec::len), Some(1));
}

/// Else whoever asks often enough knows every external id, letter by letter.
#[tokio::test]
async fn a_search_says_nothing_of_identities_that_may_not_be_read() {
    let server = keyrack().await;
    let mut answers = Vec::new();
    for is_there in [false, true] {
        if is_there {
            new_identity(&server, "alice@example.com", json!({})).await;
        }
        for (permissions, status) in [(&[][..], 403), (&["identity.id_other123.read_identity"], 200)] {
            let client = limited_client(&server, permissions).await;
            for search in ["alice", "nobody"] {
                let answer =
                    client.call("identities.listIdentities", json!({"search": search})).await.expect(status);
                let (data, page) = (&answer.body["data"], &answer.body["pagination"]);
                answers.push((is_there, json!([data, page, answer.body["error"]["detail"]])));
            }
        }
        let stranger = limited_client(&server, &[]).await;
        stranger.call("identities.listIdentities", json!({})).await.expect(403);
    }
    let of =
        |wanted: bool| answers.iter().filter(move |(is_there, _)| *is_there == wanted).map(|(_, answer)| answer);
    assert!(of(true).eq(of(false)), "{answers:#?}");
    let all = server.call("identities.listIdentities", json!({"search": "alice"})).await.expect(200);
    assert_eq!(all.data().as_array().map(Vec::len), Some(1));
}
