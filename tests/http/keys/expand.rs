//! `expand`: what is answered of keys and APIs on request, and that nothing else is without.

use keyrack_test_harness::{Client, Server};
use serde_json::{Value, json};

use super::migrate::new_migration;
use crate::changes::able_program;
use crate::fixture::{limited_client, merged, new_api, new_key, now, read_key, verify};
use crate::keyrack;

async fn ask(client: &Client, operation: &str, body: Value) -> Value {
    client.call(operation, body).await.expect(200).data().clone()
}

/// The names of the members of an answer, in their order.
async fn members(server: &Server, operation: &str, body: Value) -> Vec<String> {
    let data = ask(server, operation, body).await;
    data.as_object().expect("an object").keys().cloned().collect()
}

#[tokio::test]
async fn without_expand_an_answer_is_what_it_was() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let key = new_key(&server, &api, json!({"permissions": ["a"], "externalId": "ann"})).await;
    assert_eq!(members(&server, "apis.getApi", json!({"apiId": api})).await, ["id", "name"]);
    let due = ["createdAt", "enabled", "identity", "keyId", "permissions", "start"];
    for (operation, body) in [("keys.getKey", json!({"keyId": key.id})), ("keys.whoami", json!({"key": key.key}))]
    {
        let answer = server.call(operation, body.clone()).await.expect(200);
        let mut shown: Vec<&String> = answer.data().as_object().expect("an object").keys().collect();
        shown.sort_unstable();
        assert_eq!(shown, due, "{operation}");
        let none = server.call(operation, merged(body, json!({"expand": []}))).await.expect(200);
        assert_eq!(none.data(), answer.data());
    }
    for (operation, body) in [
        ("apis.getApi", json!({"apiId": api, "expand": ["grants"]})),
        ("keys.getKey", json!({"keyId": key.id, "expand": ["settings"]})),
        ("identities.getIdentity", json!({"identity": "ann", "expand": ["keys"]})),
        ("identities.listIdentities", json!({"expand": ["usage"]})),
    ] {
        let answer = server.call(operation, body).await.expect(400);
        assert!(answer.text.contains("expand[0]"), "{}", answer.text);
    }
}

#[tokio::test]
async fn a_key_says_of_which_api_it_is_and_what_it_holds_through_what() {
    let server = able_program().await.start().await;
    let api = new_api(&server).await;
    server.call("apis.updateApi", json!({"apiId": api, "storeEncryptedKeys": true})).await.expect(200);
    for (role, permissions) in [("reader", json!(["a", "c"])), ("editor", json!(["c"]))] {
        let made = json!({"name": role, "permissions": permissions});
        server.call("permissions.createRole", made).await.expect(200);
    }
    let members = json!({"permissions": ["b", "a"], "roles": ["reader", "editor"], "recoverable": true});
    let key = new_key(&server, &api, members).await;
    let space = verify(&server, &key, json!({})).await["keyspaceId"].clone();
    let belonging = json!({"apiId": api, "keyspaceId": space, "recoverable": true, "waiting": false});
    let grants = json!({"grants": [
        {"slug": "a", "direct": true, "roles": ["reader"]},
        {"slug": "b", "direct": true, "roles": []},
        {"slug": "c", "direct": false, "roles": ["editor", "reader"]},
    ]});
    let plain = read_key(&server, &key).await;
    for (operation, named) in [("keys.getKey", json!({"keyId": key.id})), ("keys.whoami", json!({"key": key.key}))]
    {
        let expanded =
            async |expand: Value| ask(&server, operation, merged(named.clone(), json!({"expand": expand}))).await;
        assert_eq!(expanded(json!(["api"])).await, merged(plain.clone(), belonging.clone()), "{operation}");
        assert_eq!(expanded(json!(["grants"])).await, merged(plain.clone(), grants.clone()), "{operation}");
        let both = merged(merged(plain.clone(), belonging.clone()), grants.clone());
        assert_eq!(expanded(json!(["grants", "api"])).await, both);
    }
    let shown = ask(&server, "keys.getKey", json!({"keyId": key.id, "expand": ["api"], "decrypt": true})).await;
    assert_eq!((&shown["plaintext"], &shown["apiId"]), (&json!(key.key), &json!(api)));
    let bare = new_key(&server, &api, json!({})).await;
    let bare = ask(&server, "keys.getKey", json!({"keyId": bare.id, "expand": ["grants", "api"]})).await;
    assert_eq!((&bare["grants"], &bare["recoverable"]), (&json!([]), &json!(false)));
}

