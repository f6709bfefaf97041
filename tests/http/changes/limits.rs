//! Changes of rate-limit namespaces and overrides.

use keyrack_test_harness::{Client, Server};
use serde_json::{Value, json};

use super::scene::id;
use super::{Change, Due, Named, Probe, due};
use crate::fixture::WINDOW;

const CREATED: &str = "ratelimitNamespace.create";
const SET: &str = "ratelimit.set_override";

fn check(namespace: &str, identifier: &str) -> Value {
    json!({"namespace": namespace, "identifier": identifier, "limit": 3, "duration": WINDOW})
}

/// A namespace with an override for `vip`: its id and that of the override.
async fn namespace(client: &Client, name: &str) -> (String, String) {
    client.call("ratelimit.limit", check(name, "i")).await.expect(200);
    let set = client.call("ratelimit.setOverride", check(name, "vip")).await.expect(200);
    let found = client.call("ratelimit.listNamespaces", json!({"search": name})).await.expect(200);
    (found.data()[0]["id"].as_str().expect("an id").to_owned(), set.text_of("overrideId"))
}

pub(super) async fn changes(server: &Server, operation: &'static str, tag: &str) -> Vec<Change> {
    let (namespace, rule) = namespace(server, tag).await;
    let [one, two] = ["one", "two"].map(|name| format!("{tag}.{name}"));
    let created = |name: &String| due(CREATED, [Named::Namespace(name.clone())]);
    let change = |body: Value, due: Vec<Due>| {
        Change::new(operation, body, due).probed([Probe::limit(tag, "vip"), Probe::limit(tag, "other")])
    };
    match operation {
        "ratelimit.limit" => vec![change(check(&one, "i"), vec![created(&one)])],
        "ratelimit.multiLimit" => {
            let body = json!([check(&one, "i"), check(&two, "i"), check(tag, "i"), check(&one, "j")]);
            vec![change(body, vec![created(&one), created(&two)])]
        }
        "ratelimit.setOverride" => {
            let new = vec![due(SET, [Named::Answered("/overrideId")])];
            let again = vec![due(SET, [id(&rule)])];
            let other = json!({"namespace": tag, "identifier": "vip", "limit": 77, "duration": WINDOW});
            vec![change(check(tag, "other"), new), change(other, again)]
        }
        "ratelimit.deleteOverride" => {
            let events = vec![due("ratelimit.delete_override", [id(&rule), id(&namespace)])];
            vec![change(json!({"namespace": tag, "identifier": "vip"}), events)]
        }
        "ratelimit.createNamespace" => {
            let new = vec![due(CREATED, [Named::Answered("/namespaceId")])];
            let gone = format!("{tag}.gone");
            let (revived, _) = self::namespace(server, &gone).await;
            server.call("ratelimit.deleteNamespace", json!({ "namespace": gone })).await.expect(200);
            let revive = Change::new(operation, json!({ "name": gone }), vec![due(CREATED, [id(&revived)])]);
            vec![change(json!({ "name": one }), new), revive.probed([Probe::limit(&gone, "vip")])]
        }
        "ratelimit.deleteNamespace" => {
            let events = vec![due("ratelimitNamespace.delete", [id(&namespace)])];
            vec![change(json!({"namespace": tag}), events)]
        }
        other => panic!("no change for {other}"),
    }
}
