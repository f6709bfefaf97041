//! `keys.createKey` and `keys.deleteKey`.

use serde_json::{Value, json};

use crate::fixture::{NewKey, WINDOW, limited_client, new_api, new_key, read_key, verify};
use crate::{keyrack, program};

/// `(prefix, encoded part)` of a key.
fn parts(key: &NewKey) -> (Option<&str>, &str) {
    match key.key.rsplit_once('_') {
        Some((prefix, encoded)) => (Some(prefix), encoded),
        None => (None, &key.key),
    }
}

fn is_base58(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() && !"0OIl".contains(c))
}

#[tokio::test]
async fn a_key_is_base58_behind_its_prefix_and_its_start_keeps_the_prefix() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    for (members, prefix, lengths) in [
        (json!({}), None, 16..=22),
        (json!({"prefix": "test"}), Some("test"), 16..=22),
        (json!({"prefix": "sk_live"}), Some("sk_live"), 16..=22),
        (json!({"prefix": "sk_"}), Some("sk_"), 16..=22),
        (json!({"byteLength": 255}), None, 340..=349),
    ] {
        let key = new_key(&server, &api, members.clone()).await;
        let (given, encoded) = parts(&key);
        assert_eq!(given, prefix, "{members}");
        assert!(lengths.contains(&encoded.len()) && is_base58(encoded), "{members}: {encoded}");
        let start = prefix.map_or(encoded[..4].to_owned(), |prefix| format!("{prefix}_{}", &encoded[..4]));
        assert_eq!(read_key(&server, &key).await["start"], start, "{members}");
        assert_eq!(verify(&server, &key, json!({})).await["code"], "VALID", "{members}");
    }
}

#[tokio::test]
async fn defaults_of_the_api_apply_where_the_request_is_silent() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let defaults = json!({"apiId": api, "defaultPrefix": "acme", "defaultBytes": 32});
    server.call("apis.updateApi", defaults).await.expect(200);
    let key = new_key(&server, &api, json!({})).await;
    assert_eq!(parts(&key).0, Some("acme"));
    assert!((40..=44).contains(&parts(&key).1.len()), "{}", key.key);
    let key = new_key(&server, &api, json!({"prefix": "mine", "byteLength": 16})).await;
    assert_eq!(parts(&key).0, Some("mine"));
    assert!((16..=22).contains(&parts(&key).1.len()), "{}", key.key);
}

#[tokio::test]
async fn keys_do_not_repeat() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let key = new_key(&server, &api, json!({})).await;
        assert!(seen.insert(key.key) && seen.insert(key.id));
    }
}

#[tokio::test]
async fn an_unknown_deleted_or_forbidden_api_look_the_same() {
    let server = keyrack().await;
    let (api, deleted) = (new_api(&server).await, new_api(&server).await);
    server.call("apis.deleteApi", json!({"apiId": deleted})).await.expect(200);
    let stranger = limited_client(&server, &["api.*.read_key"]).await;
    let mut bodies: Vec<Value> = Vec::new();
    for (client, id) in [(server.client(), "api_unknown"), (server.client(), &deleted), (stranger, &api)] {
        let answer = client.call("keys.createKey", json!({"apiId": id})).await;
        bodies.push(answer.expect_error(404, "unkey/data/api_not_found").error().clone());
    }
    assert_eq!(bodies[0], bodies[1]);
    assert_eq!(bodies[0], bodies[2]);
}

#[tokio::test]
async fn refill_rules_of_creation() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let create =
        async |credits: Value| server.call("keys.createKey", json!({"apiId": api, "credits": credits})).await;
    let monthly = json!({"interval": "monthly", "amount": 10});
    let answer = create(json!({"remaining": 5, "refill": monthly})).await;
    let answer = answer.expect_error(400, "unkey/application/invalid_input");
    assert!(answer.detail().contains("refillDay"), "{}", answer.detail());
    let daily = json!({"interval": "daily", "amount": 10});
    let answer = create(json!({"remaining": null, "refill": daily})).await;
    let answer = answer.expect_error(400, "unkey/application/invalid_input");
    assert!(answer.detail().contains("credits.remaining"), "{}", answer.detail());
    let answer =
        create(json!({"remaining": 5, "refill": {"interval": "daily", "amount": 10, "refillDay": 3}})).await;
    let key = NewKey { id: answer.expect(200).text_of("keyId"), key: String::new() };
    let due = json!({"remaining": 5, "refill": {"interval": "daily", "amount": 10}});
    assert_eq!(read_key(&server, &key).await["credits"], due);
    let answer =
        create(json!({"remaining": 0, "refill": {"interval": "monthly", "amount": 10, "refillDay": 31}})).await;
    let key = NewKey { id: answer.expect(200).text_of("keyId"), key: String::new() };
    let due = json!({"remaining": 0, "refill": {"interval": "monthly", "amount": 10, "refillDay": 31}});
    assert_eq!(read_key(&server, &key).await["credits"], due);
}

