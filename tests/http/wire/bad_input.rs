//! Whatever is sent, the server answers with the envelope, says where the fault is, and lives on.

use std::time::{Duration, Instant};

use keyrack_test_harness::{Answer, ROOT_KEY, Server, operations};
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HOST};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::catalogue::facts::facts;
use crate::fixture::{new_api, new_key};
use crate::keyrack;
use crate::wire::bodies::called;
use crate::wire::faults::{Fault, faults};

/// What is wrong with the answer to a faulty request, if anything.
fn complaint(answer: &Answer, location: &str) -> Option<String> {
    if answer.status != 400 || answer.code() != "unkey/application/invalid_input" {
        return Some(format!("answered {} {}", answer.status, answer.text));
    }
    let locations = answer.locations();
    if locations.is_empty() || locations.iter().any(|named| named != location) {
        return Some(format!("named {locations:?}: {}", answer.text));
    }
    None
}

/// Whether what the contract refuses is refused here too: a pattern may be listed as one that Keyrack leaves out.
fn is_refused(operation: &str, fault: &Fault) -> bool {
    let place = fault.location.replacen("body.", "request.", 1);
    let is_taken =
        |line: &Value| line["path"] == format!("{operation} {place}:pattern") && line["keyrack"].is_null();
    let mut deviations = facts().deviations["openapi"].as_array().expect("a list").iter();
    !(fault.is_about_a_pattern() && deviations.any(is_taken))
}

/// Sends every faulty request of these operations; returns how many there were.
async fn assert_every_bound_is_enforced(server: &Server, operations: &[&str]) -> usize {
    let mut complaints = Vec::new();
    let mut sent = 0;
    for name in operations {
        let operation =
            facts().operation(name).unwrap_or_else(|| panic!("{name} is not in tests/contract/keyrack.json"));
        for fault in faults(&operation.request).into_iter().filter(|fault| is_refused(name, fault)) {
            let answer = server.call(name, fault.body).await;
            sent += 1;
            if let Some(complaint) = complaint(&answer, &fault.location) {
                complaints.push(format!("{name}: {} at {}: {complaint}", fault.what, fault.location));
            }
        }
    }
    assert!(complaints.is_empty(), "{} of {sent}:\n{}", complaints.len(), complaints.join("\n"));
    sent
}

#[tokio::test]
async fn every_bound_of_every_request_field_is_enforced_and_named() {
    let server = keyrack().await;
    let sent = assert_every_bound_is_enforced(&server, &operations(&server).await).await;
    assert!(sent > 800, "only {sent} faulty requests were made");
}

#[tokio::test]
async fn all_faults_of_a_body_are_reported_at_once() {
    let server = keyrack().await;
    let body = json!({"prefix": "a b", "byteLength": 15, "ratelimits": [{"name": "x", "limit": 0}], "extra": 1});
    let answer = server.call("keys.createKey", body).await.expect(400);
    let mut locations = answer.locations();
    locations.sort();
    let due = [
        "body.apiId",
        "body.byteLength",
        "body.extra",
        "body.prefix",
        "body.ratelimits[0].autoApply",
        "body.ratelimits[0].duration",
        "body.ratelimits[0].limit",
        "body.ratelimits[0].name",
    ];
    assert_eq!(locations, due, "{}", answer.text);
}

#[tokio::test]
async fn a_body_that_is_no_object_is_refused() {
    let server = keyrack().await;
    for body in [json!([]), json!("text"), json!(1), json!(true), Value::Null] {
        let answer = server.call("apis.createApi", body.clone()).await;
        let answer = answer.expect_error(400, "unkey/application/invalid_input");
        assert_eq!(answer.locations(), ["body"], "{body}");
    }
}

