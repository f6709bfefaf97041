//! Changes of root keys and workspaces.

use keyrack_test_harness::Server;
use serde_json::{Value, json};

use super::scene::id;
use super::{Change, Due, Log, Named, Probe, due};
use crate::fixture::new_workspace;

pub(super) async fn changes(server: &Server, operation: &'static str, tag: &str) -> Vec<Change> {
    let made = server.call("rootKeys.createKey", json!({"name": tag, "permissions": ["api.*.read_api"]}));
    let made = made.await.expect(200);
    let key_id = made.text_of("keyId");
    let change = |body: Value, due: Vec<Due>| {
        Change::new(operation, body, due).probed([Probe::root_key(&made.text_of("key"))])
    };
    let change = match operation {
        "rootKeys.createKey" => {
            let body = json!({"name": "new", "permissions": ["*"], "expires": 4_000_000_000_000_u64});
            change(body, vec![due("rootKey.create", [Named::Answered("/keyId")])])
        }
        "rootKeys.updateKey" => {
            let body = json!({"keyId": key_id, "name": "renamed", "enabled": false,
                "permissions": ["api.*.create_api"]});
            change(body, vec![due("rootKey.update", [id(&key_id)])])
        }
        "rootKeys.rerollKey" => {
            let events = vec![due("rootKey.reroll", [Named::Answered("/keyId"), id(&key_id)])];
            change(json!({"keyId": key_id, "expiration": 0}), events)
        }
        "rootKeys.deleteKey" => change(json!({"keyId": key_id}), vec![due("rootKey.delete", [id(&key_id)])]),
        "workspace.createWorkspace" => {
            let events = vec![
                due("workspace.create", [Named::Answered("/workspaceId")]),
                due("rootKey.create", [Named::AnsweredRootKey("/rootKey")]),
            ];
            Change { log: Log::OfNew, ..change(json!({"name": tag}), events) }
        }
        "workspace.updateWorkspace" => {
            let (workspace, client) = new_workspace(server, tag).await;
            let body = json!({"workspaceId": workspace, "name": "renamed", "requestsPerMinute": 1000,
                "logRetentionDays": 7, "auditRetentionDays": 8});
            let change = change(body, vec![due("workspace.update", [id(&workspace)])]);
            Change { log: Log::Of(client), ..change }
        }
        other => panic!("no change for {other}"),
    };
    vec![change]
}
