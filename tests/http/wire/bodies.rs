//! What a body may be: data whatever its names are, bounded in depth, size and number of faults, in UTF-8.

use keyrack_test_harness::{Answer, Client, ROOT_KEY, Server, operations};
use reqwest::Method;
use serde_json::{Value, json};

use crate::catalogue::facts::facts;
use crate::fixture::{new_api, new_identity, new_key, verify_answer};
use crate::keyrack;
use crate::wire::faults;

pub(crate) const UNREADABLE: &str = "user/bad_request/request_body_unreadable";
const INVALID: &str = "unkey/application/invalid_input";
pub(crate) const TOO_LARGE: &str = "user/bad_request/request_body_too_large";

/// Metadata as text, since a reader may obey its names: those that serde_json keeps for itself, and others.
fn odd_metadata() -> Vec<String> {
    let inner = json!({"$serde_json::private::RawValue": "{\"a\":1}"}).to_string();
    let mut bomb = "1".to_owned();
    for _ in 0..10 {
        bomb = json!({ "$serde_json::private::RawValue": bomb }).to_string();
    }
    vec![
        inner.clone(),
        format!(r#"{{"plan":{inner}}}"#),
        bomb,
        r#"{"$serde_json::private::Number":"1"}"#.to_owned(),
        r#"{"__proto__":{"a":1},"":null,"constructor":[]}"#.to_owned(),
        format!("{{\"deep\":{}{}}}", "[".repeat(40), "]".repeat(40)),
        r#"{"big":9223372036854775807,"bigger":18446744073709551615,"half":0.5}"#.to_owned(),
    ]
}

/// A client whose answers nobody holds against the contract: its reader obeys names of members.
fn unread(server: &Server) -> Client {
    Client::new(server.base(), ROOT_KEY)
}

pub(crate) async fn called(client: &Client, operation: &str, body: Value, member: &str, text: &str) -> Answer {
    let mut body = body.to_string();
    let separator = if body == "{}" { "" } else { "," };
    body.insert_str(body.len() - 1, &format!("{separator}\"{member}\":{text}"));
    client.call_text(operation, body, &[]).await
}

#[tokio::test]
async fn metadata_is_data_and_everybody_who_reads_it_shows_the_same() {
    let server = keyrack().await;
    let client = unread(&server);
    let api = new_api(&server).await;
    for (at, meta) in odd_metadata().into_iter().enumerate() {
        let external_id = format!("customer_{at}");
        let identity = json!({ "externalId": external_id });
        called(&client, "identities.createIdentity", identity, "meta", &meta).await.expect(200);
        let key = json!({ "apiId": api, "externalId": external_id });
        let key = called(&client, "keys.createKey", key, "meta", &meta).await.expect(200);
        let (key_id, key) = (key.text_of("keyId"), key.text_of("key"));
        called(&client, "keys.updateKey", json!({ "keyId": key_id }), "meta", &meta).await.expect(200);
        let updated =
            called(&client, "identities.updateIdentity", json!({ "identity": external_id }), "meta", &meta);
        let shown = format!("\"meta\":{meta}");
        for (answer, times) in [
            (updated.await, 1),
            (verify_answer(&client, &key, json!({})).await, 2),
            (client.call("keys.getKey", json!({ "keyId": key_id })).await, 2),
            (client.call("keys.whoami", json!({ "key": key })).await, 2),
            (client.call("apis.listKeys", json!({ "apiId": api, "externalId": external_id })).await, 2),
            (client.call("identities.getIdentity", json!({ "identity": external_id })).await, 1),
            (client.call("identities.listIdentities", json!({ "search": external_id })).await, 1),
        ] {
            let answer = answer.expect(200);
            assert_eq!(answer.text.matches(&shown).count(), times, "{meta}: {}: {}", answer.asked, answer.text);
        }
    }
}

#[tokio::test]
async fn what_is_stored_survives_a_start_as_it_is() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let mut keys = Vec::new();
    for meta in odd_metadata() {
        let made = called(&server, "keys.createKey", json!({ "apiId": api }), "meta", &meta).await.expect(200);
        keys.push((made.text_of("key"), meta));
    }
    let server = server.kill_and_restart().await;
    for (key, meta) in keys {
        let answer = verify_answer(&unread(&server), &key, json!({})).await.expect(200);
        assert!(answer.text.contains(&format!("\"meta\":{meta}")), "{meta}: {}", answer.text);
    }
}