#[tokio::test]
async fn missing_permissions_and_identities_are_made_and_missing_roles_are_not() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let narrow = limited_client(&server, &["api.*.create_key"]).await;
    let members = json!({"externalId": "new.customer", "permissions": ["made.here", "made.here", "second"]});
    let key = new_key(&narrow, &api, members).await;
    let stored = read_key(&server, &key).await;
    assert_eq!(stored["permissions"], json!(["made.here", "second"]));
    assert_eq!(stored["identity"]["externalId"], "new.customer");
    let again = new_key(&server, &api, json!({"externalId": "new.customer"})).await;
    assert_eq!(read_key(&server, &again).await["identity"]["id"], stored["identity"]["id"]);
    let body =
        json!({"apiId": api, "roles": ["no such role"], "permissions": ["rolled.back"], "externalId": "gone"});
    let answer = server.call("keys.createKey", body).await.expect_error(404, "unkey/data/role_not_found");
    assert!(answer.detail().contains("no such role"), "{}", answer.detail());
    let answer = server.call("identities.getIdentity", json!({"identity": "gone"})).await;
    answer.expect_error(404, "unkey/data/identity_not_found");
    let slug = json!({"name": "n", "slug": "rolled.back"});
    server.call("permissions.createPermission", slug).await.expect(200);
}

#[tokio::test]
async fn duplicate_roles_are_merged_and_of_duplicate_limits_the_last_wins() {
    let server = keyrack().await;
    server.call("permissions.createRole", json!({"name": "admin"})).await.expect(200);
    let limit = |limit: u64| json!({"name": "calls", "limit": limit, "duration": WINDOW, "autoApply": false});
    let members = json!({"roles": ["admin", "admin"], "ratelimits": [limit(1), limit(7)]});
    let key = new_key(&server, &new_api(&server).await, members).await;
    let stored = read_key(&server, &key).await;
    assert_eq!(stored["roles"], json!(["admin"]));
    assert_eq!(stored["ratelimits"].as_array().map(Vec::len), Some(1));
    assert_eq!(stored["ratelimits"][0]["limit"], 7);
}

#[tokio::test]
async fn a_key_can_be_born_disabled_or_expired() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let disabled = new_key(&server, &api, json!({"enabled": false})).await;
    assert_eq!(verify(&server, &disabled, json!({})).await["code"], "DISABLED");
    let expired = new_key(&server, &api, json!({"expires": 1000})).await;
    assert_eq!(verify(&server, &expired, json!({})).await["code"], "EXPIRED");
}

#[tokio::test]
async fn oversized_meta_is_refused() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let create = async |length: usize| {
        let body = json!({"apiId": api, "meta": {"blob": "x".repeat(length)}});
        server.call("keys.createKey", body).await
    };
    create(60_000).await.expect(200);
    create(66_000).await.expect_error(400, "unkey/application/invalid_input");
}

#[tokio::test]
async fn a_recoverable_key_needs_a_vault() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let answer = server.call("keys.createKey", json!({"apiId": api, "recoverable": true})).await;
    answer.expect_error(412, "unkey/application/precondition_failed");
    let key = new_key(&server, &api, json!({})).await;
    let answer = server.call("keys.getKey", json!({"keyId": key.id, "decrypt": true})).await;
    answer.expect_error(412, "unkey/application/precondition_failed");
    let answer = server.call("apis.listKeys", json!({"apiId": api, "decrypt": true})).await;
    answer.expect_error(412, "unkey/application/precondition_failed");
}

#[tokio::test]
async fn a_deleted_key_is_gone_everywhere_and_cannot_be_deleted_again() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    for permanent in [false, true] {
        let key = new_key(&server, &api, json!({})).await;
        let body = json!({"keyId": key.id, "permanent": permanent});
        let answer = server.call("keys.deleteKey", body.clone()).await.expect(200);
        assert_eq!(answer.data(), &json!({}));
        for (operation, body) in [
            ("keys.deleteKey", body),
            ("keys.getKey", json!({"keyId": key.id})),
            ("keys.updateKey", json!({"keyId": key.id})),
            ("keys.whoami", json!({"key": key.key})),
        ] {
            let answer = server.call(operation, body).await;
            answer.expect_error(404, "unkey/data/key_not_found");
        }
        assert_eq!(verify(&server, &key, json!({})).await["code"], "NOT_FOUND");
    }
    let listed = server.call("apis.listKeys", json!({"apiId": api})).await.expect(200);
    assert_eq!(listed.data(), &json!([]));
}

/// How often the program asked its database, what it asks all the time aside: whether it is there, and what other
/// processes changed.
fn asked(log: &str) -> usize {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let summary = |line: &Value| line["summary"].as_str().unwrap_or_default().to_owned();
    let lines = lines.filter(|line| line["target"] == "sqlx::query").map(|line| summary(&line));
    lines.filter(|text| text != "SELECT 1" && !text.starts_with("SELECT id, generation FROM")).count()
}

#[tokio::test]
async fn a_key_with_everything_takes_three_rounds_to_the_database_and_is_not_read_back() {
    let log = ("KEYRACK_LOG", "error,sqlx::query=debug");
    let server = program().env("KEYRACK_LOG_FORMAT", "json").env(log.0, log.1).start().await;
    let api = new_api(&server).await;
    server.call("permissions.createRole", json!({"name": "editor"})).await.expect(200);
    let mut rounds = Vec::new();
    // Scheduled work may ask something meanwhile, but not each time.
    for user in 0..5 {
        let before = asked(&server.log());
        let members = json!({"externalId": format!("user_{user}"), "permissions": ["doc.read", "doc.write"],
                             "roles": ["editor"], "credits": {"remaining": 10},
                             "ratelimits": [{"name": "requests", "limit": 5, "duration": 60_000, "autoApply": true}]});
        let key = new_key(&server, &api, members).await;
        rounds.push(asked(&server.log()) - before);
        assert_eq!(verify(&server, &key, json!({"permissions": "doc.read AND doc.write"})).await["code"], "VALID");
    }
    // The generation and the caller's standing, what is named, and what is made with what is told of it.
    assert_eq!(rounds.iter().min(), Some(&3), "{rounds:?}");
}
