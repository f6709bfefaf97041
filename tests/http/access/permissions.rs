//! What a root key must hold, from the contract's permission expressions: each minimal set of permissions that
//! satisfies an expression is enough, and each lack of one leg is refused as the contract says.

use keyrack_test_harness::{Answer, Client, Ids, Scene, Server, operations, scene};
use serde_json::{Value, json};

use crate::catalogue::facts::facts;
use crate::fixture::{limited_client, workspace_id};
use crate::keyrack;

/// Operations that are refused to no root key, or to all but operators.
const WITHOUT_EXPRESSION: [(&str, &str); 8] = [
    ("apis.listApis", "shows the APIs that the caller may read"),
    ("docs.search", "any root key may ask"),
    ("keys.listKeys", "shows the keys of the APIs whose keys the caller may list"),
    ("rootKeys.listKeys", "shows the root keys that the caller may read"),
    ("workspace.createWorkspace", "for operators, whatever they hold"),
    ("workspace.getOverview", "any root key may ask"),
    ("workspace.listWorkspaces", "for operators, whatever they hold"),
    ("workspace.updateWorkspace", "for operators, whatever they hold"),
];

/// The sets of permissions that satisfy an expression and contain nothing superfluous.
pub(crate) fn minimal_sets(check: &Value) -> Vec<Vec<String>> {
    if let Some(one) = check.as_str() {
        return vec![vec![one.to_owned()]];
    }
    if let Some(any) = check["any"].as_array() {
        return any.iter().flat_map(minimal_sets).collect();
    }
    if let Some(each) = check.get("allEach") {
        // The scene has one of the things that are asked about.
        return minimal_sets(&each["check"]);
    }
    let all = check["all"].as_array().unwrap_or_else(|| panic!("no expression: {check}"));
    all.iter().map(minimal_sets).fold(vec![vec![]], |sets, alternatives| {
        sets.iter()
            .flat_map(|set| alternatives.iter().map(move |more| [set.clone(), more.clone()].concat()))
            .collect()
    })
}

/// A permission with the ids of the resource under test in place of `{apiId}` and the like.
pub(crate) fn concrete(permission: &str, ids: &Ids) -> String {
    let filled =
        ids.iter().fold(permission.to_owned(), |text, (name, id)| text.replace(&format!("{{{name}}}"), id));
    assert!(!filled.contains('{'), "no id for {filled}");
    filled
}

/// The same permission for resources that are not under test, or nothing where no id is named.
pub(crate) fn for_another_resource(permission: &str, ids: &Ids) -> Option<String> {
    let strange: Ids = ids.keys().map(|name| (*name, strange_id(name, ids))).collect();
    let filled = concrete(permission, &strange);
    (filled != concrete(permission, ids)).then_some(filled)
}

fn strange_id(name: &str, ids: &Ids) -> String {
    // Another workspace would be no valid grant.
    if name == "workspaceId" { ids[name].clone() } else { "api_other1234567".to_owned() }
}

fn granted(answer: &Answer) -> bool {
    answer.status == 200 && answer.body["data"]["code"] != "NOT_FOUND"
}

#[track_caller]
pub(crate) fn assert_denied(answer: Answer, on_denied: &Value, missing: &str) {
    let status = on_denied["status"].as_u64().expect("a status");
    assert_eq!(u64::from(answer.status), status, "without {missing}: {} {}", answer.asked, answer.text);
    if let Some(data) = on_denied.get("data") {
        assert_eq!(answer.data(), data);
        return;
    }
    if let Some(code) = on_denied["code"].as_str() {
        assert_eq!(answer.code(), code.trim_start_matches("err:").replace(':', "/"), "{}", answer.text);
    }
    if status == 403 {
        assert!(answer.detail().contains(missing), "{missing} is not named: {}", answer.detail());
    }
}

/// Calls the operation with a key for each minimal set, and with keys that lack one leg of it each.
async fn check_operation(server: &Server, operation: &str) -> usize {
    let rule = facts().permission(operation).unwrap_or_else(|| panic!("no rule for {operation}"));
    let mut tried = 0;
    for set in minimal_sets(&rule["check"]) {
        let Scene { ids, body, .. } = scene(server, operation).await;
        let held: Vec<String> = set.iter().map(|permission| concrete(permission, &ids)).collect();
        for missing in &set {
            let missing_text = concrete(missing, &ids);
            let mut lacking: Vec<String> = held.iter().filter(|one| **one != missing_text).cloned().collect();
            lacking.extend(for_another_resource(missing, &ids));
            let client = holding(server, &lacking).await;
            let answer = client.call(operation, body.clone()).await;
            assert_denied(answer, &rule["onDenied"], &missing_text);
            tried += 1;
        }
        let answer = holding(server, &held).await.call(operation, body).await;
        assert!(granted(&answer), "{operation} with {held:?}: {}", answer.text);
        tried += 1;
    }
    tried
}

pub(crate) async fn holding(server: &Server, permissions: &[String]) -> Client {
    let permissions: Vec<&str> = permissions.iter().map(String::as_str).collect();
    limited_client(server, &permissions).await
}

/// Tries every operation of a namespace that has an expression.
async fn check_namespace(namespace: &str) {
    let server = keyrack().await;
    let of_namespace = |operation: &&str| operation.starts_with(namespace);
    let mut tried = 0;
    for operation in operations(&server).await.into_iter().filter(of_namespace) {
        if WITHOUT_EXPRESSION.iter().all(|(without, _)| *without != operation) {
            assert!(check_operation(&server, operation).await > 1, "{operation}");
            tried += 1;
        }
    }
    assert!(tried > 0, "no operation of {namespace} was tried");
}