/// Every member of every operation with something in it that nests: refused with its place, or taken if it may be
/// anything and is shallow enough; and the process lives on.
#[tokio::test]
async fn nothing_nested_in_any_member_of_any_operation_does_harm() {
    let mut server = keyrack().await;
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let raw = |depth: usize| {
        let mut text = "1".to_owned();
        for _ in 0..depth {
            text = json!({ "$serde_json::private::RawValue": text }).to_string();
        }
        text
    };
    let values = [nested(49), nested(50), nested(127), nested(20_000), raw(3), raw(12)];
    for name in operations(&server).await {
        let operation =
            facts().operation(name).unwrap_or_else(|| panic!("{name} is not in tests/contract/keyrack.json"));
        let members = operation.request["properties"].as_object().cloned().unwrap_or_default();
        for member in members.keys().map(String::as_str).chain(["noSuchMember"]) {
            for value in &values {
                let answer = called(&server, name, json!({}), member, value).await;
                assert!((400..500).contains(&answer.status), "{name}.{member}: {}", answer.text);
            }
        }
    }
    assert!(server.is_running(), "{}", server.log());
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

#[tokio::test]
async fn a_request_nests_fifty_levels_and_one_more_is_a_fault_that_says_so() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    // The request and its metadata are two of them.
    let meta = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth - 2), "]".repeat(depth - 2));
    let made = called(&server, "keys.createKey", json!({ "apiId": api }), "meta", &meta(50)).await.expect(200);
    let read = server.call("keys.getKey", json!({ "keyId": made.text_of("keyId") })).await.expect(200);
    assert!(read.text.contains(&meta(50)), "{}", read.text);
    let refused = called(&server, "keys.createKey", json!({ "apiId": api }), "meta", &meta(51)).await;
    let refused = refused.expect_error(400, INVALID);
    assert!(refused.locations()[0].starts_with("body.meta.a[0][0]"), "{}", refused.text);
    assert!(refused.text.contains("at most 50"), "{}", refused.text);
}

