//! `permissions.getPermission`, `permissions.updatePermission` and `permissions.deletePermission`.

use keyrack_test_harness::{Answer, Server};
use serde_json::{Value, json};

use crate::fixture::{limited_client, merged, new_api, new_key, verify};
use crate::keyrack;

async fn create(server: &Server, slug: &str) -> String {
    let body = json!({"name": "Read", "slug": slug, "description": "what it allows"});
    server.call("permissions.createPermission", body).await.expect(200).text_of("permissionId")
}

async fn on(server: &Server, action: &str, permission: &str, members: Value) -> Answer {
    let body = merged(json!({"permission": permission}), members);
    server.call(&format!("permissions.{action}Permission"), body).await
}

#[tokio::test]
async fn a_permission_is_found_by_id_and_by_slug_and_an_id_wins() {
    let server = keyrack().await;
    let id = create(&server, "docs.read").await;
    let due = json!({"id": id, "name": "Read", "slug": "docs.read", "description": "what it allows"});
    for permission in [id.as_str(), "docs.read"] {
        assert_eq!(on(&server, "get", permission, json!({})).await.expect(200).data(), &due);
    }
    create(&server, &id).await;
    assert_eq!(on(&server, "get", &id, json!({})).await.expect(200).data(), &due);
    for unknown in ["Docs.Read", "docs", "*", "perm_unknown"] {
        on(&server, "get", unknown, json!({})).await.expect_error(404, "unkey/data/permission_not_found");
    }
}

#[tokio::test]
async fn who_lacks_the_permission_is_refused_before_anything_is_looked_up() {
    let server = keyrack().await;
    let stranger = limited_client(&server, &[]).await;
    for (operation, body) in [
        ("permissions.getPermission", json!({"permission": "nope"})),
        ("permissions.deletePermission", json!({"permission": "nope"})),
        ("permissions.updatePermission", json!({"permission": "nope"})),
        ("permissions.getRole", json!({"role": "nope"})),
        ("permissions.deleteRole", json!({"role": "nope"})),
        ("permissions.updateRole", json!({"role": "nope"})),
        ("permissions.setRolePermissions", json!({"role": "nope", "permissions": []})),
    ] {
        let answer = stranger.call(operation, body.clone()).await;
        answer.expect_error(403, "unkey/authorization/insufficient_permissions");
        server.call(operation, body).await.expect(404);
    }
}

#[tokio::test]
async fn a_deleted_permission_is_taken_from_keys_and_roles_at_once_and_its_slug_is_free() {
    let server = keyrack().await;
    create(&server, "direct").await;
    let body = json!({"name": "admin", "permissions": ["in.role"]});
    server.call("permissions.createRole", body).await.expect(200);
    let members = json!({"permissions": ["direct", "stays"], "roles": ["admin"]});
    let key = new_key(&server, &new_api(&server).await, members).await;
    let held = verify(&server, &key, json!({"permissions": "direct AND in.role"})).await;
    assert_eq!(held["permissions"], json!(["direct", "in.role", "stays"]));
    for slug in ["direct", "in.role"] {
        assert_eq!(on(&server, "delete", slug, json!({})).await.expect(200).data(), &json!({}));
        let data = verify(&server, &key, json!({"permissions": slug})).await;
        assert_eq!(data["code"], "INSUFFICIENT_PERMISSIONS", "{slug}");
        on(&server, "delete", slug, json!({})).await.expect_error(404, "unkey/data/permission_not_found");
        create(&server, slug).await;
        assert_eq!(verify(&server, &key, json!({"permissions": slug})).await["valid"], false, "held by nobody");
    }
    let data = verify(&server, &key, json!({})).await;
    assert_eq!((&data["permissions"], &data["roles"]), (&json!(["stays"]), &json!(["admin"])));
    let role = server.call("permissions.getRole", json!({"role": "admin"})).await.expect(200);
    assert!(role.data().get("permissions").is_none(), "{}", role.text);
}

#[tokio::test]
async fn absent_members_stay_and_an_empty_description_is_none() {
    let server = keyrack().await;
    let id = create(&server, "docs.read").await;
    let before = json!({"id": id, "name": "Read", "slug": "docs.read", "description": "what it allows"});
    assert_eq!(on(&server, "update", "docs.read", json!({})).await.expect(200).data(), &before);
    let answer = on(&server, "update", "docs.read", json!({"name": "Lesen"})).await.expect(200);
    assert_eq!(answer.data(), &merged(before.clone(), json!({"name": "Lesen"})));
    for none in [json!(null), json!("")] {
        on(&server, "update", &id, json!({"description": "again"})).await.expect(200);
        let answer = on(&server, "update", &id, json!({"description": none})).await.expect(200);
        assert_eq!(answer.data(), &json!({"id": id, "name": "Lesen", "slug": "docs.read"}));
    }
    let read = on(&server, "get", &id, json!({})).await.expect(200);
    assert_eq!(read.data(), &json!({"id": id, "name": "Lesen", "slug": "docs.read"}));
}

#[tokio::test]
async fn a_new_slug_keeps_its_holders_and_the_next_verification_knows_it() {
    let server = keyrack().await;
    let body = json!({"name": "admin", "permissions": ["in.role"]});
    server.call("permissions.createRole", body).await.expect(200);
    let members = json!({"permissions": ["direct"], "roles": ["admin"]});
    let key = new_key(&server, &new_api(&server).await, members).await;
    for (old, new) in [("direct", "direct.2"), ("in.role", "in.role.2")] {
        on(&server, "update", old, json!({"slug": new})).await.expect(200);
        assert_eq!(verify(&server, &key, json!({"permissions": new})).await["code"], "VALID");
        let data = verify(&server, &key, json!({"permissions": old})).await;
        assert_eq!(data["code"], "INSUFFICIENT_PERMISSIONS");
        on(&server, "get", old, json!({})).await.expect(404);
    }
}

#[tokio::test]
async fn a_slug_of_another_permission_is_refused_and_the_own_one_is_not() {
    let server = keyrack().await;
    create(&server, "docs.read").await;
    create(&server, "docs.write").await;
    let members = json!({"slug": "docs.write", "name": "Changed"});
    let answer = on(&server, "update", "docs.read", members).await;
    let answer = answer.expect_error(409, "unkey/data/permission_already_exists");
    assert!(answer.detail().contains("docs.write"), "{}", answer.detail());
    assert_eq!(on(&server, "get", "docs.read", json!({})).await.text_of("name"), "Read");
    on(&server, "update", "docs.read", json!({"slug": "docs.read"})).await.expect(200);
    on(&server, "update", "docs.read", json!({"slug": "Docs.Read"})).await.expect(200);
    on(&server, "update", "nope", json!({"slug": "a"})).await.expect_error(404, "unkey/data/permission_not_found");
}

#[tokio::test]
async fn a_grant_for_one_permission_does_not_reach_another_whose_slug_reads_like_its_id() {
    let server = keyrack().await;
    let workspace = crate::fixture::workspace_id(&server).await;
    let id = create(&server, "docs.read").await;
    let grant = format!("unkey:v1:{workspace}:projects/*/rbac/permissions/{id}#write");
    let narrow = limited_client(&server, &[&grant]).await;
    let body = json!({"permission": id, "name": "Changed"});
    narrow.call("permissions.updatePermission", body.clone()).await.expect(200);
    on(&server, "delete", &id, json!({})).await.expect(200);
    create(&server, &id).await;
    let answer = narrow.call("permissions.updatePermission", body).await;
    answer.expect_error(403, "unkey/authorization/insufficient_permissions");
}