#[tokio::test]
async fn the_contracts_expressions_decide_about_apis() {
    check_namespace("apis.").await;
}

#[tokio::test]
async fn the_contracts_expressions_decide_about_keys() {
    check_namespace("keys.").await;
}

#[tokio::test]
async fn the_contracts_expressions_decide_about_identities() {
    check_namespace("identities.").await;
}

#[tokio::test]
async fn the_contracts_expressions_decide_about_permissions_and_roles() {
    check_namespace("permissions.").await;
}

#[tokio::test]
async fn the_contracts_expressions_decide_about_rate_limits() {
    check_namespace("ratelimit.").await;
}

#[tokio::test]
async fn the_contracts_expressions_decide_about_root_keys_the_workspace_and_the_audit_log() {
    for namespace in ["rootKeys.", "workspace.", "audit."] {
        check_namespace(namespace).await;
    }
}

#[tokio::test]
async fn every_operation_has_an_expression_or_a_reason() {
    // Of analytics in `analytics/rights.rs`: a grant for something else is no refusal there, but an answer without rows.
    let namespaces = [
        "analytics.",
        "apis.",
        "audit.",
        "docs.",
        "identities.",
        "keys.",
        "permissions.",
        "ratelimit.",
        "rootKeys.",
    ];
    for operation in operations(&keyrack().await).await {
        let has_reason = WITHOUT_EXPRESSION.iter().any(|(without, _)| *without == operation);
        let is_tried = namespaces.iter().chain(&["workspace."]).any(|namespace| operation.starts_with(namespace));
        assert!(is_tried, "{operation}: its namespace is not tried");
        assert!(has_reason || facts().permission(operation).is_some(), "{operation}: no expression, no reason");
    }
}

#[tokio::test]
async fn setting_permissions_of_a_role_needs_a_permission_only_for_new_slugs() {
    let server = keyrack().await;
    let workspace = workspace_id(&server).await;
    server.call("permissions.createRole", json!({"name": "r", "permissions": ["known"]})).await.expect(200);
    let rule = facts().permission("permissions.setRolePermissions").expect("a rule");
    let main = ["rbac.*.add_permission_to_role", "rbac.*.remove_permission_from_role"];
    let narrow = limited_client(&server, &main).await;
    let set = |slugs: &[&str]| json!({"role": "r", "permissions": slugs});
    narrow.call("permissions.setRolePermissions", set(&["known"])).await.expect(200);
    let denied = narrow.call("permissions.setRolePermissions", set(&["new"])).await;
    assert_denied(denied, &rule["conditional"][0]["onDenied"], "rbac.*.create_permission");
    let answer = server.call("permissions.getRole", json!({"role": "r"})).await.expect(200);
    assert_eq!(answer.data()["permissions"][0]["slug"], "known", "nothing was changed");
    server.call("permissions.getPermission", json!({"permission": "new"})).await.expect(404);
    for (n, set_of_one) in minimal_sets(&rule["conditional"][0]["check"]).into_iter().enumerate() {
        let create = concrete(&set_of_one[0], &Ids::from([("workspaceId", workspace.clone())]));
        let client = limited_client(&server, &[main[0], main[1], &create]).await;
        client.call("permissions.setRolePermissions", set(&[&format!("new{n}")])).await.expect(200);
    }
}

/// The id of the only namespace.
async fn namespace_id(server: &Server) -> String {
    let namespaces = server.call("ratelimit.listNamespaces", json!({})).await.expect(200);
    namespaces.data()[0]["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn a_grant_for_one_namespace_is_enough_for_it_and_for_no_other() {
    let server = keyrack().await;
    let body =
        |namespace: &str| json!({"namespace": namespace, "identifier": "i", "limit": 9, "duration": 60_000});
    server.call("ratelimit.limit", body("first")).await.expect(200);
    let one = format!("ratelimit.{}.limit", namespace_id(&server).await);
    let client = limited_client(&server, &[&one]).await;
    client.call("ratelimit.limit", body("first")).await.expect(200);
    server.call("ratelimit.limit", body("second")).await.expect(200);
    let answer = client.call("ratelimit.limit", body("second")).await;
    answer.expect_error(403, "unkey/authorization/insufficient_permissions");
    let everywhere = limited_client(&server, &["ratelimit.*.limit"]).await;
    everywhere.call("ratelimit.limit", body("second")).await.expect(200);
}

#[tokio::test]
async fn grants_of_a_urn_match_segment_by_segment() {
    let server = keyrack().await;
    let Scene { ids, body, .. } = scene(&server, "keys.getKey").await;
    let (workspace, space) = (&ids["workspaceId"], &ids["keySpaceId"]);
    for (grant, enough) in [
        (format!("unkey:v1:{workspace}:keyspaces/*/keys/*#read_key"), true),
        (format!("unkey:v1:{workspace}:keyspaces/{space}/**#read_key"), true),
        (format!("unkey:v1:{workspace}:**#read_key"), true),
        (format!("unkey:v1:{workspace}:keyspaces/{space}/keys/*#update_key"), false),
        (format!("unkey:v1:{workspace}:keyspaces/ks_other/keys/*#read_key"), false),
    ] {
        let client = limited_client(&server, &[&grant]).await;
        let answer = client.call("keys.getKey", body.clone()).await;
        assert_eq!(answer.status == 200, enough, "{grant}: {}", answer.text);
    }
}
