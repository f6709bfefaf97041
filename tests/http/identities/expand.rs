//! `expand` of identities: keys, and what is used of their limits.

use serde_json::{Value, json};

use crate::fixture::{WINDOW, new_api, new_identity, new_key, now, verify};
use crate::keyrack;

#[tokio::test]
async fn an_identity_says_how_many_keys_it_has_and_what_they_have_used_together() {
    let server = keyrack().await;
    let before = now();
    let limit = json!({"name": "shared", "limit": 5, "duration": WINDOW, "autoApply": true});
    let id = new_identity(&server, "ann", json!({"ratelimits": [limit]})).await;
    new_identity(&server, "bob", json!({})).await;
    let (api, doomed) = (new_api(&server).await, new_api(&server).await);
    let (one, two) = (
        new_key(&server, &api, json!({"externalId": "ann"})).await,
        new_key(&server, &api, json!({"externalId": "ann"})).await,
    );
    new_key(&server, &doomed, json!({"externalId": "ann"})).await;
    server.call("apis.deleteApi", json!({"apiId": doomed})).await.expect(200);
    for key in [&one, &one, &two] {
        verify(&server, key, json!({})).await;
    }
    let get = async |expand: Value| {
        let answer = server.call("identities.getIdentity", json!({"identity": "ann", "expand": expand})).await;
        answer.expect(200).data().clone()
    };
    let plain = get(json!([])).await;
    let mut members: Vec<&String> = plain.as_object().expect("an object").keys().collect();
    members.sort_unstable();
    assert_eq!(members, ["externalId", "id", "ratelimits"]);
    let counted = get(json!(["counts"])).await;
    assert_eq!((&counted["keys"], counted.get("updatedAt")), (&json!(2), None));
    assert!((before..=now()).contains(&counted["createdAt"].as_i64().expect("a time")));
    assert_eq!(counted["ratelimits"], plain["ratelimits"]);
    let used = get(json!(["usage"])).await;
    let shared = &used["ratelimits"][0];
    assert_eq!((&shared["used"], &shared["remaining"], used.get("keys")), (&json!(3), &json!(2), None));
    assert!(shared["reset"].as_i64().expect("a time") > now());
    assert_eq!(get(json!(["usage"])).await["ratelimits"][0]["used"], 3, "looking counts nothing");
    server.call("identities.updateIdentity", json!({"identity": "ann", "meta": {"a": 1}})).await.expect(200);
    assert!(get(json!(["counts"])).await["updatedAt"].as_i64().expect("a time") >= before);
    let listed = server.call("identities.listIdentities", json!({"expand": ["counts"]})).await.expect(200);
    let keys = |id: &str| {
        let items = listed.data().as_array().expect("a list");
        items.iter().find(|item| item["externalId"] == id).expect("an identity")["keys"].clone()
    };
    assert_eq!((keys("ann"), keys("bob")), (json!(2), json!(0)));
    let plain = server.call("identities.listIdentities", json!({"search": id})).await.expect(200);
    assert_eq!(plain.data()[0].get("keys"), None);
}