#[tokio::test]
async fn integers_beyond_64_bits_are_refused_and_not_rounded() {
    let server = keyrack().await;
    for number in ["9223372036854775808", "18446744073709551616", "1e30", "1e400", "-1e400"] {
        let body = format!(r#"{{"namespace":"n","identifier":"i","duration":60000,"limit":{number}}}"#);
        let answer = server.call_text("ratelimit.limit", body, &[]).await;
        assert_eq!(answer.status, 400, "limit {number}: {}", answer.text);
    }
}

#[tokio::test]
async fn malformed_json_is_unreadable_and_the_answer_says_where() {
    let server = keyrack().await;
    for body in ["{", "{\"name\":}", "not json", "{\"name\":\"abc\"} trailing", "{\"name\":\"abc\",}", "\u{feff}"]
    {
        let answer = server.call_text("apis.createApi", body, &[]).await;
        let answer = answer.expect_error(400, "user/bad_request/request_body_unreadable");
        assert!(
            answer.detail().contains("line") && answer.detail().contains("column"),
            "{body:?}: {}",
            answer.detail()
        );
    }
}

#[tokio::test]
async fn an_empty_body_is_named_as_such() {
    let server = keyrack().await;
    let answer = server.call_text("apis.createApi", "", &[]).await;
    let answer = answer.expect_error(400, "unkey/application/invalid_input");
    assert!(answer.detail().contains("empty"), "{}", answer.detail());
}

#[tokio::test]
async fn any_content_type_is_accepted_if_the_body_is_json() {
    let server = keyrack().await;
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-8"] {
        let request = server
            .request(Method::POST, "/v2/apis.createApi")
            .header(AUTHORIZATION, format!("Bearer {ROOT_KEY}"))
            .header("Content-Type", content_type)
            .body(r#"{"name":"payments"}"#);
        server.send("apis.createApi", request).await.expect(200).check_envelope();
    }
    let bare = server
        .request(Method::POST, "/v2/apis.createApi")
        .header(AUTHORIZATION, format!("Bearer {ROOT_KEY}"))
        .body(r#"{"name":"payments"}"#);
    server.send("apis.createApi", bare).await.expect(200).check_envelope();
}

#[tokio::test]
async fn deep_nesting_does_no_harm() {
    let server = keyrack().await;
    for opening in ["[", "{\"a\":"] {
        let body = format!("{{\"name\":{}", opening.repeat(60_000 / opening.len()));
        server.call_text("apis.createApi", body, &[]).await.expect(400);
    }
    unharmed(&server).await;
}

/// Longer than any answer may take on a slow machine, shorter than work that grows with the square of the body.
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_body_full_of_faults_is_answered_in_time() {
    let server = keyrack().await;
    let members: serde_json::Map<String, Value> = (0..15_000).map(|n| (format!("m{n}"), json!(n))).collect();
    for (operation, body) in [
        ("keys.verifyKey", json!({"key": "x", "tags": vec![1; 100_000]})),
        ("apis.createApi", Value::Object(members)),
    ] {
        let started = Instant::now();
        let answer = server.call(operation, body).await.expect(400);
        assert!(started.elapsed() < PATIENCE, "{operation} took {:?}", started.elapsed());
        assert!(answer.text.len() < 1_000_000, "{operation} answered {} bytes", answer.text.len());
    }
    unharmed(&server).await;
}

#[tokio::test]
async fn a_role_with_very_many_permissions_does_not_hold_up_others() {
    let server = keyrack().await;
    let slugs: Vec<String> = (0..20_000).map(|n| format!("p{n}")).collect();
    let client = server.client();
    let large = tokio::spawn(async move {
        let body = json!({"name": "large", "permissions": slugs});
        client.call("permissions.createRole", body).await.status
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let started = Instant::now();
    unharmed(&server).await;
    assert!(started.elapsed() < PATIENCE, "another caller waited {:?}", started.elapsed());
    let status = large.await.expect("the call ends");
    assert!([200, 400].contains(&status), "{status}");
}

/// The server still answers, and has not panicked so far.
async fn unharmed(server: &Server) {
    server.call("apis.createApi", json!({"name": "still here"})).await.expect(200);
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

/// Sends bytes as they are and reads until the server closes or falls silent.
async fn exchange(server: &Server, parts: &[&[u8]]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).await.expect("the server listens");
    for part in parts {
        if stream.write_all(part).await.is_err() {
            break; // It has answered and closed, as it may.
        }
    }
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    let patience = Duration::from_secs(5);
    while let Ok(Ok(read)) = tokio::time::timeout(patience, stream.read(&mut chunk)).await {
        answer.extend_from_slice(&chunk[..read]);
        let text = String::from_utf8_lossy(&answer);
        let complete =
            text.split_once("\r\n\r\n").is_some_and(|(_, body)| serde_json::from_str::<Value>(body).is_ok());
        if read == 0 || complete {
            break;
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn request_head(path: &str, authorization: &str, more: &str) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{authorization}{more}\r\n").into_bytes()
}

#[tokio::test]
async fn a_declared_oversize_is_refused_before_anything_is_read_or_asked() {
    let server = keyrack().await;
    for authorization in ["", "Authorization: Bearer nobody\r\n", &format!("Authorization: Bearer {ROOT_KEY}\r\n")]
    {
        let head = request_head("/v2/keys.verifyKey", authorization, "Content-Length: 262145\r\n");
        let answer = exchange(&server, &[&head]).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{authorization:?}: {answer}");
        assert!(answer.contains("user/bad_request/request_body_too_large"), "{answer}");
        assert!(answer.contains("requestId"), "{answer}");
    }
    unharmed(&server).await;
}

/// It sends nothing more, so there is nothing to wait for.
#[tokio::test]
async fn a_client_that_asked_whether_to_send_is_refused_at_once() {
    let server = keyrack().await;
    for expect in ["Expect: 100-continue\r\n", "Expect: 100-Continue\r\n"] {
        let more = format!("Content-Length: 262145\r\n{expect}");
        let started = Instant::now();
        let answer = exchange(&server, &[&request_head("/v2/keys.verifyKey", "", &more)]).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert!(started.elapsed() < Duration::from_millis(900), "{:?}", started.elapsed());
    }
    unharmed(&server).await;
}

#[tokio::test]
async fn a_body_may_come_in_pieces() {
    let server = keyrack().await;
    let authorization = format!("Authorization: Bearer {ROOT_KEY}\r\n");
    let head = request_head("/v2/keys.verifyKey", &authorization, "Transfer-Encoding: chunked\r\n");
    let pieces: [&[&str]; 3] = [&[r#"{"key":"nothing"}"#], &[r#"{"ke"#, r#"y":"#, r#""nothing"}"#], &[]];
    for (pieces, expected) in pieces.into_iter().zip(["200", "200", "400"]) {
        let chunks = pieces.iter().map(|piece| format!("{:x}\r\n{piece}\r\n", piece.len()));
        let body: String = chunks.chain(["0\r\n\r\n".to_owned()]).collect();
        let answer = exchange(&server, &[&head, body.as_bytes()]).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected} ")), "{pieces:?}: {answer}");
    }
}

#[tokio::test]
async fn an_undeclared_oversize_is_refused_while_it_is_read() {
    let server = keyrack().await;
    let authorization = format!("Authorization: Bearer {ROOT_KEY}\r\n");
    let head = request_head("/v2/keys.verifyKey", &authorization, "Transfer-Encoding: chunked\r\n");
    let filler = vec![b' '; 0x1_0000];
    let mut parts: Vec<&[u8]> = vec![&head];
    for _ in 0..5 {
        parts.extend_from_slice(&[b"10000\r\n", &filler, b"\r\n"]);
    }
    let answer = exchange(&server, &parts).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    unharmed(&server).await;
}

#[tokio::test]
async fn a_stranger_makes_the_server_read_no_body() {
    let server = keyrack().await;
    let head = request_head("/v2/keys.verifyKey", "", "Content-Length: 200000\r\n");
    let answer = exchange(&server, &[&head]).await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    let head = request_head("/v2/keys.verifyKey", "", "Transfer-Encoding: chunked\r\n");
    let answer = exchange(&server, &[&head]).await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
}

#[tokio::test]
async fn unknown_paths_are_404_with_the_envelope() {
    let server = keyrack().await;
    for path in
        ["/v2/keys.noSuchThing", "/", "/v2", "/v2/keys.verifyKey/", "/v2/Keys.VerifyKey", "/v3/keys.verifyKey"]
    {
        let answer = server.send(path, server.request(Method::POST, path)).await;
        let answer = answer.expect_error(404, "unkey/application/route_not_found");
        answer.check_envelope();
        crate::catalogue::responses::check(&answer);
    }
}

#[tokio::test]
async fn wrong_methods_are_405_with_allow_and_the_envelope() {
    let server = keyrack().await;
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::OPTIONS, Method::PATCH] {
        let answer = server.send(method.as_str(), server.request(method.clone(), "/v2/keys.verifyKey")).await;
        let answer = answer.expect_error(405, "unkey/application/method_not_allowed");
        answer.check_envelope();
        crate::catalogue::responses::check(&answer);
        assert_eq!(answer.header("allow"), "POST");
    }
    let answer = server.send("liveness", server.request(Method::POST, "/v2/liveness")).await;
    let answer = answer.expect_error(405, "unkey/application/method_not_allowed");
    assert!(answer.header("allow").contains("GET"), "{}", answer.header("allow"));
}

#[tokio::test]
async fn a_foreign_host_name_is_forbidden_everywhere() {
    let server = keyrack().await;
    for (method, path) in [
        (Method::POST, "/v2/apis.createApi"),
        (Method::POST, "/v2/keys.verifyKey"),
        (Method::GET, "/openapi.json"),
    ] {
        let request = server
            .request(method, path)
            .header(HOST, "rebound.example.com")
            .header(AUTHORIZATION, format!("Bearer {ROOT_KEY}"))
            .body(r#"{"name":"payments"}"#);
        let answer = server.send(path, request).await.expect_error(403, "unkey/authorization/forbidden");
        answer.check_envelope();
    }
    for host in ["localhost", "127.0.0.1", "[::1]"] {
        let host = format!("{host}:{}", server.port());
        let request = server.request(Method::GET, "/v2/liveness").header(HOST, host);
        server.send("liveness", request).await.expect(200);
    }
}

#[tokio::test]
async fn a_request_id_is_the_servers_own() {
    let server = keyrack().await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let headers = [("X-Request-Id", "req_mine")];
        let answer = server.call_with_headers("apis.createApi", json!({"name": "payments"}), &headers).await;
        assert!(answer.request_id().starts_with("req_"), "{}", answer.request_id());
        assert_ne!(answer.request_id(), "req_mine");
        assert!(seen.insert(answer.request_id().to_owned()), "repeated {}", answer.request_id());
    }
}

#[tokio::test]
async fn no_answer_invites_other_origins() {
    let server = keyrack().await;
    let headers = [("Origin", "https://example.com")];
    let answer = server.call_with_headers("apis.createApi", json!({"name": "payments"}), &headers).await;
    assert_eq!(answer.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn bad_requests_lose_nothing() {
    let server = keyrack().await;
    let api = server.call("apis.createApi", json!({"name": "payments"})).await.text_of("apiId");
    let body = json!({"apiId": api, "credits": {"remaining": 5}});
    let key = server.call("keys.createKey", body).await.text_of("key");
    for name in operations(&server).await {
        let operation =
            facts().operation(name).unwrap_or_else(|| panic!("{name} is not in tests/contract/keyrack.json"));
        let refused = faults(&operation.request).into_iter().filter(|fault| is_refused(name, fault));
        for fault in refused.step_by(7) {
            server.call(name, fault.body).await.expect(400);
        }
        server.call_text(name, "{\"key\":", &[]).await.expect(400);
    }
    unharmed(&server).await;
    let verified = server.call("keys.verifyKey", json!({"key": key})).await.expect(200);
    assert_eq!((&verified.data()["code"], &verified.data()["credits"]), (&json!("VALID"), &json!(4)));
    let overview = server.call("workspace.getOverview", json!({})).await.expect(200);
    assert_eq!(overview.data()["counts"]["keys"], 1, "{}", overview.text);
    assert_eq!(overview.data()["counts"]["identities"], 0, "{}", overview.text);
}

/// Whoever may do everything is told so, too, and nothing of it is stored: seventeen times is what once ended the
/// process.
#[tokio::test]
async fn metadata_of_a_full_root_key_that_nests_too_deep_is_its_fault_and_not_ours() {
    let mut server = keyrack().await;
    let api = new_api(&server).await;
    let key_id = new_key(&server, &api, json!({})).await.id;
    let identity = json!({ "externalId": "acme" });
    server.call("identities.createIdentity", identity).await.expect(200);
    let objects = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    let raw = (0..17)
        .fold("{\"a\":1}".to_owned(), |inner, _| json!({ "$serde_json::private::RawValue": inner }).to_string());
    for (operation, body) in [
        ("keys.createKey", json!({ "apiId": api })),
        ("keys.updateKey", json!({ "keyId": key_id })),
        ("identities.createIdentity", json!({ "externalId": "other" })),
        ("identities.updateIdentity", json!({ "identity": "acme" })),
    ] {
        for meta in [objects(50), objects(51), objects(127), objects(128), objects(5_000)] {
            let answer = called(&server, operation, body.clone(), "meta", &meta).await;
            let answer = answer.expect_error(400, "unkey/application/invalid_input");
            assert!(answer.text.contains("at most 50"), "{operation}: {}", answer.text);
        }
        // Half a megabyte, which identities may have: an ordinary name is data. A request for a key may not be as large.
        let answer = called(&server, operation, body.clone(), "meta", &raw).await;
        let due = if operation.starts_with("identities.") { 200 } else { 413 };
        assert_eq!(answer.status, due, "{operation}: {}", answer.text);
    }
    let identity = server.call("identities.getIdentity", json!({ "identity": "acme" })).await.expect(200);
    assert!(identity.text.contains(&raw), "it is shown as it was sent");
    let shown = server.call("keys.getKey", json!({ "keyId": key_id })).await.expect(200);
    assert!(shown.data().get("meta").is_none() && server.is_running(), "{}", shown.text);
}
