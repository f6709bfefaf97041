//! Permissions and roles of a key: add, remove, set (PR1 to PR14).

use keyrack_test_harness::{Client, Server};
use serde_json::{Value, json};

use crate::concurrency::{at_once, call};
use crate::fixture::{NewKey, limited_client, new_api, new_key, read_key, update_key, verify};
use crate::keyrack;

/// Runs an operation on the permissions of a key and returns the slugs that it answers.
async fn permissions(client: &Client, operation: &str, key: &NewKey, slugs: Value) -> Vec<String> {
    let body = json!({"keyId": key.id, "permissions": slugs});
    texts(client.call(operation, body).await.expect(200).data(), "slug")
}

/// Runs an operation on the roles of a key and returns the names that it answers.
async fn roles(client: &Client, operation: &str, key: &NewKey, names: Value) -> Vec<String> {
    let body = json!({"keyId": key.id, "roles": names});
    texts(client.call(operation, body).await.expect(200).data(), "name")
}

fn texts(list: &Value, member: &str) -> Vec<String> {
    let items = list.as_array().expect("a list").iter();
    items.map(|item| item[member].as_str().expect("a text").to_owned()).collect()
}

async fn new_role(server: &Server, name: &str, permissions: Value) -> String {
    let body = json!({"name": name, "description": "what it is for", "permissions": permissions});
    server.call("permissions.createRole", body).await.expect(200).text_of("roleId")
}

async fn key_with(server: &Server, members: Value) -> NewKey {
    new_key(server, &new_api(server).await, members).await
}

#[tokio::test]
async fn permissions_are_added_removed_and_set_and_the_next_verification_sees_it() {
    let server = keyrack().await;
    let key = key_with(&server, json!({"permissions": ["b"]})).await;
    let add = permissions(&server, "keys.addPermissions", &key, json!(["c", "a", "c", "b"])).await;
    assert_eq!(add, ["a", "b", "c"]);
    assert_eq!(verify(&server, &key, json!({"permissions": "a AND b AND c"})).await["code"], "VALID");
    let remove = permissions(&server, "keys.removePermissions", &key, json!(["a", "a"])).await;
    assert_eq!(remove, ["b", "c"]);
    let refused = verify(&server, &key, json!({"permissions": "a"})).await;
    assert_eq!(refused["code"], "INSUFFICIENT_PERMISSIONS");
    let set = permissions(&server, "keys.setPermissions", &key, json!(["d", "c"])).await;
    assert_eq!(set, ["c", "d"]);
    assert_eq!(verify(&server, &key, json!({})).await["permissions"], json!(["c", "d"]));
    assert!(permissions(&server, "keys.setPermissions", &key, json!([])).await.is_empty());
    assert_eq!(verify(&server, &key, json!({})).await.get("permissions"), None);
}

#[tokio::test]
async fn roles_are_added_removed_and_set_and_the_next_verification_sees_it() {
    let server = keyrack().await;
    for (name, slug) in [("one", "p.one"), ("two", "p.two"), ("three", "p.three")] {
        new_role(&server, name, json!([slug])).await;
    }
    let key = key_with(&server, json!({"roles": ["two"]})).await;
    assert_eq!(roles(&server, "keys.addRoles", &key, json!(["one", "one", "two"])).await, ["one", "two"]);
    assert_eq!(verify(&server, &key, json!({"permissions": "p.one AND p.two"})).await["code"], "VALID");
    assert_eq!(roles(&server, "keys.removeRoles", &key, json!(["two"])).await, ["one"]);
    let refused = verify(&server, &key, json!({"permissions": "p.two"})).await;
    assert_eq!(refused["code"], "INSUFFICIENT_PERMISSIONS");
    assert_eq!(roles(&server, "keys.setRoles", &key, json!(["two", "three"])).await, ["three", "two"]);
    assert_eq!(verify(&server, &key, json!({})).await["roles"], json!(["three", "two"]));
    assert!(roles(&server, "keys.setRoles", &key, json!([])).await.is_empty());
    assert_eq!(verify(&server, &key, json!({})).await.get("roles"), None);
}

