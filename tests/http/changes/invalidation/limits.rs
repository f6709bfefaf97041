//! Changes of overrides and namespaces.

use serde_json::{Value, json};

use super::{Case, Stage, case};
use crate::changes::Probe;
use crate::fixture::WINDOW;

/// What a request says whose limit no override replaces.
const ASKED: u64 = 9;

pub(super) async fn cases(stage: &mut Stage<'_>) -> Vec<Case> {
    let mut all = Vec::new();
    let limited = |count: u64| json!({ "limit": count });
    for (about, known, operation, change, before, after) in [
        ("new", None, "ratelimit.setOverride", Some(("vip", 3)), ASKED, 3),
        ("changed", Some(("vip", 3)), "ratelimit.setOverride", Some(("vip", 5)), 3, 5),
        ("a pattern", None, "ratelimit.setOverride", Some(("v*", 3)), ASKED, 3),
        ("exact", Some(("vip", 3)), "ratelimit.deleteOverride", Some(("vip", 0)), 3, ASKED),
        ("of a pattern", Some(("v*", 3)), "ratelimit.deleteOverride", Some(("v*", 0)), 3, ASKED),
    ] {
        let namespace = stage.name("namespace");
        let rule = |(identifier, limit): (&str, u64)| json!({"namespace": namespace, "identifier": identifier, "limit": limit, "duration": WINDOW});
        stage.call("ratelimit.limit", rule(("first", 1))).await;
        if let Some(known) = known {
            stage.call("ratelimit.setOverride", rule(known)).await;
        }
        let mut body = change.map_or(Value::Null, rule);
        if operation == "ratelimit.deleteOverride" {
            body = json!({"namespace": namespace, "identifier": body["identifier"]});
        }
        let probe = Probe::limit(&namespace, "vip");
        all.push(case(about, operation, body).turns(probe, limited(before), limited(after)));
    }
    let namespace = stage.name("namespace");
    let first = json!({"namespace": namespace, "identifier": "first", "limit": 1, "duration": WINDOW});
    stage.call("ratelimit.limit", first).await;
    let delete = case("", "ratelimit.deleteNamespace", json!({ "namespace": namespace }));
    let gone = json!({"status": 410, "code": "unkey/data/ratelimit_namespace_gone"});
    all.push(delete.turns(Probe::limit(&namespace, "vip"), limited(ASKED), gone.clone()));
    let namespace = stage.name("namespace");
    let rule = json!({"namespace": namespace, "identifier": "vip", "limit": 1, "duration": WINDOW});
    stage.call("ratelimit.limit", rule.clone()).await;
    stage.call("ratelimit.setOverride", rule).await;
    stage.call("ratelimit.deleteNamespace", json!({ "namespace": namespace })).await;
    let revive = case("of a deleted one", "ratelimit.createNamespace", json!({ "name": namespace }));
    all.push(revive.turns(Probe::limit(&namespace, "vip"), gone, limited(ASKED)));
    all
}
