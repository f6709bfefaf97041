//! `ratelimit.multiLimit`: all or nothing, in a bare array.

use keyrack_test_harness::{Answer, Client, ended};
use serde_json::{Value, json};

use crate::catalogue::facts::facts;
use crate::fixture::{WINDOW, events, last_events, limited_client, merged};
use crate::keyrack;
use crate::wire::faults::{faults, sample};
use crate::wire::mcp::Session;

fn check(identifier: &str, limit: i64, cost: i64) -> Value {
    json!({"namespace": "mail", "identifier": identifier, "limit": limit, "duration": WINDOW, "cost": cost})
}

async fn batch(client: &Client, checks: Value) -> Answer {
    client.call("ratelimit.multiLimit", checks).await
}

/// Whether all passed, and per check whether it did and what remains.
async fn outcome(client: &Client, checks: Value) -> (bool, Vec<(bool, i64)>) {
    let answer = batch(client, checks).await.expect(200);
    let found = answer.data()["limits"].as_array().expect("a list").iter();
    let each = found.map(|one| (one["passed"] == true, one["remaining"].as_i64().expect("a number")));
    (answer.data()["passed"] == true, each.collect())
}

#[tokio::test]
async fn a_batch_that_passes_counts_everything() {
    let server = keyrack().await;
    let checks = json!([check("a", 10, 3), check("b", 5, 1), check("a", 10, 4), check("c", 1, 0)]);
    let expected = (true, vec![(true, 7), (true, 4), (true, 3), (true, 1)]);
    assert_eq!(outcome(&server, checks).await, expected);
    assert_eq!(outcome(&server, json!([check("a", 10, 0)])).await, (true, vec![(true, 3)]));
}

#[tokio::test]
async fn a_batch_that_fails_counts_nothing_and_each_check_says_its_own() {
    let server = keyrack().await;
    outcome(&server, json!([check("full", 5, 5)])).await;
    let checks = json!([check("a", 10, 1), check("full", 5, 1)]);
    assert_eq!(outcome(&server, checks).await, (false, vec![(true, 10), (false, 0)]));
    let reads = json!([check("a", 10, 0), check("full", 5, 0)]);
    assert_eq!(outcome(&server, reads).await, (true, vec![(true, 10), (true, 0)]));
}

#[tokio::test]
async fn one_identifier_several_times_sees_earlier_costs() {
    let server = keyrack().await;
    let twice = json!([check("a", 1, 1), check("a", 1, 1)]);
    assert_eq!(outcome(&server, twice).await, (false, vec![(true, 1), (false, 0)]));
    let thrice = json!([check("b", 5, 2), check("b", 5, 2), check("b", 5, 2)]);
    assert_eq!(outcome(&server, thrice).await, (false, vec![(true, 5), (true, 5), (false, 0)]));
}

#[tokio::test]
async fn the_answer_repeats_what_was_sent_in_its_order() {
    let server = keyrack().await;
    server.call("ratelimit.limit", check("x", 9, 1)).await.expect(200);
    let namespaces = server.call("ratelimit.listNamespaces", json!({})).await.expect(200);
    let id = namespaces.data()[0]["id"].clone();
    let by_id = merged(check("x", 9, 1), json!({"namespace": id}));
    let answer = batch(&server, json!([by_id, check("y", 4, 1), check("x", 9, 1)])).await.expect(200);
    let limits = &answer.data()["limits"];
    assert_eq!((&limits[0]["namespace"], &limits[1]["namespace"]), (&id, &json!("mail")));
    assert_eq!((&limits[0]["remaining"], &limits[2]["remaining"]), (&json!(7), &json!(6)), "one namespace");
    assert_eq!((&limits[1]["identifier"], &limits[1]["limit"]), (&json!("y"), &json!(4)));
    assert_eq!(limits[1]["reset"].as_u64().expect("a time") % WINDOW, 0);
    assert_eq!(limits[1].get("overrideId"), None);
}

#[tokio::test]
async fn overrides_apply_to_each_check() {
    let server = keyrack().await;
    outcome(&server, json!([check("a", 10, 0)])).await;
    let set = json!({"namespace": "mail", "identifier": "a", "limit": 0, "duration": WINDOW});
    let id = server.call("ratelimit.setOverride", set).await.expect(200).text_of("overrideId");
    let answer = batch(&server, json!([check("a", 10, 1), check("b", 10, 1)])).await.expect(200);
    assert_eq!(answer.data()["passed"], false);
    let limits = &answer.data()["limits"];
    assert_eq!((&limits[0]["overrideId"], &limits[0]["limit"]), (&json!(id), &json!(0)));
    assert_eq!((&limits[1]["passed"], &limits[1]["remaining"]), (&json!(true), &json!(10)));
}

