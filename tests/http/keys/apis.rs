//! `apis.createApi`, `getApi`, `listApis`, `updateApi`, `deleteApi`.

use serde_json::{Value, json};

use crate::fixture::{limited_client, new_api, new_key, verify};
use crate::keyrack;

#[tokio::test]
async fn an_api_reads_back_under_its_id_and_names_may_repeat() {
    let server = keyrack().await;
    for name in ["payments", "payments", "Zahlungen für alle 💶"] {
        let created = server.call("apis.createApi", json!({"name": name})).await.expect(200);
        let id = created.text_of("apiId");
        assert!(id.starts_with("api_"), "{id}");
        let read = server.call("apis.getApi", json!({"apiId": id})).await.expect(200);
        assert_eq!(read.data(), &json!({"id": id, "name": name}));
    }
}

#[tokio::test]
async fn names_are_counted_in_characters() {
    let server = keyrack().await;
    server.call("apis.createApi", json!({"name": "ü".repeat(256)})).await.expect(200);
    server.call("apis.createApi", json!({"name": "💶".repeat(257)})).await.expect(400);
    server.call("apis.createApi", json!({"name": "💶💶"})).await.expect(400);
}

#[tokio::test]
async fn deleting_an_api_hides_it_and_its_keys_and_happens_once() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let key = new_key(&server, &api, json!({})).await;
    let answer = server.call("apis.deleteApi", json!({"apiId": api})).await.expect(200);
    assert_eq!(answer.data(), &json!({}));
    for operation in ["apis.deleteApi", "apis.getApi", "apis.listKeys", "apis.updateApi", "keys.createKey"] {
        let answer = server.call(operation, json!({"apiId": api})).await;
        answer.expect_error(404, "unkey/data/api_not_found");
    }
    assert_eq!(verify(&server, &key, json!({})).await, json!({"valid": false, "code": "NOT_FOUND"}));
    server.call("keys.whoami", json!({"key": key.key})).await.expect_error(404, "unkey/data/key_not_found");
    let listed = server.call("apis.listApis", json!({})).await.expect(200);
    assert_eq!(listed.data(), &json!([]));
}

#[tokio::test]
async fn a_protected_api_is_not_deleted_until_the_protection_is_lifted() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let key = new_key(&server, &api, json!({})).await;
    let protect = async |on: bool| {
        let body = json!({"apiId": api, "deleteProtection": on});
        server.call("apis.updateApi", body).await.expect(200);
    };
    protect(true).await;
    let answer = server.call("apis.deleteApi", json!({"apiId": api})).await;
    answer.expect_error(412, "unkey/application/protected_resource");
    assert_eq!(verify(&server, &key, json!({})).await["code"], "VALID");
    server.call("keys.deleteKey", json!({"keyId": key.id})).await.expect(200);
    protect(false).await;
    server.call("apis.deleteApi", json!({"apiId": api})).await.expect(200);
}

#[tokio::test]
async fn an_update_of_an_api_changes_what_it_names() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let update = async |members: Value| {
        let body = crate::fixture::merged(json!({"apiId": api}), members);
        assert_eq!(server.call("apis.updateApi", body).await.expect(200).data(), &json!({}));
    };
    update(json!({"deleteProtection": true, "defaultPrefix": "acme"})).await;
    update(json!({"name": "renamed"})).await;
    let listed = server.call("apis.listApis", json!({})).await.expect(200);
    let item = &listed.data()[0];
    let due = (&json!(api), &json!("renamed"), &json!(true));
    assert_eq!((&item["id"], &item["name"], &item["deleteProtection"]), due);
    assert!(new_key(&server, &api, json!({})).await.key.starts_with("acme_"));
    update(json!({"defaultPrefix": null})).await;
    assert!(!new_key(&server, &api, json!({})).await.key.contains('_'));
    update(json!({})).await;
}

#[tokio::test]
async fn apis_are_listed_by_id_in_pages_and_found_by_name() {
    let server = keyrack().await;
    let mut ids = Vec::new();
    for name in ["Payments", "invoices", "100%_sure"] {
        let created = server.call("apis.createApi", json!({"name": name})).await.expect(200);
        ids.push(created.text_of("apiId"));
    }
    let sure = ids[2].clone();
    ids.sort();
    let first = server.call("apis.listApis", json!({"limit": 2})).await.expect(200);
    assert_eq!(first.body["pagination"], json!({"hasMore": true, "cursor": ids[2]}));
    assert_eq!((&first.data()[0]["id"], &first.data()[1]["id"]), (&json!(ids[0]), &json!(ids[1])));
    let last = server.call("apis.listApis", json!({"limit": 2, "cursor": ids[2]})).await.expect(200);
    assert_eq!((&last.data()[0]["id"], last.data().as_array().map(Vec::len)), (&json!(ids[2]), Some(1)));
    for (search, due) in [("PAY", 1), ("%", 1), ("_", 1), ("  ", 3), ("nothing like it", 0), (sure.as_str(), 1)] {
        let found = server.call("apis.listApis", json!({"search": search})).await.expect(200);
        let literal = found.data().as_array().map_or(0, Vec::len);
        // Ids hold underscores too.
        assert_eq!(literal, if search == "_" { 3 } else { due }, "search {search:?}: {}", found.text);
    }
}

#[tokio::test]
async fn only_apis_that_the_caller_may_read_are_listed() {
    let server = keyrack().await;
    let (mine, _other) = (new_api(&server).await, new_api(&server).await);
    let narrow = limited_client(&server, &[&format!("api.{mine}.read_api")]).await;
    let listed = narrow.call("apis.listApis", json!({})).await.expect(200);
    assert_eq!(listed.data().as_array().map(Vec::len), Some(1));
    assert_eq!(listed.data()[0]["id"], json!(mine));
    let blind = limited_client(&server, &["api.*.read_key"]).await;
    let listed = blind.call("apis.listApis", json!({})).await.expect(200);
    assert_eq!((listed.data(), &listed.body["pagination"]), (&json!([]), &json!({"hasMore": false})));
}

#[tokio::test]
async fn without_permission_every_id_is_403_and_with_it_an_unknown_one_is_404() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let stranger = limited_client(&server, &[]).await;
    for operation in ["apis.getApi", "apis.deleteApi", "apis.updateApi"] {
        for id in [api.as_str(), "api_unknown1"] {
            let answer = stranger.call(operation, json!({"apiId": id})).await;
            answer.expect_error(403, "unkey/authorization/insufficient_permissions");
        }
        let answer = server.call(operation, json!({"apiId": "api_unknown1"})).await;
        answer.expect_error(404, "unkey/data/api_not_found");
    }
}