#[tokio::test]
async fn an_imported_key_waits_until_it_was_used() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let migration = new_migration(&server, "sha256");
    let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let import = json!({"apiId": api, "migrationId": migration, "keys": [{"hash": hash}]});
    let imported = ask(&server, "keys.migrateKeys", import).await;
    let id = imported["migrated"][0]["keyId"].as_str().expect("an id");
    let waiting =
        async || ask(&server, "keys.getKey", json!({"keyId": id, "expand": ["api"]})).await["waiting"].clone();
    assert_eq!(waiting().await, true);
    let listed = ask(&server, "keys.listKeys", json!({"waiting": true})).await;
    assert_eq!(listed[0]["keyId"], id);
    let explained = ask(&server, "keys.explainKey", json!({"keyId": id})).await;
    assert_eq!(explained["verdict"], "VALID", "such a key is known by its whole hash");
    server.call("keys.verifyKey", json!({"key": "abc"})).await.expect(200);
    assert_eq!(waiting().await, false);
}

#[tokio::test]
async fn a_key_that_is_known_by_a_part_of_its_text_says_what_its_first_verification_has_to_name() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let migration = new_migration(&server, "github.com/seamapi/prefixed-api-key");
    let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let import = json!({"apiId": api, "migrationId": migration, "keys": [{"hash": hash}]});
    let imported = ask(&server, "keys.migrateKeys", import).await;
    let id = imported["migrated"][0]["keyId"].as_str().expect("an id");
    let explained = ask(&server, "keys.explainKey", json!({"keyId": id})).await;
    assert_eq!((&explained["verdict"], &explained["apiId"]), (&json!("NOT_FOUND"), &json!(api)));
    let fix = explained["checks"][0]["fix"].as_str().expect("a text");
    assert!(fix.contains(&migration) && fix.contains("`migrationId`"), "{fix}");
    let sent = json!({"key": "acme_short_abc", "migrationId": migration});
    assert_eq!(ask(&server, "keys.verifyKey", sent).await["code"], "VALID");
    assert_eq!(ask(&server, "keys.explainKey", json!({"keyId": id})).await["verdict"], "VALID");
}

#[tokio::test]
async fn an_api_shows_what_can_be_set_and_how_many_keys_it_has() {
    let server = keyrack().await;
    let before = now();
    let (api, other) = (new_api(&server).await, new_api(&server).await);
    let expanded =
        async |expand: Value| ask(&server, "apis.getApi", json!({"apiId": api, "expand": expand})).await;
    let settings = expanded(json!(["settings"])).await;
    let created = settings["createdAt"].as_i64().expect("a time");
    assert!((before..=now()).contains(&created), "{created}");
    let space = settings["keySpaceId"].as_str().expect("an id");
    let due = json!({
        "id": api, "name": "payments", "keySpaceId": space, "createdAt": created, "deleteProtection": false,
        "ipWhitelist": [], "storeEncryptedKeys": false,
    });
    assert_eq!(settings, due);
    let set = json!({
        "apiId": api, "deleteProtection": true, "ipWhitelist": ["203.0.113.9", "2001:db8::/32"], "storeEncryptedKeys": true,
        "defaultPrefix": "acme", "defaultBytes": 24,
    });
    server.call("apis.updateApi", set.clone()).await.expect(200);
    let shown = expanded(json!(["settings"])).await;
    for (member, value) in set.as_object().expect("an object").iter().filter(|(member, _)| *member != "apiId") {
        assert_eq!(&shown[member], value, "{member}");
    }
    let (kept, gone) = (new_key(&server, &api, json!({})).await, new_key(&server, &api, json!({})).await);
    new_key(&server, &other, json!({})).await;
    assert_eq!(expanded(json!(["counts"])).await, json!({"id": api, "name": "payments", "keys": 2}));
    server.call("keys.deleteKey", json!({"keyId": gone.id})).await.expect(200);
    assert_eq!(expanded(json!(["counts", "settings"])).await["keys"], 1);
    let listed = ask(&server, "apis.listApis", json!({})).await;
    let item = listed.as_array().expect("a list").iter().find(|item| item["id"] == *api).expect("the API");
    let due = json!({
        "id": api, "name": "payments", "deleteProtection": true, "keySpaceId": space, "createdAt": created, "keys": 1,
    });
    assert_eq!(item, &due);
    let narrow = limited_client(&server, &[&format!("api.{other}.read_api")]).await;
    narrow.call("apis.getApi", json!({"apiId": api, "expand": ["counts"]})).await.expect(403);
    assert_eq!(
        ask(&server, "keys.getKey", json!({"keyId": kept.id, "expand": ["api"]})).await["keyspaceId"],
        space
    );
}
