//! `rootKeys.createKey`: nobody handles more than they hold.

use keyrack_test_harness::{Answer, Client, Server};
use serde_json::{Value, json};

use crate::fixture::{limited_client, new_api, new_key, now, verify_answer, workspace_id};
use crate::keyrack;

async fn create(client: &Client, members: Value) -> Answer {
    client.call("rootKeys.createKey", members).await
}

/// A client that may make root keys and holds these permissions besides.
async fn maker(server: &Server, permissions: &[&str]) -> Client {
    let write = format!("unkey:v1:{}:rootKeys/*#write", workspace_id(server).await);
    let all: Vec<&str> = permissions.iter().copied().chain([write.as_str()]).collect();
    limited_client(server, &all).await
}

async fn overview(client: &Client) -> Value {
    client.call("workspace.getOverview", json!({})).await.expect(200).data().clone()
}

#[tokio::test]
async fn a_root_key_has_the_documented_form_and_works_at_once() {
    let server = keyrack().await;
    let body = json!({"permissions": ["api.*.create_api"], "name": "deploy"});
    let created = create(&server, body).await.expect(200);
    let key = created.text_of("key");
    let encoded = key.strip_prefix("keyrack_").expect("the prefix");
    assert_eq!(encoded.len(), 38, "{key}");
    assert!(encoded.chars().all(|c| c.is_ascii_alphanumeric() && !"0OIl".contains(c)), "{key}");
    let client = server.with_key(&key);
    new_api(&client).await;
    let root_key = overview(&client).await["rootKey"].clone();
    let due = json!({"keyId": created.text_of("keyId"), "name": "deploy", "permissions": ["api.*.create_api"], "operator": false});
    assert_eq!(root_key, due);
}

#[tokio::test]
async fn a_caller_gives_what_it_covers_and_nothing_else() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let workspace = workspace_id(&server).await;
    let enclosing = format!("unkey:v1:{workspace}:keyspaces/**#verify_key");
    let client = maker(&server, &["api.*.read_key", "identity.*.read_identity", &enclosing]).await;
    let one_api = format!("api.{api}.read_key");
    let inner = format!("unkey:v1:{workspace}:keyspaces/ks_1/keys/*#verify_key");
    for covered in [
        json!([]),
        json!(["api.*.read_key"]),
        json!([one_api, "identity.*.read_identity"]),
        json!([inner, enclosing]),
    ] {
        create(&client, json!({"permissions": covered})).await.expect(200);
    }
    let whole = format!("unkey:v1:{workspace}:**#*");
    let other_action = format!("unkey:v1:{workspace}:keyspaces/ks_1/keys/*#read_key");
    for beyond in ["*", "api.*.update_key", "rbac.*.create_role", &whole, &other_action] {
        let answer = create(&client, json!({"permissions": ["api.*.read_key", beyond]})).await;
        assert_eq!((answer.status, beyond), (403, beyond), "{}", answer.text);
        answer.expect_error(403, "unkey/authorization/insufficient_permissions");
    }
}

#[tokio::test]
async fn a_grant_for_one_api_does_not_cover_all_of_them() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let own = format!("api.{api}.read_key");
    let client = maker(&server, &[&own]).await;
    create(&client, json!({"permissions": [own]})).await.expect(200);
    for beyond in ["api.*.read_key", "api.api_other.read_key"] {
        create(&client, json!({"permissions": [beyond]})).await.expect(403);
    }
}

#[tokio::test]
async fn unknown_permission_texts_are_refused() {
    let server = keyrack().await;
    let workspace = workspace_id(&server).await;
    for unknown in [
        "api.*.no_such_action",
        "api.read_key",
        "nonsense",
        "unkey:v1::x#y",
        "unkey:v2:ws:x#y",
        "unkey:v1:ws_elsewhere:keyspaces/ks_1/keys/*#verify_key",
        &format!("unkey:v1:{workspace}:keyspaces/**#read_kye"),
        &format!("unkey:v1:{workspace}:keyspace/**#read_key"),
        &format!("unkey:v1:{workspace}:keyspaces/*#read_key"),
        "*.*.*",
        "**",
        " ",
    ] {
        let answer = create(&server, json!({"permissions": ["api.*.read_key", unknown]})).await;
        assert_eq!(answer.status, 400, "{unknown:?}: {}", answer.text);
        answer.expect_error(400, "unkey/application/invalid_input");
    }
}

