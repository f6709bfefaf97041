//! Changes of permissions, roles and identities that keys have.

use serde_json::{Value, json};

use super::{Case, Stage, asking, case, code, verification};
use crate::fixture::WINDOW;

pub(super) async fn cases(stage: &mut Stage<'_>) -> Vec<Case> {
    let mut all = permissions(stage).await;
    all.extend(roles(stage).await);
    all.extend(identities(stage).await);
    all
}

async fn permissions(stage: &mut Stage<'_>) -> Vec<Case> {
    let (lacking, valid) = (code("INSUFFICIENT_PERMISSIONS"), code("VALID"));
    let mut all = Vec::new();
    for way in ["held itself", "through a role"] {
        let [old, new, gone] = ["old", "new", "gone"].map(|what| stage.name(what));
        let slugs = json!([old, gone]);
        let role = stage.name("role");
        let key = if way == "held itself" {
            stage.key(json!({ "permissions": slugs })).await
        } else {
            stage.call("permissions.createRole", json!({"name": role, "permissions": slugs})).await;
            stage.key(json!({ "roles": [role] })).await
        };
        let body = json!({"permission": old, "name": "n", "slug": new});
        let rename = case(way, "permissions.updatePermission", body);
        all.push(rename.turns(asking(&key, &old), valid.clone(), lacking.clone()));
        let delete = case(way, "permissions.deletePermission", json!({ "permission": gone }));
        all.push(delete.turns(asking(&key, &gone), valid.clone(), lacking.clone()));
    }
    let [old, wanted] = ["old", "wanted"].map(|what| stage.name(what));
    let key = stage.key(json!({ "permissions": [old] })).await;
    let body = json!({"permission": old, "name": "n", "slug": wanted});
    let rename = case("to what is asked for", "permissions.updatePermission", body);
    all.push(rename.turns(asking(&key, &wanted), lacking, valid));
    all
}

async fn roles(stage: &mut Stage<'_>) -> Vec<Case> {
    let (lacking, valid) = (code("INSUFFICIENT_PERMISSIONS"), code("VALID"));
    let mut all = Vec::new();
    for about in ["name", "deleted", "taking", "giving"] {
        let [slug, role, other] = ["slug", "role", "other"].map(|what| stage.name(what));
        stage.call("permissions.createRole", json!({"name": role, "permissions": [slug]})).await;
        let key = stage.key(json!({ "roles": [role] })).await;
        all.push(match about {
            "name" => {
                let body = json!({"role": role, "name": other});
                let roles = |name: &str| json!({ "roles": [name] });
                let rename = case(about, "permissions.updateRole", body);
                rename.turns(verification(&key, json!({})), roles(&role), roles(&other))
            }
            "deleted" => {
                let delete = case(about, "permissions.deleteRole", json!({ "role": role }));
                delete.turns(asking(&key, &slug), valid.clone(), lacking.clone())
            }
            "taking" => {
                let set = case(about, "permissions.setRolePermissions", json!({"role": role, "permissions": []}));
                set.turns(asking(&key, &slug), valid.clone(), lacking.clone())
            }
            _ => {
                let body = json!({"role": role, "permissions": [slug, other]});
                let set = case(about, "permissions.setRolePermissions", body);
                set.turns(asking(&key, &other), lacking.clone(), valid.clone())
            }
        });
    }
    all
}

async fn identities(stage: &mut Stage<'_>) -> Vec<Case> {
    let limit = |count: u64| json!([{"name": "calls", "limit": count, "duration": WINDOW, "autoApply": true}]);
    let limits = |count: u64| json!({"ratelimits": [{"limit": count}]});
    let meta = |a: u64| json!({"identity": {"meta": {"a": a}}});
    let mut all = Vec::new();
    for (about, change, before, after) in [
        ("meta", json!({"meta": {"a": 2}}), meta(1), meta(2)),
        ("ratelimits", json!({"ratelimits": limit(7)}), limits(5), limits(7)),
        ("no ratelimits", json!({"ratelimits": []}), limits(5), json!({"ratelimits": null})),
        ("deleted", Value::Null, limits(5), json!({"identity": null, "ratelimits": null})),
    ] {
        let owner = stage.name("owner");
        let identity = json!({"externalId": owner, "meta": {"a": 1}, "ratelimits": limit(5)});
        stage.call("identities.createIdentity", identity).await;
        let key = stage.key(json!({ "externalId": owner })).await;
        let mut body = json!({ "identity": owner });
        let operation = if let Value::Object(members) = change {
            body.as_object_mut().expect("an object").extend(members);
            "identities.updateIdentity"
        } else {
            "identities.deleteIdentity"
        };
        all.push(case(about, operation, body).turns(verification(&key, json!({})), before, after));
    }
    all
}