#[tokio::test]
async fn answers_hold_whole_objects_and_only_what_the_key_holds_itself() {
    let server = keyrack().await;
    let body = json!({"name": "Read", "slug": "x.read", "description": "reads"});
    let id = server.call("permissions.createPermission", body).await.expect(200).text_of("permissionId");
    let role = new_role(&server, "admin", json!(["x.read", "a.new"])).await;
    let key = key_with(&server, json!({})).await;
    let answer = server.call("keys.addRoles", json!({"keyId": key.id, "roles": ["admin"]})).await.expect(200);
    let admin = &answer.data()[0];
    assert_eq!((&admin["id"], &admin["description"]), (&json!(role), &json!("what it is for")));
    assert_eq!(texts(&admin["permissions"], "slug"), ["a.new", "x.read"]);
    let due = json!({"id": id, "name": "Read", "slug": "x.read", "description": "reads"});
    assert_eq!(admin["permissions"][1], due);
    let body = json!({"keyId": key.id, "permissions": ["made.here"]});
    let answer = server.call("keys.addPermissions", body).await.expect(200);
    assert_eq!(texts(answer.data(), "slug"), ["made.here"], "not those of the role");
    assert_eq!(answer.data()[0]["name"], "made.here");
    assert_eq!(answer.data()[0].get("description"), None);
    assert_eq!(read_key(&server, &key).await["permissions"], json!(["a.new", "made.here", "x.read"]));
}

#[tokio::test]
async fn what_exists_and_is_not_attached_is_removed_silently_and_what_does_not_exist_changes_nothing() {
    let server = keyrack().await;
    new_role(&server, "held", json!(["held"])).await;
    new_role(&server, "other", json!(["other"])).await;
    let key = key_with(&server, json!({"permissions": ["held"], "roles": ["held"]})).await;
    assert_eq!(permissions(&server, "keys.removePermissions", &key, json!(["other"])).await, ["held"]);
    assert_eq!(roles(&server, "keys.removeRoles", &key, json!(["other"])).await, ["held"]);
    let before = read_key(&server, &key).await;
    let body = json!({"keyId": key.id, "permissions": ["held", "no.such"]});
    let answer = server.call("keys.removePermissions", body).await;
    let answer = answer.expect_error(404, "unkey/data/permission_not_found");
    assert!(answer.detail().contains("no.such"), "{}", answer.detail());
    for operation in ["keys.addRoles", "keys.removeRoles", "keys.setRoles"] {
        let body = json!({"keyId": key.id, "roles": ["other", "held", "no such"]});
        let answer = server.call(operation, body).await.expect_error(404, "unkey/data/role_not_found");
        assert!(answer.detail().contains("no such"), "{}", answer.detail());
    }
    assert_eq!(read_key(&server, &key).await, before);
}

#[tokio::test]
async fn ids_are_no_names() {
    let server = keyrack().await;
    let body = json!({"name": "n", "slug": "x.read"});
    let permission = server.call("permissions.createPermission", body).await.expect(200).text_of("permissionId");
    let role = new_role(&server, "admin", json!([])).await;
    let key = key_with(&server, json!({"permissions": ["x.read"], "roles": ["admin"]})).await;
    let body = json!({"keyId": key.id, "permissions": [permission]});
    server.call("keys.removePermissions", body).await.expect_error(404, "unkey/data/permission_not_found");
    let answer = server.call("keys.removeRoles", json!({"keyId": key.id, "roles": [role]})).await;
    answer.expect_error(404, "unkey/data/role_not_found");
    let added = permissions(&server, "keys.addPermissions", &key, json!([permission])).await;
    assert_eq!(added, [permission, "x.read".to_owned()], "an id is just another slug");
}

#[tokio::test]
async fn a_new_permission_needs_a_permission_to_create_it() {
    let server = keyrack().await;
    let key = key_with(&server, json!({"permissions": ["known"]})).await;
    let narrow = limited_client(
        &server,
        &["api.*.update_key", "rbac.*.add_permission_to_key", "rbac.*.remove_permission_from_key"],
    )
    .await;
    for operation in ["keys.addPermissions", "keys.setPermissions"] {
        let body = json!({"keyId": key.id, "permissions": ["known", "un.known"]});
        let answer = narrow.call(operation, body).await;
        let answer = answer.expect_error(403, "unkey/authorization/insufficient_permissions");
        assert!(answer.detail().contains("rbac.*.create_permission"), "{}", answer.detail());
        assert_eq!(permissions(&narrow, operation, &key, json!(["known"])).await, ["known"]);
    }
    let body = json!({"keyId": key.id, "permissions": ["un.known"]});
    let answer = server.call("keys.removePermissions", body).await;
    answer.expect_error(404, "unkey/data/permission_not_found");
    for (operation, creates) in
        [("keys.addPermissions", "rbac.*.create_permission"), ("keys.setPermissions", "rbac.*.create_permission")]
    {
        let wide = limited_client(
            &server,
            &["api.*.update_key", "rbac.*.add_permission_to_key", "rbac.*.remove_permission_from_key", creates],
        )
        .await;
        let slug = format!("made.by.{operation}");
        assert!(permissions(&wide, operation, &key, json!([slug])).await.contains(&slug));
    }
}

