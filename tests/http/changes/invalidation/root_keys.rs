//! Changes of root keys and workspaces.

use keyrack_test_harness::{Scene, scene};
use serde_json::{Value, json};

use super::{Case, Stage, case, code};
use crate::changes::Probe;
use crate::fixture::{merged, new_workspace};

const UPDATE: &str = "rootKeys.updateKey";

fn refused(status: u16) -> Value {
    json!({ "status": status })
}

/// A request that is answered names the root key.
fn accepted(key_id: &str) -> Value {
    json!({"rootKey": {"keyId": key_id}})
}

pub(super) async fn cases(stage: &mut Stage<'_>) -> Vec<Case> {
    let mut all = Vec::new();
    for (about, operation, change, status) in [
        ("enabled", UPDATE, json!({"enabled": false}), 403),
        ("deleted", "rootKeys.deleteKey", json!({}), 401),
        ("of the old", "rootKeys.rerollKey", json!({"expiration": 0}), 403),
    ] {
        let Scene { ids, key, body, .. } = scene(stage.server, operation).await;
        let end = case(about, operation, merged(body, change));
        all.push(end.turns(Probe::root_key(&key), accepted(&ids["keyId"]), refused(status)));
    }
    all.push(narrowed(stage).await);
    all.push(enabled_again(stage).await);
    let body = json!({"name": "new", "permissions": []});
    let new = case("", "rootKeys.createKey", body);
    all.push(new.makes("/key", Probe::root_key, json!({"rootKey": {"name": "new"}})));
    let made = stage.call("rootKeys.createKey", json!({"name": "rerolled", "permissions": []})).await;
    let body = json!({"keyId": made.text_of("keyId"), "expiration": null});
    let new = case("of the new", "rootKeys.rerollKey", body);
    all.push(new.makes("/key", Probe::root_key, json!({"rootKey": {"name": "rerolled"}})));
    all.extend(workspaces(stage).await);
    all
}

/// A permission is taken from a root key that verifies keys with it.
async fn narrowed(stage: &mut Stage<'_>) -> Case {
    let made = stage.call("rootKeys.createKey", json!({"permissions": ["api.*.verify_key"]})).await;
    let key = stage.key(json!({})).await;
    let body = json!({"keyId": made.text_of("keyId"), "permissions": ["api.*.read_key"]});
    let probe = Probe::verification(&key.key).by(&made.text_of("key"));
    case("permissions", UPDATE, body).turns(probe, code("VALID"), code("NOT_FOUND"))
}

async fn enabled_again(stage: &mut Stage<'_>) -> Case {
    let made = stage.call("rootKeys.createKey", json!({"permissions": []})).await;
    let key_id = made.text_of("keyId");
    stage.call(UPDATE, json!({"keyId": key_id, "enabled": false})).await;
    let probe = Probe::root_key(&made.text_of("key"));
    let body = json!({"keyId": key_id, "enabled": true});
    case("enabled again", UPDATE, body).turns(probe, refused(403), accepted(&key_id))
}

async fn workspaces(stage: &mut Stage<'_>) -> Vec<Case> {
    let mut all = Vec::new();
    let named = |name: &str| json!({"workspace": {"name": name}});
    for (about, change, after) in [
        ("enabled", json!({"enabled": false}), refused(403)),
        ("requestsPerMinute", json!({"requestsPerMinute": 0}), refused(429)),
        ("name", json!({"name": "renamed"}), named("renamed")),
    ] {
        let made = stage.call("workspace.createWorkspace", json!({"name": "fresh"})).await;
        let body = merged(json!({"workspaceId": made.text_of("workspaceId")}), change);
        let probe = Probe::root_key(&made.text_of("rootKey"));
        all.push(case(about, "workspace.updateWorkspace", body).turns(probe, named("fresh"), after));
    }
    let (workspace, client) = new_workspace(stage.server, "reopened").await;
    let made = client.call("rootKeys.createKey", json!({"permissions": []})).await.expect(200);
    let disabled = json!({"workspaceId": workspace, "enabled": false});
    stage.call("workspace.updateWorkspace", disabled).await;
    let body = json!({"workspaceId": workspace, "enabled": true});
    let reopened = case("enabled again", "workspace.updateWorkspace", body);
    all.push(reopened.turns(Probe::root_key(&made.text_of("key")), refused(403), named("reopened")));
    let new = case("", "workspace.createWorkspace", json!({"name": "brand new"}));
    all.push(new.makes("/rootKey", Probe::root_key, named("brand new")));
    all
}
