//! Workspaces: made, listed, changed and disabled by operators only.

use serde_json::{Value, json};

use crate::fixture::{
    event_count, events, last_events, limited_client, new_api, new_key, new_workspace, now, verify_answer,
    workspace_id,
};
use crate::keyrack;

const DENIED: &str = "unkey/authorization/insufficient_permissions";

#[tokio::test]
async fn a_new_workspace_is_empty_and_its_root_key_has_full_access_and_is_no_operator() {
    let server = keyrack().await;
    let (id, client) = new_workspace(&server, "Acme").await;
    let overview = client.call("workspace.getOverview", json!({})).await.expect(200);
    assert_eq!(overview.data()["workspace"], json!({"id": id, "name": "Acme"}));
    let root_key = &overview.data()["rootKey"];
    assert_eq!((&root_key["operator"], &root_key["permissions"]), (&json!(false), &json!(["*"])));
    assert_eq!(overview.data()["counts"]["apis"], 0);
    let due: &[(&str, &[&str])] = &[("workspace.create", &["workspace"]), ("rootKey.create", &["rootKey"])];
    assert_eq!(last_events(&client, 5).await, events(due));
    let log = client.call("audit.listLogs", json!({"limit": 1})).await.expect(200);
    let own = server.call("workspace.getOverview", json!({})).await.expect(200);
    assert_eq!(log.data()[0]["actor"]["id"], own.data()["rootKey"]["keyId"], "the operator did it");
}

#[tokio::test]
async fn full_access_makes_no_operator() {
    let server = keyrack().await;
    let (id, client) = new_workspace(&server, "Acme").await;
    let full = limited_client(&server, &["*"]).await;
    for client in [&client, &full] {
        for (operation, body) in [
            ("workspace.createWorkspace", json!({"name": "x"})),
            ("workspace.listWorkspaces", json!({})),
            ("workspace.updateWorkspace", json!({"workspaceId": id, "name": "x"})),
        ] {
            let answer = client.call(operation, body).await.expect_error(403, DENIED);
            assert!(answer.detail().contains("operator"), "{}", answer.detail());
        }
    }
}

#[tokio::test]
async fn workspaces_are_listed_by_id_in_pages() {
    let server = keyrack().await;
    let before = now();
    let mut due = vec![workspace_id(&server).await];
    for name in ["a", "b", "c"] {
        due.push(new_workspace(&server, name).await.0);
    }
    due.sort();
    let mut found = Vec::new();
    let mut cursor = Value::Null;
    loop {
        let body = if cursor.is_null() { json!({"limit": 2}) } else { json!({"limit": 2, "cursor": cursor}) };
        let page = server.call("workspace.listWorkspaces", body).await.expect(200);
        found.extend(page.data().as_array().expect("a list").clone());
        assert!(found.len() <= due.len(), "pages do not end: {found:?}");
        cursor = page.body["pagination"]["cursor"].clone();
        if cursor.is_null() {
            break;
        }
    }
    let ids: Vec<&str> = found.iter().filter_map(|one| one["id"].as_str()).collect();
    assert_eq!(ids, due);
    let newest = found.iter().find(|one| one["name"] == "c").expect("it is listed");
    assert_eq!(newest["enabled"], true);
    assert!(newest["createdAt"].as_i64().is_some_and(|at| at >= before && at <= now()));
}

