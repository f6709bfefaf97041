//! The seven things that people ask their assistants about API keys, as the calls an assistant makes of them: each takes at
//! most three calls and 8 KB of results, and what the user wanted to know, or to have, is in them or is so.
//!
//! The assistant sees the default view and the root key's full rights, over HTTP, on a server that counts what it decides.

mod assistant;

use std::collections::HashMap;

use keyrack_test_harness::{Program, Server, program_under_test};
use serde_json::{Value, json};

use self::assistant::Assistant;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// A company's server: some APIs, and nothing that was asked for yet.
async fn company() -> Server {
    let server = Program::new(program_under_test()).on_engine().await.start().await;
    for name in ["payments", "mobile backend", "letters"] {
        server.call("apis.createApi", json!({ "name": name })).await.expect(200);
    }
    server
}

async fn api(server: &Server, search: &str) -> String {
    let found = server.call("apis.listApis", json!({ "search": search })).await.expect(200);
    found.data()[0]["id"].as_str().expect("an id").to_owned()
}

async fn verified(server: &Server, body: Value) -> Value {
    server.call("keys.verifyKey", body).await.expect(200).data().clone()
}

fn notes(answer: &Value) -> String {
    answer["notes"].to_string()
}

/// "Create a key for my mobile app: 1000 requests an hour, valid for 90 days, and note that it is for iOS, team growth."
#[tokio::test]
async fn a_key_for_a_mobile_app() {
    let server = company().await;
    let mut assistant = Assistant::connect(&server).await;
    let found = assistant.call("apis_listApis", json!({ "search": "mobile" })).await;
    assert_eq!(found["data"].as_array().map(Vec::len), Some(1), "{found}");
    let limit = json!({ "name": "requests", "limit": 1000, "duration": HOUR, "autoApply": true });
    let new = json!({
        "apiId": found["data"][0]["id"], "name": "Mobile app", "expires": assistant.now + 90 * DAY,
        "meta": { "platform": "ios", "team": "growth" }, "ratelimits": [limit],
    });
    let made = assistant.call("keys_createKey", new).await;
    assert!(notes(&made).contains("shown this once"), "{made}");
    let is_told = ["in 90 days", "in 89 days"].iter().any(|days| notes(&made).contains(days));
    assert!(is_told, "the user is told when it ends: {made}");
    let read = json!({ "keyId": made["data"]["keyId"], "detail": "full" });
    let read = assistant.call("keys_getKey", read).await["data"].clone();
    assert_eq!((&read["name"], &read["meta"]["platform"]), (&json!("Mobile app"), &json!("ios")), "{read}");
    assert_eq!(read["expires"], assistant.now + 90 * DAY);
    let limit = &read["ratelimits"][0];
    assert_eq!(
        (&limit["limit"], &limit["duration"], &limit["autoApply"]),
        (&json!(1000), &json!(HOUR), &json!(true))
    );

    let verdict = verified(&server, json!({ "key": made["data"]["key"] })).await;
    assert_eq!(
        (&verdict["code"], &verdict["ratelimits"][0]["remaining"]),
        (&json!("VALID"), &json!(999)),
        "{verdict}"
    );
    assert_eq!(verdict["meta"], json!({ "platform": "ios", "team": "growth" }));
}

/// "Set up three tiers in our namespace `api`: free 100 a minute, pro 1000, enterprise 10000."
#[tokio::test]
async fn three_tiers_of_limits() {
    let server = company().await;
    // The application has asked with its own number before.
    let asks = |identifier: &str| json!({ "namespace": "api", "identifier": identifier, "limit": 10, "duration": MINUTE, "cost": 0 });
    server.call("ratelimit.limit", asks("free_1")).await.expect(200);
    let mut assistant = Assistant::connect(&server).await;
    for (tier, limit) in [("free_*", 100), ("pro_*", 1000), ("enterprise_*", 10_000)] {
        let tier = json!({ "namespace": "api", "identifier": tier, "limit": limit, "duration": MINUTE });
        let made = assistant.call("ratelimit_setOverride", tier).await;
        assert!(made["data"]["overrideId"].as_str().is_some_and(|id| id.starts_with("rlor_")), "{made}");
    }
    for (customer, limit) in [("free_1", 100), ("pro_ann", 1000), ("enterprise_acme", 10_000), ("somebody", 10)] {
        let decided = server.call("ratelimit.limit", asks(customer)).await.expect(200).data().clone();
        assert_eq!(decided["limit"], limit, "{customer}: {decided}");
    }
}

/// Keys by name, how often each is used, and how many of these uses are refused.
const CUSTOMERS: [(&str, usize, usize); 7] =
    [("ann", 14, 7), ("bob", 12, 0), ("cem", 10, 5), ("dee", 8, 2), ("eva", 6, 0), ("fay", 4, 0), ("gil", 2, 1)];

