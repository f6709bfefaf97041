//! What a root key must hold besides, when a request asks for more: from the contract's conditional expressions,
//! each minimal set is enough, and each lack of one leg is refused as the contract says.

use keyrack_test_harness::{Ids, Server, operations};
use serde_json::{Value, json};

use crate::access::permissions::{assert_denied, concrete, for_another_resource, holding, minimal_sets};
use crate::catalogue::facts::facts;
use crate::changes::able_program;
use crate::fixture::{new_api, new_key, verify, workspace_id};

/// The conditions of an operation that are expressions over permissions; that nobody hands out more than they hold
/// is about permissions themselves, and tested with root keys.
fn conditions(operation: &str) -> Vec<&'static Value> {
    let rule = facts().permission(operation);
    let conditions = rule.and_then(|rule| rule["conditional"].as_array()).into_iter().flatten();
    conditions.filter(|condition| condition["check"].get("allEach").is_none()).collect()
}

/// A request that meets every condition of its operation.
async fn scene(server: &Server, operation: &str) -> (Ids, Value) {
    let api = new_api(server).await;
    server.call("apis.updateApi", json!({"apiId": api, "storeEncryptedKeys": true})).await.expect(200);
    let key = new_key(server, &api, json!({"recoverable": true})).await;
    let space = verify(server, &key, json!({})).await["keyspaceId"].as_str().expect("an id").to_owned();
    let unique = api.replace("api_", "n");
    let mut ids = Ids::from([
        ("workspaceId", workspace_id(server).await),
        ("keySpaceId", space),
        ("apiId", api.clone()),
        ("keyId", key.id.clone()),
    ]);
    let limit = json!({"namespace": unique, "identifier": "someone", "limit": 5, "duration": 60_000});
    let body = match operation {
        "apis.listKeys" => json!({"apiId": api, "decrypt": true}),
        "keys.createKey" => json!({"apiId": api, "recoverable": true}),
        "keys.explainKey" => {
            let made = server.call("rootKeys.createKey", json!({"permissions": []})).await.expect(200);
            ids.insert("rootKeyId", made.text_of("keyId"));
            json!({"keyId": key.id, "as": ids["rootKeyId"]})
        }
        "keys.getKey" => json!({"keyId": key.id, "decrypt": true}),
        "keys.rerollKey" => json!({"keyId": key.id, "expiration": 0}),
        "keys.addPermissions" | "keys.setPermissions" => json!({"keyId": key.id, "permissions": [unique]}),
        "permissions.createRole" => json!({"name": unique, "permissions": [unique]}),
        "permissions.setRolePermissions" => {
            let role = server.call("permissions.createRole", json!({ "name": unique })).await.expect(200);
            json!({"role": role.text_of("roleId"), "permissions": [unique]})
        }
        "ratelimit.limit" => limit,
        "ratelimit.multiLimit" => json!([limit]),
        "rootKeys.rerollKey" => {
            let made = server.call("rootKeys.createKey", json!({"permissions": []})).await.expect(200);
            ids.insert("keyId", made.text_of("keyId"));
            json!({"keyId": ids["keyId"], "expiration": 0})
        }
        other => panic!("no request meets the conditions of {other}"),
    };
    (ids, body)
}

/// A minimal set that can be held before the thing exists that the request creates.
fn some_set(check: &Value, ids: &Ids) -> Vec<String> {
    let is_known = |leg: &String| {
        let mut names = leg.split('{').skip(1).filter_map(|rest| rest.split('}').next());
        names.all(|name| ids.contains_key(name))
    };
    let set = minimal_sets(check).into_iter().find(|set| set.iter().all(is_known));
    set.unwrap_or_else(|| panic!("no set of {check} can be held"))
}

/// Calls an operation with what one condition asks for, and without each leg of it.
async fn check_condition(server: &Server, operation: &str, number: usize) {
    let conditions = conditions(operation);
    let condition = conditions[number];
    let main = &facts().permission(operation).expect("a rule")["check"];
    let others = conditions.iter().enumerate().filter(|(at, _)| *at != number);
    let besides: Vec<&Value> = others.map(|(_, other)| &other["check"]).chain([main]).collect();
    for set in minimal_sets(&condition["check"]) {
        let (ids, body) = scene(server, operation).await;
        let besides: Vec<String> = besides.iter().flat_map(|check| some_set(check, &ids)).collect();
        for missing in &set {
            let legs = set.iter().filter(|leg| *leg != missing).chain(&besides);
            let mut lacking: Vec<String> = legs.map(|leg| concrete(leg, &ids)).collect();
            lacking.extend(for_another_resource(missing, &ids));
            let answer = holding(server, &lacking).await.call(operation, body.clone()).await;
            assert_denied(answer, &condition["onDenied"], &concrete(missing, &ids));
        }
        let held: Vec<String> = set.iter().chain(&besides).map(|leg| concrete(leg, &ids)).collect();
        let answer = holding(server, &held).await.call(operation, body).await;
        assert_eq!(answer.status, 200, "{operation} with {held:?}: {}", answer.text);
    }
}

#[tokio::test]
async fn the_contracts_conditional_expressions_decide_too() {
    let server = able_program().await.start().await;
    let mut tried = 0;
    for operation in operations(&server).await {
        for number in 0..conditions(operation).len() {
            check_condition(&server, operation, number).await;
            tried += 1;
        }
    }
    assert!(tried >= 12, "only {tried} conditions were found");
}