#[tokio::test]
async fn unknown_keys_are_404_before_anything_else() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let key = new_key(&server, &api, json!({})).await;
    server.call("apis.deleteApi", json!({"apiId": api})).await.expect(200);
    for operation in ["keys.addPermissions", "keys.setPermissions", "keys.removePermissions"] {
        for id in ["key_unknown", &key.id] {
            let answer = server.call(operation, json!({"keyId": id, "permissions": ["no.such"]})).await;
            answer.expect_error(404, "unkey/data/key_not_found");
        }
    }
    for operation in ["keys.addRoles", "keys.setRoles", "keys.removeRoles"] {
        for id in ["key_unknown", &key.id] {
            let answer = server.call(operation, json!({"keyId": id, "roles": ["no such"]})).await;
            answer.expect_error(404, "unkey/data/key_not_found");
        }
    }
}

#[tokio::test]
async fn ten_additions_at_once_are_all_there() {
    let server = keyrack().await;
    let key = key_with(&server, json!({})).await;
    for n in 0..10 {
        new_role(&server, &format!("role {n}"), json!([])).await;
    }
    let added = (0..10).map(|n| {
        let body = json!({"keyId": key.id, "roles": [format!("role {n}")]});
        call(&server, "keys.addRoles", body)
    });
    for answer in at_once(added.collect::<Vec<_>>()).await {
        answer.expect(200);
    }
    let overlapping = (0..10).map(|n| {
        let slugs = [format!("p{n}"), format!("p{}", n + 1), "all".to_owned()];
        call(&server, "keys.addPermissions", json!({"keyId": key.id, "permissions": slugs}))
    });
    for answer in at_once(overlapping.collect::<Vec<_>>()).await {
        answer.expect(200);
    }
    let stored = read_key(&server, &key).await;
    assert_eq!(stored["roles"].as_array().map(Vec::len), Some(10), "{stored}");
    assert_eq!(stored["permissions"].as_array().map(Vec::len), Some(12), "{stored}");
}

#[tokio::test]
async fn of_ten_replacements_at_once_one_wins_whole() {
    let server = keyrack().await;
    let key = key_with(&server, json!({})).await;
    for n in 0..10 {
        new_role(&server, &format!("role {n}"), json!([])).await;
    }
    let set = (0..10).map(|n| {
        let body = json!({"keyId": key.id, "roles": [format!("role {n}")]});
        call(&server, "keys.setRoles", body)
    });
    for answer in at_once(set.collect::<Vec<_>>()).await {
        answer.expect(200);
    }
    let triple = |n: u32| ["a", "b", "c"].map(|part| format!("{n}{part}"));
    let set =
        (0..10).map(|n| call(&server, "keys.setPermissions", json!({"keyId": key.id, "permissions": triple(n)})));
    for answer in at_once(set.collect::<Vec<_>>()).await {
        answer.expect(200);
    }
    let stored = read_key(&server, &key).await;
    assert_eq!(stored["roles"].as_array().map(Vec::len), Some(1), "{stored}");
    assert!((0..10).any(|n| stored["permissions"] == json!(triple(n))), "{stored}");
}

#[tokio::test]
async fn links_change_no_field_of_the_key() {
    let server = keyrack().await;
    let key = key_with(&server, json!({})).await;
    permissions(&server, "keys.addPermissions", &key, json!(["a"])).await;
    assert_eq!(read_key(&server, &key).await.get("updatedAt"), None);
    update_key(&server, &key, json!({"permissions": []})).await;
    assert!(read_key(&server, &key).await["updatedAt"].is_i64());
}
