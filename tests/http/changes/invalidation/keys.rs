//! Changes of keys: their own members, credits, permissions and roles, and the API they belong to.

use keyrack_test_harness::{Scene, scene, sha256_base64};
use serde_json::{Value, json};

use super::{Case, Stage, asking, case, code, verification};
use crate::changes::Probe;
use crate::fixture::{NewKey, WINDOW, merged, new_api, new_key};

const UPDATE: &str = "keys.updateKey";

fn limit(count: u64) -> Value {
    json!([{"name": "calls", "limit": count, "duration": WINDOW, "autoApply": true}])
}

/// A verification that spends a credit.
fn spending(key: &NewKey) -> Probe {
    Probe::verification_with(json!({"key": key.key}))
}

pub(super) async fn cases(stage: &mut Stage<'_>) -> Vec<Case> {
    let mut all = updates(stage).await;
    all.extend(balances(stage).await);
    for (about, operation, members, after) in [
        ("", "apis.deleteApi", json!({}), "NOT_FOUND"),
        ("", "keys.deleteKey", json!({}), "NOT_FOUND"),
        ("permanent", "keys.deleteKey", json!({"permanent": true}), "NOT_FOUND"),
        ("of the old", "keys.rerollKey", json!({"expiration": 0}), "EXPIRED"),
    ] {
        let Scene { body, key, .. } = scene(stage.server, operation).await;
        let end = case(about, operation, merged(body, members));
        all.push(end.turns(Probe::verification(&key), code("VALID"), code(after)));
    }
    for (about, operation, members) in
        [("of the new", "keys.rerollKey", json!({"expiration": 1000})), ("", "keys.createKey", json!({}))]
    {
        let body = merged(scene(stage.server, operation).await.body, members);
        all.push(case(about, operation, body).makes("/key", Probe::verification, code("VALID")));
    }
    let imported = NewKey { id: String::new(), key: stage.name("imported") };
    let hash = sha256_base64(&imported.key);
    let body = json!({"migrationId": stage.migration, "apiId": stage.api, "keys": [{"hash": hash}]});
    let probe = verification(&imported, json!({}));
    all.push(case("", "keys.migrateKeys", body).turns(probe, code("NOT_FOUND"), code("VALID")));
    all.extend(apis(stage).await);
    all
}

/// Each member of a key that a verification depends on or answers.
async fn updates(stage: &mut Stage<'_>) -> Vec<Case> {
    let mut all = Vec::new();
    let names = [stage.name("owner"), stage.name("owner")];
    let rows = [
        ("enabled", json!({}), json!({"enabled": false}), code("VALID"), code("DISABLED")),
        ("enabled again", json!({"enabled": false}), json!({"enabled": true}), code("DISABLED"), code("VALID")),
        ("expires", json!({}), json!({"expires": 1}), code("VALID"), code("EXPIRED")),
        ("expires never", json!({"expires": 1}), json!({"expires": null}), code("EXPIRED"), code("VALID")),
        ("name", json!({"name": "old"}), json!({"name": "new"}), json!({"name": "old"}), json!({"name": "new"})),
        ("no name", json!({"name": "old"}), json!({"name": null}), json!({"name": "old"}), json!({"name": null})),
        (
            "meta",
            json!({"meta": {"a": 1}}),
            json!({"meta": {"a": 2}}),
            json!({"meta": {"a": 1}}),
            json!({"meta": {"a": 2}}),
        ),
        (
            "externalId",
            json!({"externalId": names[0]}),
            json!({"externalId": names[1]}),
            json!({"identity": {"externalId": names[0]}}),
            json!({"identity": {"externalId": names[1]}}),
        ),
        (
            "no externalId",
            json!({"externalId": names[0]}),
            json!({"externalId": null}),
            json!({"identity": {"externalId": names[0]}}),
            json!({"identity": null}),
        ),
        (
            "ratelimits",
            json!({"ratelimits": limit(5)}),
            json!({"ratelimits": limit(7)}),
            json!({"ratelimits": [{"limit": 5}]}),
            json!({"ratelimits": [{"limit": 7}]}),
        ),
        (
            "no ratelimits",
            json!({"ratelimits": limit(5)}),
            json!({"ratelimits": null}),
            json!({"ratelimits": [{"limit": 5}]}),
            json!({"ratelimits": null}),
        ),
    ];
    for (about, members, change, before, after) in rows {
        let key = stage.key(members).await;
        let body = merged(json!({"keyId": key.id}), change);
        all.push(case(about, UPDATE, body).turns(verification(&key, json!({})), before, after));
    }
    all
}