#[tokio::test]
async fn a_misspelt_grant_is_answered_with_the_right_one_and_permissions_are_listed_in_order() {
    let server = keyrack().await;
    let workspace = workspace_id(&server).await;
    let misspelt = format!("unkey:v1:{workspace}:keyspaces/**#read_kye");
    let refused = create(&server, json!({"permissions": ["api.*.read_key", misspelt]})).await;
    let refused = refused.expect_error(400, "unkey/application/invalid_input");
    let fault = &refused.body["error"]["errors"][0];
    assert_eq!(fault["location"], "body.permissions[1]");
    let right = format!("`unkey:v1:{workspace}:keyspaces/**#read_key`");
    assert!(fault["fix"].as_str().is_some_and(|fix| fix.contains(&right)), "{fault}");

    let permissions = json!(["ratelimit.*.limit", "api.*.verify_key", "api.*.read_key"]);
    let key = create(&server, json!({ "permissions": permissions })).await.expect(200);
    let ordered = json!(["api.*.read_key", "api.*.verify_key", "ratelimit.*.limit"]);
    assert_eq!(overview(&server.with_key(&key.text_of("key"))).await["rootKey"]["permissions"], ordered);
    let listed = server.call("rootKeys.listKeys", json!({})).await.expect(200);
    let listed =
        listed.data().as_array().expect("a list").iter().find(|item| item["keyId"] == key.data()["keyId"]);
    assert_eq!(listed.expect("the new key")["permissions"], ordered);
}

#[tokio::test]
async fn making_root_keys_needs_its_own_permission() {
    let server = keyrack().await;
    let client = limited_client(&server, &["api.*.read_key"]).await;
    let answer = create(&client, json!({"permissions": []})).await;
    answer.expect_error(403, "unkey/authorization/insufficient_permissions");
}

#[tokio::test]
async fn a_key_that_expires_makes_no_key_that_lives_longer() {
    let server = keyrack().await;
    let write = format!("unkey:v1:{}:rootKeys/*#write", workspace_id(&server).await);
    let limit = now() + 3_600_000;
    let body = json!({"permissions": [write], "expires": limit});
    let key = create(&server, body).await.expect(200).text_of("key");
    let client = server.with_key(&key);
    assert_eq!(overview(&client).await["rootKey"]["expires"], json!(limit));
    create(&client, json!({"permissions": [], "expires": limit})).await.expect(200);
    create(&client, json!({"permissions": [], "expires": limit - 1000})).await.expect(200);
    for beyond in [
        json!({"permissions": [], "expires": limit + 1}),
        json!({"permissions": []}),
        json!({"permissions": [], "expires": null}),
    ] {
        let answer = create(&client, beyond.clone()).await;
        assert_eq!(answer.status, 403, "{beyond}: {}", answer.text);
        answer.expect_error(403, "unkey/authorization/insufficient_permissions");
    }
}

#[tokio::test]
async fn a_root_key_cannot_be_born_expired() {
    let server = keyrack().await;
    for past in [0, 1, now() - 1000] {
        let answer = create(&server, json!({"permissions": [], "expires": past})).await;
        answer.expect_error(400, "unkey/application/invalid_input");
    }
}

#[tokio::test]
async fn an_expired_root_key_is_forbidden_and_says_when_it_expired() {
    let server = keyrack().await;
    let body = json!({"permissions": ["*"], "expires": now() + 700});
    let key = create(&server, body).await.expect(200).text_of("key");
    let client = server.with_key(&key);
    new_api(&client).await;
    tokio::time::sleep(std::time::Duration::from_millis(900)).await;
    let answer = client.call("apis.createApi", json!({"name": "late"})).await;
    let answer = answer.expect_error(403, "unkey/authorization/forbidden");
    assert!(answer.detail().contains('T') && answer.detail().contains("20"), "{}", answer.detail());
}

#[tokio::test]
async fn being_operator_is_never_handed_on() {
    let server = keyrack().await;
    assert_eq!(overview(&server).await["rootKey"]["operator"], true);
    let key = create(&server, json!({"permissions": ["*"]})).await.expect(200).text_of("key");
    let made = overview(&server.with_key(&key)).await;
    assert_eq!((&made["rootKey"]["operator"], &made["rootKey"]["permissions"]), (&json!(false), &json!(["*"])));
    let answer = create(&server, json!({"permissions": ["*"], "operator": true})).await;
    assert_eq!(answer.expect(400).locations(), ["body.operator"]);
}

#[tokio::test]
async fn the_whole_workspace_as_a_urn_is_full_access() {
    let server = keyrack().await;
    let whole = format!("unkey:v1:{}:**#*", workspace_id(&server).await);
    let client = limited_client(&server, &[&whole]).await;
    let api = new_api(&client).await;
    let key = new_key(&client, &api, json!({})).await;
    assert_eq!(verify_answer(&client, &key.key, json!({})).await.expect(200).data()["code"], "VALID");
    create(&client, json!({"permissions": ["*", "api.*.read_key"]})).await.expect(200);
}

#[tokio::test]
async fn wildcards_in_the_middle_of_a_tuple_are_literal() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let other = new_api(&server).await;
    let client = limited_client(&server, &[&format!("api.{other}.read_api")]).await;
    client.call("apis.getApi", json!({"apiId": other})).await.expect(200);
    let answer = client.call("apis.getApi", json!({"apiId": api})).await;
    let answer = answer.expect_error(403, "unkey/authorization/insufficient_permissions");
    let detail = answer.detail();
    assert!(detail.starts_with("Missing one of these permissions:"), "{detail}");
    assert!(detail.contains("api.*.read_api") && detail.contains(&format!("api.{api}.read_api")), "{detail}");
    assert!(!detail.contains(&other), "what the caller holds is revealed: {detail}");
}