/// A server of which customers have made use.
async fn used() -> Server {
    let server = company().await;
    let api = api(&server, "payments").await;
    for (name, uses, refused) in CUSTOMERS {
        let new = json!({ "apiId": api, "name": name, "externalId": format!("cust_{name}") });
        let key = server.call("keys.createKey", new).await.expect(200).text_of("key");
        for at in 0..uses {
            let lacking = json!({ "key": key, "permissions": "documents.write" });
            let body = if at < refused { lacking } else { json!({ "key": key }) };
            verified(&server, body).await;
        }
    }
    server
}

/// Of each group its name, uses and refusals, in the order of the answer.
fn groups(answer: &Value) -> Vec<(String, i64, i64)> {
    let groups = answer["data"]["groups"].as_array().expect("groups").iter();
    let facts = groups.map(|group| {
        let total = group["total"].as_i64().expect("a number");
        let valid = group["counts"]["VALID"].as_i64().unwrap_or_default();
        (group["name"].as_str().expect("a name").to_owned(), total, total - valid)
    });
    facts.collect()
}

fn wanted(count: usize) -> Vec<(String, i64, i64)> {
    let number = |number: usize| i64::try_from(number).expect("small");
    let first = CUSTOMERS.iter().take(count);
    first.map(|(name, uses, refused)| ((*name).to_owned(), number(*uses), number(*refused))).collect()
}

/// "How was our API used in the last seven days? The five keys with most of it, and their error rates."
#[tokio::test]
async fn usage_of_seven_days_with_top_keys_and_error_rates() {
    let server = used().await;
    let mut assistant = Assistant::connect(&server).await;
    let answer = assistant.call("analytics_getUsage", json!({ "by": "key", "limit": 5 })).await;
    assistant.as_if_all_along(&answer, 8);
    let uses: usize = CUSTOMERS.iter().map(|(_, uses, _)| uses).sum();
    let refused: usize = CUSTOMERS.iter().map(|(.., refused)| refused).sum();
    let totals = &answer["data"]["totals"];
    assert_eq!((&totals["total"], &totals["counts"]["VALID"]), (&json!(uses), &json!(uses - refused)), "{answer}");
    assert_eq!(totals["counts"]["INSUFFICIENT_PERMISSIONS"], refused);
    assert_eq!(groups(&answer), wanted(5));
    let week =
        answer["data"]["end"].as_i64().zip(answer["data"]["start"].as_i64()).map(|(end, start)| end - start);
    assert!(week.is_some_and(|ms| (7 * DAY..=8 * DAY).contains(&ms)), "{answer}");
}

/// "What are my top three API keys by usage this month?"
#[tokio::test]
async fn top_three_keys_of_the_month() {
    let server = used().await;
    let mut assistant = Assistant::connect(&server).await;
    // By day, as the tool says, over the longest month.
    let start = assistant.now - 30 * DAY;
    let asked = json!({ "by": "key", "limit": 3, "bucket": "day", "start": start, "end": assistant.now + DAY });
    let answer = assistant.call("analytics_getUsage", asked).await;
    assistant.as_if_all_along(&answer, 31);
    assert_eq!(groups(&answer), wanted(3));
}

/// "Customer acme gets 401 when it writes documents. Why?"
#[tokio::test]
async fn a_key_that_fails_is_explained() {
    let server = company().await;
    let api = api(&server, "payments").await;
    let new = json!({
        "apiId": api, "name": "Acme production", "externalId": "acme", "permissions": ["documents.read"],
        "credits": { "remaining": 0 },
    });
    let key = server.call("keys.createKey", new).await.expect(200).text_of("key");
    let asked = json!({ "key": key, "permissions": "documents.write", "tags": ["path=/documents"] });
    assert_eq!(verified(&server, asked.clone()).await["code"], "INSUFFICIENT_PERMISSIONS");
    let mut assistant = Assistant::connect(&server).await;
    let found = assistant.call("keys_listKeys", json!({ "identity": "acme" })).await;
    let key_id = found["data"][0]["keyId"].clone();
    let history = assistant.call("analytics_getUsage", json!({ "keyId": key_id })).await;
    assistant.as_if_all_along(&history, 8);
    let counts = &history["data"]["totals"]["counts"];
    assert_eq!(*counts, json!({ "INSUFFICIENT_PERMISSIONS": 1 }), "it never worked: {history}");
    let asked_by = json!({ "keyId": key_id, "permissions": "documents.write" });
    let explained = assistant.call("keys_explainKey", asked_by).await["data"].clone();
    assert_eq!(explained["verdict"], "INSUFFICIENT_PERMISSIONS");
    let refused: HashMap<&str, &Value> = explained["checks"]
        .as_array()
        .expect("checks")
        .iter()
        .filter(|check| check["result"] == "refused")
        .filter_map(|check| Some((check["check"].as_str()?, check)))
        .collect();
    let permissions = refused["permissions"];
    assert!(permissions["detail"].to_string().contains("documents.write"), "{explained}");
    assert!(permissions["fix"].to_string().contains("addPermissions"), "what mends it is named: {explained}");
    assert!(refused.contains_key("credits"), "and what would refuse it next: {explained}");
    // Nothing was counted by looking.
    assert_eq!(verified(&server, asked).await["code"], "INSUFFICIENT_PERMISSIONS");
}