#[tokio::test]
async fn a_member_that_is_sent_twice_is_refused_wherever_it_is() {
    let server = keyrack().await;
    for (operation, body, location) in [
        ("apis.createApi", r#"{"name":"abc","name":"abcd"}"#, "body.name"),
        ("keys.verifyKey", r#"{"key":"a","key":"b"}"#, "body.key"),
        (
            "ratelimit.limit",
            r#"{"namespace":"n","identifier":"i","limit":1,"limit":2,"duration":1000}"#,
            "body.limit",
        ),
        ("identities.createIdentity", r#"{"externalId":"abc","meta":{"a":{"b":1,"b":2}}}"#, "body.meta.a.b"),
    ] {
        let answer = server.call_text(operation, body, &[]).await.expect_error(400, INVALID);
        assert_eq!(answer.locations(), [location], "{}", answer.text);
    }
}

#[tokio::test]
async fn a_body_that_is_not_utf8_or_compressed_is_unreadable_and_the_answer_says_why() {
    let server = keyrack().await;
    for (operation, body) in [
        ("apis.createApi", b"{\"name\":\"ab\xff\xfecd\"}".to_vec()),
        (
            "ratelimit.limit",
            b"{\"namespace\":\"n\",\"identifier\":\"a\xff\",\"limit\":1,\"duration\":1000}".to_vec(),
        ),
        ("keys.verifyKey", b"{\"key\":\"a\xc0\x80\"}".to_vec()),
        ("keys.verifyKey", b"{\"key\":\"a\",\"ratelimits\":[{\"name\":\"abc\",\"x\":\"\xff\"}]}".to_vec()),
    ] {
        let answer = server.call_text(operation, body, &[]).await.expect_error(400, UNREADABLE);
        assert!(answer.detail().contains("not UTF-8"), "{}", answer.text);
    }
    let gzip = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\x56\xca\x4b\xcc\x4d".to_vec();
    for encoding in ["gzip", "br", "zstd, gzip"] {
        let headers = [("Content-Encoding", encoding)];
        let answer = server.call_text("apis.createApi", gzip.clone(), &headers).await;
        let answer = answer.expect_error(400, UNREADABLE);
        assert!(answer.detail().contains(&format!("Content-Encoding: {encoding}")), "{}", answer.text);
    }
    let headers = [("Content-Encoding", "identity")];
    server.call_text("apis.createApi", r#"{"name":"plain"}"#, &headers).await.expect(200);
}

/// Generated: each text member of each operation with U+0000 in it, on whichever engine.
#[tokio::test]
async fn no_text_of_a_request_holds_nul_but_what_people_attach_may() {
    let server = keyrack().await;
    let mut sent = 0;
    for name in operations(&server).await {
        let operation =
            facts().operation(name).unwrap_or_else(|| panic!("{name} is not in tests/contract/keyrack.json"));
        let whole = match operation.request["type"].as_str() {
            Some("object") => faults::sample(&operation.request),
            _ => continue,
        };
        for (member, value) in whole.as_object().expect("an object") {
            let mut body = whole.clone();
            let place = match value {
                Value::String(_) => &mut body[member],
                Value::Array(items) if items[0].is_string() => &mut body[member][0],
                _ => continue,
            };
            *place = format!("{}\0", place.as_str().unwrap_or_default()).into();
            let answer = server.call(name, body).await.expect_error(400, INVALID);
            assert!(answer.locations().iter().any(|at| at.contains(member.as_str())), "{name}: {}", answer.text);
            sent += 1;
        }
    }
    assert!(sent > 80, "only {sent} texts were tried");
    let meta = json!({ "a\0": "\0" });
    let api = new_api(&server).await;
    let key = new_key(&server, &api, json!({ "meta": meta })).await;
    new_identity(&server, "somebody", json!({ "meta": meta })).await;
    assert_eq!(verify_answer(&server, &key.key, json!({})).await.expect(200).data()["meta"], meta);
}

#[tokio::test]
async fn faults_that_other_rules_find_are_named_with_all_others_and_for_unknown_keys_too() {
    let server = keyrack().await;
    let limits =
        json!([{"name": "abc", "limit": 1, "duration": 999}, {"name": "x"}, {"name": "abd", "duration": 0}]);
    let answer = server.call("keys.verifyKey", json!({"key": "unknown", "ratelimits": limits, "extra": 1})).await;
    let answer = answer.expect_error(400, INVALID);
    let mut locations = answer.locations();
    locations.sort();
    let due =
        ["body.extra", "body.ratelimits[0].duration", "body.ratelimits[1].name", "body.ratelimits[2].duration"];
    assert_eq!(locations, due, "{}", answer.text);
    assert!(answer.text.contains("got 999"), "{}", answer.text);
    let list = json!(["192.0.2.1", "nowhere", "10.0.0.0/33", "10.0.0.0/8", "1.1.1.1,2.2.2.2"]);
    let answer =
        server.call("apis.updateApi", json!({"apiId": "api_unknown", "ipWhitelist": list, "name": "x"})).await;
    let mut locations = answer.expect_error(400, INVALID).locations();
    locations.sort();
    assert_eq!(locations, ["body.ipWhitelist[1]", "body.ipWhitelist[2]", "body.ipWhitelist[4]", "body.name"]);
}

#[tokio::test]
async fn faults_that_no_schema_can_say_are_named_together() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let key = new_key(&server, &api, json!({})).await;
    let meta = json!({ "a": "x".repeat(70_000) });
    let credits = json!({ "remaining": 1, "refill": { "interval": "monthly", "amount": 1 } });
    let of_key = ["body.credits.refill.refillDay", "body.meta"];
    for (operation, body, due) in [
        ("keys.createKey", json!({ "apiId": api, "meta": meta, "credits": credits }), of_key),
        ("keys.updateKey", json!({ "keyId": key.id, "meta": meta, "credits": credits }), of_key),
        (
            "rootKeys.createKey",
            json!({ "permissions": ["nonsense"], "expires": 1_600_000_000_000_i64 }),
            ["body.permissions[0]", "body.expires"],
        ),
    ] {
        let answer = server.call(operation, body).await.expect_error(400, INVALID);
        assert_eq!(answer.locations(), due, "{operation}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_key_holds_a_thousand_permissions_however_it_gets_them() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let slugs = |from: usize, to: usize| (from..to).map(|n| format!("p{n}")).collect::<Vec<_>>();
    let key = new_key(&server, &api, json!({ "permissions": slugs(0, 999) })).await;
    for (operation, member) in [
        ("keys.createKey", json!({ "apiId": api })),
        ("keys.updateKey", json!({ "keyId": key.id })),
        ("keys.addPermissions", json!({ "keyId": key.id })),
        ("keys.setPermissions", json!({ "keyId": key.id })),
        ("keys.removePermissions", json!({ "keyId": key.id })),
        ("permissions.createRole", json!({ "name": "wide" })),
        ("permissions.setRolePermissions", json!({ "role": "wide" })),
    ] {
        let mut body = member;
        body["permissions"] = json!(slugs(0, 1001));
        let answer = server.call(operation, body).await.expect_error(400, INVALID);
        assert_eq!(answer.locations(), ["body.permissions"], "{operation}");
    }
    let add =
        |slugs: Vec<String>| server.call("keys.addPermissions", json!({"keyId": key.id, "permissions": slugs}));
    let refused = add(slugs(998, 1001)).await.expect_error(400, INVALID);
    assert!(refused.detail().contains("1000"), "{}", refused.text);
    add(slugs(998, 1000)).await.expect(200);
    add(slugs(0, 1000)).await.expect(200);
    add(slugs(1000, 1001)).await.expect(400);
    let answer =
        server.call("keys.setPermissions", json!({ "keyId": key.id, "permissions": slugs(1, 1001) })).await;
    answer.expect(200);
    imports_none(&server, &api, "permissions", slugs(0, 1001)).await;
}

/// A migration takes no key that holds more than a key may.
async fn imports_none(server: &keyrack_test_harness::Server, api: &str, member: &str, names: Vec<String>) {
    let migration = crate::keys::migrate::new_migration(server, "sha256");
    let key = json!({ "hash": format!("{:064x}", 7), member: names });
    let body = json!({ "apiId": api, "migrationId": migration, "keys": [key] });
    let refused = server.call("keys.migrateKeys", body).await.expect_error(400, INVALID);
    assert_eq!(refused.locations(), [format!("body.keys[0].{member}")]);
}

#[tokio::test]
async fn a_key_has_a_hundred_roles_however_it_gets_them() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let names = |from: usize, to: usize| (from..to).map(|n| format!("r{n}")).collect::<Vec<_>>();
    for name in names(0, 101) {
        server.call("permissions.createRole", json!({ "name": name })).await.expect(200);
    }
    let key = new_key(&server, &api, json!({ "roles": names(0, 99) })).await;
    for (operation, member) in [
        ("keys.createKey", json!({ "apiId": api })),
        ("keys.updateKey", json!({ "keyId": key.id })),
        ("keys.addRoles", json!({ "keyId": key.id })),
        ("keys.setRoles", json!({ "keyId": key.id })),
        ("keys.removeRoles", json!({ "keyId": key.id })),
    ] {
        let mut body = member;
        body["roles"] = json!(names(0, 101));
        let answer = server.call(operation, body).await.expect_error(400, INVALID);
        assert_eq!(answer.locations(), ["body.roles"], "{operation}");
    }
    let add = |names: Vec<String>| server.call("keys.addRoles", json!({ "keyId": key.id, "roles": names }));
    let refused = add(names(98, 101)).await.expect_error(400, INVALID);
    assert!(
        refused.detail().contains("at most 100 roles") && refused.locations() == ["body.roles"],
        "{refused:?}"
    );
    add(names(98, 100)).await.expect(200);
    add(names(0, 100)).await.expect(200);
    add(names(100, 101)).await.expect(400);
    server.call("keys.setRoles", json!({ "keyId": key.id, "roles": names(1, 101) })).await.expect(200);
    imports_none(&server, &api, "roles", names(0, 101)).await;
}

#[tokio::test]
async fn a_setting_is_the_ceiling_of_all_bodies() {
    let server = crate::program().env("KEYRACK_MAX_BODY_BYTES", "2000").on_engine().await.start().await;
    let meta = |size| json!({ "externalId": "abc", "meta": { "a": "x".repeat(size) } });
    server.call("identities.createIdentity", meta(2000)).await.expect_error(413, TOO_LARGE);
    server.call("identities.createIdentity", meta(1900)).await.expect(200);
    for (size, status) in [(2000, 413), (1700, 200)] {
        let params = json!({ "name": "identities_createIdentity", "arguments": meta(size) });
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
        let request = server.request(Method::POST, "/mcp").bearer_auth(ROOT_KEY).json(&message);
        let answer = server.send("POST /mcp", request).await;
        assert_eq!(answer.status, status, "{}", answer.text);
    }
}

#[tokio::test]
async fn what_a_client_calls_itself_is_cut_to_what_is_worth_keeping() {
    let server = keyrack().await;
    let agent = "é".repeat(300);
    let headers = [("User-Agent", agent.as_str())];
    server.call_with_headers("apis.createApi", json!({ "name": "payments" }), &headers).await.expect(200);
    let long = "a".repeat(60_000);
    let headers = [("User-Agent", long.as_str())];
    server.call_with_headers("apis.createApi", json!({ "name": "payments" }), &headers).await.expect(200);
    let logs = server.call("audit.listLogs", json!({ "event": "api.create" })).await.expect(200);
    let newest = logs.data()[0]["meta"]["userAgent"].as_str().expect("a text").to_owned();
    assert_eq!(newest, "a".repeat(512));
}

#[tokio::test]
async fn answers_are_kept_by_nobody_and_are_what_they_say() {
    let server = keyrack().await;
    for (operation, body) in [
        ("apis.createApi", json!({ "name": "payments" })),
        ("apis.createApi", json!({})),
        ("keys.verifyKey", json!({ "key": "unknown" })),
        ("ratelimit.limit", json!({ "namespace": "n", "identifier": "i", "limit": 1, "duration": 1000 })),
    ] {
        let answer = server.call(operation, body).await;
        assert_eq!(answer.header("cache-control"), "no-store", "{operation}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{operation}");
    }
    for (method, path, status) in [
        (Method::POST, "/v2/apis.noSuch", 404),
        (Method::GET, "/v2/apis.createApi", 405),
        (Method::GET, "/v2/liveness", 200),
        (Method::GET, "/healthz", 200),
        (Method::GET, "/readyz", 200),
        (Method::GET, "/openapi.json", 200),
        (Method::POST, "/mcp", 401),
        (Method::POST, "/register", 400),
        (Method::GET, "/.well-known/oauth-authorization-server", 404),
    ] {
        let answer = server.send(path, server.request(method, path)).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
    }
}