/// Balances set to nothing, to something, and to unlimited.
async fn balances(stage: &mut Stage<'_>) -> Vec<Case> {
    let (spent, full) = (json!({"credits": {"remaining": 0}}), json!({"credits": {"remaining": 1000}}));
    let (refused, valid) = (code("USAGE_EXCEEDED"), code("VALID"));
    let unlimited = json!({"code": "VALID", "credits": null});
    let set = |value: Value| json!({"operation": "set", "value": value});
    let rows = [
        ("credits to 0", UPDATE, full.clone(), spent.clone(), valid.clone(), refused.clone()),
        ("credits from 0", UPDATE, spent.clone(), full.clone(), refused.clone(), valid.clone()),
        ("unlimited", UPDATE, spent.clone(), json!({"credits": null}), refused.clone(), unlimited.clone()),
        ("to 0", "keys.updateCredits", full, set(json!(0)), valid.clone(), refused.clone()),
        ("from 0", "keys.updateCredits", spent.clone(), set(json!(1000)), refused.clone(), valid),
        ("to unlimited", "keys.updateCredits", spent, set(Value::Null), refused, unlimited),
    ];
    let mut all = Vec::new();
    for (about, operation, members, change, before, after) in rows {
        let key = stage.key(members).await;
        let body = merged(json!({"keyId": key.id}), change);
        all.push(case(about, operation, body).turns(spending(&key), before, after));
    }
    all
}

async fn apis(stage: &mut Stage<'_>) -> Vec<Case> {
    let mut all = Vec::new();
    let (valid, strange) = (code("VALID"), json!({"ipWhitelist": ["203.0.113.9"]}));
    for (about, first, change, before, after) in [
        ("ipWhitelist", json!({}), strange.clone(), valid.clone(), code("FORBIDDEN")),
        ("no ipWhitelist", strange, json!({"ipWhitelist": null}), code("FORBIDDEN"), valid),
    ] {
        let api = new_api(stage.server).await;
        let key = new_key(stage.server, &api, json!({})).await;
        let api = json!({ "apiId": api });
        stage.call("apis.updateApi", merged(api.clone(), first)).await;
        let probe = verification(&key, json!({}));
        all.push(case(about, "apis.updateApi", merged(api, change)).turns(probe, before, after));
    }
    all
}

/// Permissions and roles given to keys and taken from them.
pub(super) async fn links(stage: &mut Stage<'_>) -> Vec<Case> {
    let mut all = Vec::new();
    let (lacking, valid) = (code("INSUFFICIENT_PERMISSIONS"), code("VALID"));
    for (operation, is_held) in [
        (UPDATE, false),
        (UPDATE, true),
        ("keys.addPermissions", false),
        ("keys.removePermissions", true),
        ("keys.setPermissions", false),
        ("keys.setPermissions", true),
    ] {
        let slug = stage.name("slug");
        let held: &[&String] = if is_held { &[&slug] } else { &[] };
        let key = stage.key(json!({ "permissions": held })).await;
        let replaces = operation == UPDATE || operation == "keys.setPermissions";
        let sent: &[&String] = if replaces && is_held { &[] } else { &[&slug] };
        let body = json!({"keyId": key.id, "permissions": sent});
        let (about, before, after) = turn(is_held, &valid, &lacking);
        all.push(case(about, operation, body).turns(asking(&key, &slug), before, after));
    }
    for (operation, is_held) in [
        (UPDATE, false),
        (UPDATE, true),
        ("keys.addRoles", false),
        ("keys.removeRoles", true),
        ("keys.setRoles", false),
        ("keys.setRoles", true),
    ] {
        let (slug, role) = (stage.name("slug"), stage.name("role"));
        stage.call("permissions.createRole", json!({"name": role, "permissions": [slug]})).await;
        let held: &[&String] = if is_held { &[&role] } else { &[] };
        let key = stage.key(json!({ "roles": held })).await;
        let replaces = operation == UPDATE || operation == "keys.setRoles";
        let sent: &[&String] = if replaces && is_held { &[] } else { &[&role] };
        let body = json!({"keyId": key.id, "roles": sent});
        let (about, before, after) = turn(is_held, &valid, &lacking);
        all.push(case(about, operation, body).turns(asking(&key, &slug), before, after));
    }
    all
}

fn turn(is_held: bool, valid: &Value, lacking: &Value) -> (&'static str, Value, Value) {
    if is_held { ("taking", valid.clone(), lacking.clone()) } else { ("giving", lacking.clone(), valid.clone()) }
}
