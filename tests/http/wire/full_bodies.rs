//! Bodies as large as they may be: each operation has a limit of its own, and what fills it costs little.

use keyrack_test_harness::{Server, operations};
use serde_json::Value;

use crate::fixture::limited_client;
use crate::keyrack;
use crate::wire::bodies::{TOO_LARGE, UNREADABLE};

/// The largest body of an operation.
fn largest_body(operation: &str) -> usize {
    match operation {
        "identities.createIdentity" | "identities.updateIdentity" => 2 * 1024 * 1024,
        "keys.migrateKeys" => 4 * 1024 * 1024,
        _ => 256 * 1024,
    }
}

/// For each operation bodies as large as they may be whose arrays and objects are full of wrong things.
async fn full_bodies(server: &Server) -> Vec<(&'static str, Vec<String>)> {
    let document = server.get("/openapi.json").await.expect(200).body;
    let full = |name: &'static str| {
        let body = &document["paths"][format!("/v2/{name}")]["post"]["requestBody"];
        let schema = &body["content"]["application/json"]["schema"];
        let mut bodies = Vec::new();
        fill(schema, largest_body(name), &|inner| inner, &mut bodies);
        (name, bodies)
    };
    operations(server).await.into_iter().map(full).collect()
}

/// For each array of a schema bodies that are full of wrong items there, for each object of wrong members.
fn fill(schema: &Value, limit: usize, around: &dyn Fn(String) -> String, bodies: &mut Vec<String>) {
    let full = |open: &str, close: &str, item: &dyn Fn(usize) -> String| {
        let mut text = around(open.to_owned());
        let room = limit - text.len() - 2;
        let at = text.rfind(open).expect("it is there") + open.len();
        let mut items = String::with_capacity(room);
        let mut number = 0;
        while items.len() + 24 < room {
            items.push_str(if number == 0 { "" } else { "," });
            items.push_str(&item(number));
            number += 1;
        }
        text.insert_str(at, &(items + close));
        text
    };
    if let Some(items) = schema.get("items") {
        for item in ["1", "{}", "\"\""] {
            bodies.push(full("[", "]", &|_| item.to_owned()));
        }
        fill(items, limit, &|inner| around(format!("[{inner}]")), bodies);
        fill_repeated(items, limit, around, bodies);
    }
    if let Some(members) = schema.get("properties").and_then(Value::as_object) {
        bodies.push(full("{", "}", &|number| format!("\"{number}\":1")));
        for (name, inner) in members {
            fill(inner, limit, &|inner| around(format!("{{\"{name}\":{inner}}}")), bodies);
        }
    }
}

/// An array as full as it may be, of objects whose own arrays are full of wrong items.
fn fill_repeated(items: &Value, limit: usize, around: &dyn Fn(String) -> String, bodies: &mut Vec<String>) {
    let Some(members) = items.get("properties").and_then(Value::as_object) else { return };
    for (name, inner) in members.iter().filter(|(_, inner)| inner.get("items").is_some()) {
        let many = inner["maxItems"].as_u64().unwrap_or(1) as usize;
        let item = format!("{{\"{name}\":[{}]}}", vec!["{}"; many].join(","));
        let room = limit.saturating_sub(around(String::new()).len() + 2);
        let items = vec![item.as_str(); room / (item.len() + 1)].join(",");
        bodies.push(around(format!("[{items}]")));
    }
}

/// Kilobytes that a line of `/proc/PID/status` states.
fn kilobytes(server: &Server, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process())).expect("it runs");
    let line = status.lines().find_map(|text| text.strip_prefix(line)).expect("Linux states it");
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().expect("a number")
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_body_full_of_wrong_things_costs_little_more_than_its_bytes() {
    let server = keyrack().await;
    let (mut sent, mut largest, mut longest) = (0, 0, std::time::Duration::ZERO);
    for (name, bodies) in full_bodies(&server).await {
        for body in bodies {
            assert!(body.len() <= largest_body(name), "{name}");
            // Forgets the peak so far: the server starts anew.
            std::fs::write(format!("/proc/{}/clear_refs", server.process()), "5").expect("its own child's");
            let before = kilobytes(&server, "VmRSS");
            let beginning: String = body.chars().take(80).collect();
            let started = std::time::Instant::now();
            let answer = server.call_text(name, body, &[]).await;
            longest = longest.max(started.elapsed());
            assert!((400..500).contains(&answer.status), "{name} {beginning}: {}", answer.text);
            assert!(answer.text.len() < 100_000, "{name} {beginning}: {} bytes", answer.text.len());
            let cost = kilobytes(&server, "VmHWM").saturating_sub(before);
            assert!(cost < 50_000, "{name} {beginning}: {cost} kB");
            largest = largest.max(cost);
            sent += 1;
        }
    }
    assert!(sent > 150, "only {sent} bodies were sent");
    eprintln!("{sent} bodies; at most {largest} kB and {longest:?}");
}

#[tokio::test]
async fn each_operation_has_a_limit_of_its_own_and_who_may_not_do_it_a_small_one() {
    let server = keyrack().await;
    let nobody = limited_client(&server, &[]).await;
    let padded = |size: usize| format!("{{{}", " ".repeat(size - 1));
    for name in operations(&server).await {
        let limit = largest_body(name);
        server.call_text(name, padded(limit), &[]).await.expect_error(400, UNREADABLE);
        server.call_text(name, padded(limit + 1), &[]).await.expect_error(413, TOO_LARGE);
        nobody.call_text(name, padded(64 * 1024), &[]).await.expect_error(400, UNREADABLE);
        let answer = nobody.call_text(name, padded(64 * 1024 + 1), &[]).await;
        let may = answer.status == 400;
        assert_eq!(answer.code(), if may { UNREADABLE } else { TOO_LARGE }, "{name}");
    }
}
