//! `permissions.getRole`, `permissions.updateRole`, `permissions.deleteRole` and `permissions.setRolePermissions`.

use keyrack_test_harness::{Answer, Server};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::fixture::{merged, new_api, new_key, verify};
use crate::keyrack;
use crate::wire::mcp::Session;

async fn create(server: &Server, name: &str, permissions: &[&str]) -> String {
    let body = json!({"name": name, "description": "what it is for", "permissions": permissions});
    server.call("permissions.createRole", body).await.expect(200).text_of("roleId")
}

async fn on(server: &Server, action: &str, role: &str, members: Value) -> Answer {
    let body = merged(json!({"role": role}), members);
    server.call(&format!("permissions.{action}"), body).await
}

async fn set(server: &Server, role: &str, permissions: &[&str]) -> Answer {
    on(server, "setRolePermissions", role, json!({"permissions": permissions})).await
}

fn slugs(permissions: &Value) -> Vec<&str> {
    permissions.as_array().into_iter().flatten().filter_map(|one| one["slug"].as_str()).collect()
}

#[tokio::test]
async fn a_role_is_found_by_id_and_by_name_with_its_permissions_by_slug() {
    let server = keyrack().await;
    let id = create(&server, "Support: level 1 / ü", &["b.two", "a.one"]).await;
    let mut answers = Vec::new();
    for role in [id.as_str(), "Support: level 1 / ü"] {
        answers.push(on(&server, "getRole", role, json!({})).await.expect(200).data().clone());
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!((&answers[0]["id"], &answers[0]["description"]), (&json!(id), &json!("what it is for")));
    assert_eq!(slugs(&answers[0]["permissions"]), ["a.one", "b.two"]);
    create(&server, &id, &[]).await;
    assert_eq!(on(&server, "getRole", &id, json!({})).await.text_of("name"), "Support: level 1 / ü", "an id wins");
    for unknown in ["support: level 1 / ü", "%", "role_unknown"] {
        on(&server, "getRole", unknown, json!({})).await.expect_error(404, "unkey/data/role_not_found");
    }
}

#[tokio::test]
async fn a_deleted_role_is_taken_from_its_keys_at_once_and_its_permissions_stay() {
    let server = keyrack().await;
    let id = create(&server, "admin", &["in.role"]).await;
    let members = json!({"permissions": ["direct"], "roles": ["admin"]});
    let key = new_key(&server, &new_api(&server).await, members).await;
    assert_eq!(on(&server, "deleteRole", "admin", json!({})).await.expect(200).data(), &json!({}));
    let data = verify(&server, &key, json!({"permissions": "in.role"})).await;
    assert_eq!(data["code"], "INSUFFICIENT_PERMISSIONS");
    assert_eq!((&data["permissions"], data.get("roles")), (&json!(["direct"]), None));
    server.call("permissions.getPermission", json!({"permission": "in.role"})).await.expect(200);
    for role in ["admin", &id] {
        on(&server, "deleteRole", role, json!({})).await.expect_error(404, "unkey/data/role_not_found");
    }
    assert_ne!(create(&server, "admin", &["in.role"]).await, id);
    assert_eq!(verify(&server, &key, json!({"permissions": "in.role"})).await["valid"], false);
}

#[tokio::test]
async fn a_role_is_renamed_and_described_and_nothing_else() {
    let server = keyrack().await;
    let id = create(&server, "admin", &["in.role"]).await;
    let key = new_key(&server, &new_api(&server).await, json!({"roles": ["admin"]})).await;
    let before = json!({"id": id, "name": "admin", "description": "what it is for"});
    assert_eq!(on(&server, "updateRole", "admin", json!({})).await.expect(200).data(), &before);
    let answer = on(&server, "updateRole", "admin", json!({"name": "owner"})).await.expect(200);
    assert_eq!(answer.data(), &merged(before, json!({"name": "owner"})), "no permissions are answered");
    let data = verify(&server, &key, json!({"permissions": "in.role"})).await;
    assert_eq!((&data["code"], &data["roles"]), (&json!("VALID"), &json!(["owner"])));
    for none in [json!(null), json!("")] {
        on(&server, "updateRole", &id, json!({"description": "again"})).await.expect(200);
        let answer = on(&server, "updateRole", &id, json!({"description": none})).await.expect(200);
        assert_eq!(answer.data(), &json!({"id": id, "name": "owner"}));
    }
    create(&server, "other", &[]).await;
    let answer = on(&server, "updateRole", "other", json!({"name": "owner", "description": "x"})).await;
    let answer = answer.expect_error(409, "unkey/data/role_already_exists");
    assert!(answer.detail().contains("owner"), "{}", answer.detail());
    on(&server, "updateRole", "other", json!({"name": "other"})).await.expect(200);
    on(&server, "updateRole", "other", json!({"name": "Owner"})).await.expect(200);
    on(&server, "updateRole", "nope", json!({})).await.expect_error(404, "unkey/data/role_not_found");
}

#[tokio::test]
async fn a_role_gets_exactly_the_permissions_that_are_sent() {
    let server = keyrack().await;
    create(&server, "admin", &["a", "b"]).await;
    let members = json!({"permissions": ["b"], "roles": ["admin"]});
    let key = new_key(&server, &new_api(&server).await, members).await;
    let answer = set(&server, "admin", &["d", "c", "d", "a"]).await.expect(200);
    assert_eq!(slugs(answer.data()), ["a", "c", "d"]);
    let made = &answer.data()[1];
    assert_eq!((&made["name"], made.get("description")), (&json!("c"), None), "{made}");
    let role = on(&server, "getRole", "admin", json!({})).await;
    assert_eq!(&role.data()["permissions"], answer.data());
    let data = verify(&server, &key, json!({"permissions": "a AND c AND d"})).await;
    assert_eq!((&data["code"], &data["permissions"]), (&json!("VALID"), &json!(["a", "b", "c", "d"])));
    assert_eq!(set(&server, "admin", &["a", "c", "d"]).await.expect(200).data(), answer.data());
    assert_eq!(set(&server, "admin", &[]).await.expect(200).data(), &json!([]));
    assert_eq!(verify(&server, &key, json!({})).await["permissions"], json!(["b"]), "what it holds itself stays");
    server.call("permissions.getPermission", json!({"permission": "c"})).await.expect(200);
    let answer = set(&server, "nope", &["never.made"]).await;
    answer.expect_error(404, "unkey/data/role_not_found");
    server.call("permissions.getPermission", json!({"permission": "never.made"})).await.expect(404);
}

#[tokio::test]
async fn a_role_with_very_many_permissions_is_set_and_read_whole() {
    let server = keyrack().await;
    create(&server, "admin", &[]).await;
    let many: Vec<String> = (0..1000).map(|n| format!("p{n:04}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(slugs(set(&server, "admin", &many).await.expect(200).data()), many);
    let role = on(&server, "getRole", "admin", json!({})).await.expect(200);
    assert_eq!(slugs(&role.data()["permissions"]), many);
    let roles = server.call("permissions.listRoles", json!({})).await.expect(200);
    assert_eq!(slugs(&roles.data()[0]["permissions"]), many);
}

#[tokio::test]
async fn the_role_is_named_by_role_or_by_role_id_and_not_by_both() {
    let server = keyrack().await;
    let id = create(&server, "admin", &[]).await;
    let call = async |body: Value| server.call("permissions.setRolePermissions", body).await;
    for body in [
        json!({"role": "admin", "permissions": ["a"]}),
        json!({"role": id, "permissions": ["a"]}),
        json!({"roleId": id, "permissions": ["a"]}),
    ] {
        call(body).await.expect(200);
    }
    let answer = call(json!({"roleId": "admin", "permissions": []})).await;
    answer.expect_error(404, "unkey/data/role_not_found");
    let answer = call(json!({"permissions": []})).await.expect_error(400, "unkey/application/invalid_input");
    assert_eq!(answer.locations(), ["body.role"], "{}", answer.text);
    let answer = call(json!({"role": id, "roleId": id, "permissions": []})).await;
    let answer = answer.expect_error(400, "unkey/application/invalid_input");
    assert_eq!(answer.locations(), ["body.roleId"], "{}", answer.text);
    assert!(answer.text.contains("together with `role`"), "{}", answer.text);
}

#[tokio::test]
async fn of_parallel_sets_one_is_left_whole() {
    let server = keyrack().await;
    create(&server, "admin", &[]).await;
    let mut tasks = JoinSet::new();
    for n in 0..10 {
        let client = server.client();
        let own = [format!("p{n}.a"), format!("p{n}.b"), "shared".to_owned()];
        let body = json!({"role": "admin", "permissions": own});
        tasks.spawn(async move { client.call("permissions.setRolePermissions", body).await });
    }
    for answer in tasks.join_all().await {
        assert_eq!(slugs(answer.expect(200).data()).len(), 3);
    }
    let role = on(&server, "getRole", "admin", json!({})).await.expect(200);
    let left = slugs(&role.data()["permissions"]);
    assert_eq!(left.len(), 3, "{left:?}");
    assert_eq!((left[0].trim_end_matches(".a"), left[2]), (left[1].trim_end_matches(".b"), "shared"), "{left:?}");
}

#[tokio::test]
async fn of_parallel_creations_of_one_slug_or_name_one_succeeds() {
    let server = keyrack().await;
    for (operation, body) in [
        ("permissions.createPermission", json!({"name": "n", "slug": "same"})),
        ("permissions.createRole", json!({"name": "same"})),
    ] {
        let mut tasks = JoinSet::new();
        for _ in 0..5 {
            let (client, body) = (server.client(), body.clone());
            tasks.spawn(async move { client.call(operation, body).await.status });
        }
        let mut statuses = tasks.join_all().await;
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409, 409, 409, 409]);
    }
}

#[tokio::test]
async fn assistants_name_a_role_in_one_way_and_no_tool_has_alternatives_at_its_root() {
    let server = keyrack().await;
    create(&server, "admin", &[]).await;
    let session = Session::open(&server).await;
    let result = session.ask("tools/list", json!({})).await;
    let tools = result["tools"].as_array().expect("tools");
    for tool in tools {
        for keyword in ["oneOf", "anyOf", "allOf", "not"] {
            assert!(tool["inputSchema"].get(keyword).is_none(), "{}: {keyword}", tool["name"]);
        }
    }
    let tool = tools.iter().find(|tool| tool["name"] == "permissions_setRolePermissions").expect("a tool");
    let schema = &tool["inputSchema"];
    assert_eq!(schema["required"], json!(["permissions", "role"]));
    assert!(schema["properties"].get("roleId").is_none());
    let arguments = json!({"role": "admin", "permissions": ["a"]});
    let answer = session.call("permissions_setRolePermissions", arguments).await;
    assert_eq!(slugs(&answer["structuredContent"]["data"]), ["a"], "{answer}");
}