/// "Acme is rate limited after 5 requests, but I thought its limit was 100."
#[tokio::test]
async fn a_limit_that_was_thought_to_be_higher() {
    let server = company().await;
    let limit = |limit: i64| json!([{ "name": "requests", "limit": limit, "duration": HOUR, "autoApply": true }]);
    let acme = json!({ "externalId": "acme", "ratelimits": limit(100) });
    server.call("identities.createIdentity", acme).await.expect(200);
    let new = json!({ "apiId": api(&server, "payments").await, "externalId": "acme", "ratelimits": limit(5) });
    let key = server.call("keys.createKey", new).await.expect(200).text_of("key");
    let mut code = Value::Null;
    // More than five, whenever an hour ends meanwhile.
    for _ in 0..12 {
        code = verified(&server, json!({ "key": key })).await["code"].clone();
    }
    assert_eq!(code, "RATE_LIMITED");
    let mut assistant = Assistant::connect(&server).await;
    let found = assistant.call("keys_listKeys", json!({ "identity": "acme" })).await;
    let explained = assistant.call("keys_explainKey", json!({ "keyId": found["data"][0]["keyId"] })).await;
    let explained = &explained["data"];
    assert_eq!(explained["verdict"], "RATE_LIMITED");
    let limits: HashMap<&str, &Value> = explained["limits"]
        .as_array()
        .expect("limits")
        .iter()
        .filter_map(|limit| Some((limit["owner"].as_str()?, limit)))
        .collect();
    let (own, shared) = (limits["key"], limits["identity"]);
    assert_eq!(
        (&own["limit"], &own["hidden"], &own["remaining"]),
        (&json!(5), &json!(false), &json!(0)),
        "{explained}"
    );
    assert_eq!((&shared["limit"], &shared["hidden"]), (&json!(100), &json!(true)), "{explained}");

    // The same of a limit that the application asks for: "user_42 should have 100 a minute in `api`".
    let asks = json!({ "namespace": "api", "identifier": "user_42", "limit": 100, "duration": MINUTE });
    server.call("ratelimit.limit", asks.clone()).await.expect(200);
    let lower = json!({ "namespace": "api", "identifier": "user_*", "limit": 10, "duration": MINUTE });
    server.call("ratelimit.setOverride", lower).await.expect(200);
    assistant.begin_anew();
    let count = assistant.call("ratelimit_getCount", asks).await["data"].clone();
    assert_eq!(count["limit"], 10, "{count}");
    let about = json!({ "namespace": "api", "identifier": "user_42" });
    let applied = assistant.call("ratelimit_getOverride", about).await["data"].clone();
    assert_eq!((&applied["overrideId"], &applied["identifier"]), (&count["overrideId"], &json!("user_*")));
}

/// "Create a key for our development environment: 500 requests an hour, for 30 days."
#[tokio::test]
async fn a_key_for_development() {
    let server = company().await;
    let mut assistant = Assistant::connect(&server).await;
    let apis = assistant.call("apis_listApis", json!({})).await;
    let letters = apis["data"].as_array().expect("APIs").iter().find(|api| api["name"] == "letters");
    let limit = json!({ "name": "requests", "limit": 500, "duration": HOUR, "autoApply": true });
    let new = json!({
        "apiId": letters.expect("an API")["id"], "name": "Development", "prefix": "dev",
        "expires": assistant.now + 30 * DAY, "ratelimits": [limit],
    });
    let made = assistant.call("keys_createKey", new).await;
    assert!(made["data"]["key"].as_str().is_some_and(|key| key.starts_with("dev_")), "{made}");
    assert!(["in 30 days", "in 29 days"].iter().any(|days| notes(&made).contains(days)), "{made}");
    let explained = assistant.call("keys_explainKey", json!({ "keyId": made["data"]["keyId"] })).await;
    assert_eq!(explained["data"]["verdict"], "VALID", "{explained}");
    let limit = &explained["data"]["limits"][0];
    assert_eq!((&limit["limit"], &limit["duration"]), (&json!(500), &json!(HOUR)), "{explained}");
    let verdict = verified(&server, json!({ "key": made["data"]["key"] })).await;
    assert_eq!((&verdict["code"], &verdict["ratelimits"][0]["remaining"]), (&json!("VALID"), &json!(499)));
}