#[tokio::test]
async fn every_fault_of_a_body_is_named_by_its_place_in_the_array() {
    let server = keyrack().await;
    let schema = facts().operation("ratelimit.multiLimit").expect("the contract has it").request;
    batch(&server, sample(&schema)).await.expect(200);
    for fault in faults(&schema) {
        let answer = batch(&server, fault.body).await;
        let answer = answer.expect_error(400, "unkey/application/invalid_input");
        assert_eq!(answer.locations(), [fault.location], "{}: {}", fault.what, answer.text);
    }
    for (body, place) in [(json!([]), "body"), (json!({"limits": [check("a", 1, 1)]}), "body")] {
        assert_eq!(batch(&server, body).await.expect(400).locations(), [place]);
    }
    let huge =
        format!("[{}]", check("a", 1, 1).to_string().replace("\"limit\":1", "\"limit\":9223372036854775808"));
    let answer = server.call_text("ratelimit.multiLimit", huge, &[]).await.expect(400);
    assert_eq!(answer.locations(), ["body[0].limit"], "{}", answer.text);
}

#[tokio::test]
async fn missing_namespaces_are_created_together_or_not_at_all() {
    let server = keyrack().await;
    let named = |name: &str| merged(check("i", 5, 1), json!({"namespace": name}));
    let body = json!([named("one"), named("two"), named("one")]);
    let only_limit = limited_client(&server, &["ratelimit.*.limit"]).await;
    let answer = batch(&only_limit, body.clone()).await;
    let answer = answer.expect_error(403, "unkey/authorization/insufficient_permissions");
    assert!(answer.detail().contains("ratelimit.*.create_namespace"), "{}", answer.detail());
    let listed = server.call("ratelimit.listNamespaces", json!({})).await.expect(200);
    assert_eq!(listed.data(), &json!([]));
    batch(&server, body).await.expect(200);
    let made = ("ratelimitNamespace.create", &["ratelimitNamespace"][..]);
    assert_eq!(last_events(&server, 2).await, events(&[made, made]));
    let logs = server.call("audit.listLogs", json!({"limit": 2})).await.expect(200);
    let correlation = |index: usize| logs.data()[index]["meta"]["correlationId"].clone();
    assert!(correlation(0).is_string() && correlation(0) == correlation(1), "{}", logs.text);
}

#[tokio::test]
async fn a_grant_for_some_of_the_namespaces_is_none_for_the_batch() {
    let server = keyrack().await;
    let named = |name: &str| merged(check("i", 5, 1), json!({"namespace": name}));
    batch(&server, json!([named("one"), named("two")])).await.expect(200);
    let listed = server.call("ratelimit.listNamespaces", json!({"search": "one"})).await.expect(200);
    let grant = format!("ratelimit.{}.limit", listed.data()[0]["id"].as_str().expect("an id"));
    let client = limited_client(&server, &[&grant]).await;
    batch(&client, json!([named("one")])).await.expect(200);
    let answer = batch(&client, json!([named("one"), named("two")])).await;
    answer.expect_error(403, "unkey/authorization/insufficient_permissions");
    let reads = json!([merged(named("one"), json!({"cost": 0}))]);
    assert_eq!(outcome(&server, reads).await, (true, vec![(true, 3)]));
}

#[tokio::test]
async fn a_deleted_namespace_is_gone_after_the_permission_check() {
    let server = keyrack().await;
    outcome(&server, json!([check("a", 5, 1)])).await;
    server.call("ratelimit.deleteNamespace", json!({"namespace": "mail"})).await.expect(200);
    let answer = batch(&server, json!([check("a", 5, 1)])).await;
    answer.expect_error(410, "unkey/data/ratelimit_namespace_gone");
    let nobody = limited_client(&server, &[]).await;
    let answer = batch(&nobody, json!([check("a", 5, 1)])).await;
    answer.expect_error(403, "unkey/authorization/insufficient_permissions");
}

#[tokio::test]
async fn parallel_first_uses_create_each_namespace_once() {
    let server = keyrack().await;
    let calls = (0..12).map(|n| {
        let client = server.client();
        tokio::spawn(async move {
            let named = |name: String| merged(check("i", 1000, 1), json!({"namespace": name}));
            let body = json!([named("shared".into()), named(format!("own{}", n % 3))]);
            batch(&client, body).await.expect(200);
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.expect("no call fails");
    }
    let logs = server.call("audit.listLogs", json!({"event": "ratelimitNamespace.create"})).await.expect(200);
    assert_eq!(logs.data().as_array().expect("a list").len(), 4, "{}", logs.text);
    let read = merged(check("i", 1000, 0), json!({"namespace": "shared"}));
    assert_eq!(outcome(&server, json!([read])).await, (true, vec![(true, 988)]));
}

#[tokio::test]
async fn assistants_and_the_command_line_send_an_object() {
    let server = keyrack().await;
    let arguments = json!({"name": "ratelimit_multiLimit", "arguments": {"limits": [check("a", 5, 2)]}});
    let result = Session::open(&server).await.ask("tools/call", arguments).await;
    assert_eq!(result["structuredContent"]["data"]["passed"], true, "{result}");
    let limits = json!([check("a", 5, 2)]).to_string();
    let line = ["api", "ratelimit", "multi-limit", "--limits-json", &limits, "--output", "json"];
    let mut command = server.program().command(&line);
    let output = command.env("KEYRACK_URL", server.base()).env("KEYRACK_ROOT_KEY", keyrack_test_harness::ROOT_KEY);
    let output = ended(output);
    let answer: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(answer["data"]["limits"][0]["remaining"], 1, "{answer}");
}
