//! `permissions.createPermission` and `permissions.createRole`.

use serde_json::json;

use crate::fixture::{limited_client, new_api, new_key, verify};
use crate::keyrack;

#[tokio::test]
async fn a_slug_is_taken_once_and_case_matters_but_names_may_repeat() {
    let server = keyrack().await;
    let create = async |name: &str, slug: &str| {
        let body = json!({"name": name, "slug": slug, "description": "what it allows"});
        server.call("permissions.createPermission", body).await
    };
    let id = create("Read", "docs.read").await.expect(200).text_of("permissionId");
    assert!(id.starts_with("perm_"), "{id}");
    create("Read", "Docs.Read").await.expect(200);
    create("Read", "docs:*-x_y").await.expect(200);
    let answer = create("Other", "docs.read").await.expect_error(409, "unkey/data/permission_already_exists");
    assert!(answer.detail().contains("docs.read"), "{}", answer.detail());
}

#[tokio::test]
async fn a_role_name_is_taken_once_and_case_matters() {
    let server = keyrack().await;
    let create = async |name: &str| server.call("permissions.createRole", json!({"name": name})).await;
    let id = create("Support: level 1 / ü").await.expect(200).text_of("roleId");
    assert!(id.starts_with("role_"), "{id}");
    create("support: level 1 / ü").await.expect(200);
    let answer = create("Support: level 1 / ü").await.expect_error(409, "unkey/data/role_already_exists");
    assert!(answer.detail().contains("Support: level 1 / ü"), "{}", answer.detail());
}

#[tokio::test]
async fn a_refused_role_leaves_no_new_permission_behind() {
    let server = keyrack().await;
    server.call("permissions.createRole", json!({"name": "admin"})).await.expect(200);
    let body = json!({"name": "admin", "permissions": ["left.behind"]});
    server.call("permissions.createRole", body).await.expect_error(409, "unkey/data/role_already_exists");
    let slug = json!({"name": "n", "slug": "left.behind"});
    server.call("permissions.createPermission", slug).await.expect(200);
}

#[tokio::test]
async fn a_role_gives_its_permissions_and_makes_missing_ones() {
    let server = keyrack().await;
    server.call("permissions.createPermission", json!({"name": "n", "slug": "known"})).await.expect(200);
    let body = json!({"name": "admin", "description": "all", "permissions": ["new", "known", "new"]});
    server.call("permissions.createRole", body).await.expect(200);
    let key = new_key(&server, &new_api(&server).await, json!({"roles": ["admin"]})).await;
    let data = verify(&server, &key, json!({"permissions": "known AND new"})).await;
    assert_eq!((&data["code"], &data["permissions"]), (&json!("VALID"), &json!(["known", "new"])));
    let answer = server.call("permissions.createPermission", json!({"name": "n", "slug": "new"})).await;
    answer.expect_error(409, "unkey/data/permission_already_exists");
}

#[tokio::test]
async fn existing_permissions_need_no_permission_to_create_them() {
    let server = keyrack().await;
    server.call("permissions.createPermission", json!({"name": "n", "slug": "known"})).await.expect(200);
    let narrow = limited_client(&server, &["rbac.*.create_role", "rbac.*.add_permission_to_role"]).await;
    let body = json!({"name": "one", "permissions": ["known"]});
    narrow.call("permissions.createRole", body).await.expect(200);
    let body = json!({"name": "two", "permissions": ["known", "unknown"]});
    let answer = narrow.call("permissions.createRole", body).await;
    let answer = answer.expect_error(403, "unkey/authorization/insufficient_permissions");
    assert!(answer.detail().contains("rbac.*.create_permission"), "{}", answer.detail());
    server.call("permissions.createRole", json!({"name": "two"})).await.expect(200);
}