#[tokio::test]
async fn a_disabled_workspace_refuses_its_keys_and_root_keys_at_once_and_comes_back() {
    let server = keyrack().await;
    let (id, client) = new_workspace(&server, "Acme").await;
    let api = new_api(&client).await;
    let key = new_key(&client, &api, json!({})).await;
    let set = |enabled: bool| json!({"workspaceId": id, "enabled": enabled});
    server.call("workspace.updateWorkspace", set(false)).await.expect(200);
    for answer in
        [client.call("workspace.getOverview", json!({})).await, verify_answer(&client, &key.key, json!({})).await]
    {
        answer.expect_error(403, "unkey/authorization/workspace_disabled");
    }
    let verdict = verify_answer(&server, &key.key, json!({})).await.expect(200);
    assert_eq!(verdict.data(), &json!({"valid": false, "code": "NOT_FOUND"}), "another workspace's root key");
    let listed = server.call("workspace.listWorkspaces", json!({})).await.expect(200);
    let listed = listed.data().as_array().expect("a list").clone();
    assert!(listed.iter().any(|one| one["id"] == json!(id) && one["enabled"] == false), "{listed:?}");
    server.call("workspace.updateWorkspace", set(true)).await.expect(200);
    let verdict = verify_answer(&client, &key.key, json!({})).await.expect(200);
    assert_eq!(verdict.data()["code"], "VALID");
    let update = ("workspace.update", &["workspace"][..]);
    let events_of_acme = last_events(&client, 50).await;
    assert_eq!(events_of_acme[events_of_acme.len() - 2..], events(&[update, update]));
}

#[tokio::test]
async fn limits_are_set_cleared_and_shown() {
    let server = keyrack().await;
    let (id, client) = new_workspace(&server, "Acme").await;
    let limits = async || client.call("workspace.getLimits", json!({})).await.expect(200).data().clone();
    let unlimited = json!({"limit": null});
    let before = limits().await;
    assert_eq!(before["apiRequestsCountMaxPerMinute"], unlimited);
    assert_eq!(before["apiBillableOperationsCountMaxPerMonth"], unlimited);
    assert_eq!(before["logdrainsMax"], json!({"limit": 0, "current": 0.0}));
    let body = json!({
        "workspaceId": id, "name": "Acme Ltd", "requestsPerMinute": 1000, "logRetentionDays": 30,
        "auditRetentionDays": 90,
    });
    server.call("workspace.updateWorkspace", body).await.expect(200);
    let after = limits().await;
    assert_eq!(after["apiRequestsCountMaxPerMinute"], json!({"limit": 1000}));
    assert_eq!(after["logsRetentionDaysMax"], json!({"limit": 30}));
    assert_eq!(after["logsAuditRetentionDaysMax"], json!({"limit": 90}));
    let overview = client.call("workspace.getOverview", json!({})).await.expect(200);
    assert_eq!(overview.data()["workspace"]["name"], "Acme Ltd");
    assert_eq!(overview.header("ratelimit-limit"), "1000");
    let body = json!({"workspaceId": id, "requestsPerMinute": null, "logRetentionDays": null});
    server.call("workspace.updateWorkspace", body).await.expect(200);
    let cleared = limits().await;
    assert_eq!(cleared["apiRequestsCountMaxPerMinute"], unlimited);
    assert_eq!(cleared["logsAuditRetentionDaysMax"], json!({"limit": 90}), "what is absent stays");
    let body = json!({"workspaceId": id, "requestsPerMinute": 0});
    server.call("workspace.updateWorkspace", body).await.expect(200);
    let answer = client.call("workspace.getLimits", json!({})).await;
    answer.expect_error(429, "user/too_many_requests/workspace_rate_limited");
}

#[tokio::test]
async fn no_operator_locks_itself_out() {
    let server = keyrack().await;
    let own = workspace_id(&server).await;
    let count = event_count(&server).await;
    for members in [json!({"enabled": false}), json!({"requestsPerMinute": 0})] {
        let body = crate::fixture::merged(json!({"workspaceId": own}), members);
        let answer = server.call("workspace.updateWorkspace", body).await;
        answer.expect_error(412, "unkey/application/protected_resource");
    }
    let body = json!({"workspaceId": "ws_unknown", "name": "x"});
    let answer = server.call("workspace.updateWorkspace", body).await;
    answer.expect_error(404, "unkey/data/workspace_not_found");
    assert_eq!(event_count(&server).await, count);
}

#[tokio::test]
async fn limits_may_be_read_with_a_tuple_too() {
    let server = keyrack().await;
    let client = limited_client(&server, &["workspace.*.read_workspace"]).await;
    client.call("workspace.getLimits", json!({})).await.expect(200);
}
