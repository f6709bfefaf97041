//! Usage without SQL: sums, groups, lists of events.

use keyrack_test_harness::{Client, Server};
use serde_json::{Value, json};

use crate::fixture::{WINDOW, limited_client, new_api, new_key, new_workspace, now, verify};
use crate::keyrack;

async fn usage(client: &Client, body: Value) -> Value {
    client.call("analytics.getUsage", body).await.expect(200).data().clone()
}

/// Two APIs, three keys of two customers and nobody, and every outcome that needs no clock.
async fn decide(server: &Server) -> (String, String, [String; 3]) {
    let (api, other) = (new_api(server).await, new_api(server).await);
    let paid = json!({"externalId": "ann", "name": "Ann's key", "credits": {"remaining": 5}});
    let (ann, bob) =
        (new_key(server, &api, paid).await, new_key(server, &api, json!({"externalId": "bob"})).await);
    let nobody = new_key(server, &other, json!({"enabled": false})).await;
    for cost in [3, 2, 1] {
        verify(server, &ann, json!({"tags": ["path=/v1", "x"], "credits": {"cost": cost}})).await;
    }
    verify(server, &bob, json!({"tags": ["x"]})).await;
    verify(server, &bob, json!({"permissions": "docs.read"})).await;
    verify(server, &nobody, json!({})).await;
    server.call("keys.verifyKey", json!({"key": "no_key_at_all"})).await.expect(200);
    (api, other, [ann.id, bob.id, nobody.id])
}

fn without_times(groups: &Value) -> Value {
    let mut groups = groups.clone();
    for group in groups.as_array_mut().expect("groups") {
        let group = group.as_object_mut().expect("an object");
        let last = group.remove("lastTime").and_then(|time| time.as_i64()).expect("ms");
        assert!((now() - 60_000..=now()).contains(&last), "{last}");
    }
    groups
}

#[tokio::test]
async fn nothing_asked_is_the_last_seven_days_of_verifications() {
    let server = keyrack().await;
    let empty = usage(&server, json!({})).await;
    assert_eq!(
        (&empty["totals"], &empty["series"]),
        (&json!({"total": 0, "counts": {}, "spentCredits": 0}), &json!([]))
    );
    decide(&server).await;
    let counts = json!({"VALID": 3, "USAGE_EXCEEDED": 1, "INSUFFICIENT_PERMISSIONS": 1, "DISABLED": 1});
    for bucket in ["minute", "hour", "day", "month"] {
        let start = now() - 3_600_000;
        let answer = usage(&server, json!({"bucket": bucket, "start": start})).await;
        assert_eq!(answer["totals"]["counts"], counts, "{bucket}");
        assert_eq!((&answer["totals"]["total"], &answer["totals"]["spentCredits"]), (&json!(6), &json!(5)));
        assert!(answer["totals"]["latencyP50"].as_f64() <= answer["totals"]["latencyP99"].as_f64(), "{answer}");
        let series = answer["series"].as_array().expect("a series");
        let total: i64 = series.iter().filter_map(|point| point["total"].as_i64()).sum();
        assert_eq!(total, 6, "{answer}");
        let (start, end) = (answer["start"].as_i64(), answer["end"].as_i64());
        assert!(series.iter().all(|point| (start..end).contains(&point["time"].as_i64())), "{answer}");
    }
    let week = usage(&server, json!({})).await;
    assert_eq!((&week["bucket"], &week["totals"]["total"]), (&json!("day"), &json!(6)));
    let [gap] = &week["gaps"].as_array().expect("gaps")[..] else { panic!("{}", week["gaps"]) };
    assert_eq!((&gap["reason"], &gap["start"]), (&json!("notRecorded"), &week["start"]));
    assert!((now() - 60_000..now()).contains(&gap["end"].as_i64().expect("ms")), "{gap}");
    // The month that is billed is of the same numbers.
    let month = server.call("workspace.getUsage", json!({})).await.expect(200);
    assert_eq!(month.data()["totals"]["api"]["verifications"], week["totals"]["counts"]["VALID"]);
}

#[tokio::test]
async fn groups_are_told_apart_ordered_and_have_names() {
    let server = keyrack().await;
    let (api, other, [ann, bob, nobody]) = decide(&server).await;
    let by_key = usage(&server, json!({"by": "key", "order": "refused", "groupSeries": true})).await;
    let ids: Vec<&Value> = by_key["groups"].as_array().expect("groups").iter().map(|group| &group["id"]).collect();
    let mut refused_once = [&ann, &bob, &nobody];
    refused_once.sort_unstable();
    assert_eq!(ids, refused_once.map(|id| json!(id)).iter().collect::<Vec<_>>());
    let groups = by_key["groups"].as_array().expect("groups");
    let of_ann = groups.iter().find(|group| group["id"] == json!(ann)).expect("Ann's");
    assert_eq!(
        (&of_ann["name"], &of_ann["counts"], &of_ann["spentCredits"], &of_ann["series"][0]["total"]),
        (&json!("Ann's key"), &json!({"VALID": 2, "USAGE_EXCEEDED": 1}), &json!(5), &json!(3))
    );
    let by_api = without_times(&usage(&server, json!({"by": "api"})).await["groups"]);
    assert_eq!((&by_api[0]["id"], &by_api[0]["total"]), (&json!(api), &json!(5)));
    assert_eq!((&by_api[1]["id"], &by_api[1]["counts"]), (&json!(other), &json!({"DISABLED": 1})));
    assert!(by_api[0]["name"].is_string(), "{by_api}");
    let by_tag = without_times(&usage(&server, json!({"by": "tag"})).await["groups"]);
    let tags = json!([
        {"id": "x", "total": 4, "counts": {"VALID": 3, "USAGE_EXCEEDED": 1}, "spentCredits": 5},
        {"id": "path=/v1", "total": 3, "counts": {"VALID": 2, "USAGE_EXCEEDED": 1}, "spentCredits": 5},
    ]);
    assert_eq!(by_tag, tags);
    let by_identity = usage(&server, json!({"by": "identity"})).await;
    let names = by_identity["groups"].as_array().expect("groups").iter();
    let names: Vec<&Value> = names.map(|group| &group["name"]).collect();
    assert_eq!(names, [&json!("ann"), &json!("bob"), &Value::Null]);
    let most = usage(&server, json!({"by": "tag", "limit": 1, "outcomes": ["USAGE_EXCEEDED"]})).await;
    assert_eq!(most["groups"].as_array().map(Vec::len), Some(1));
    assert_eq!(most["totals"]["counts"], json!({"USAGE_EXCEEDED": 1}));
}

#[tokio::test]
async fn groups_have_all_that_the_totals_have_whatever_the_buckets_and_bounds_are() {
    let server = keyrack().await;
    decide(&server).await;
    let midnight = now() - now() % 86_400_000;
    for (bucket, days) in
        [("minute", 0), ("hour", 0), ("hour", 1), ("hour", 9), ("day", 0), ("day", 7), ("month", 0), ("month", 40)]
    {
        for end in [None, Some(now() + 1), Some(midnight + 86_400_000)] {
            let mut body = json!({"bucket": bucket, "start": midnight - days * 86_400_000, "groupSeries": true});
            if bucket == "minute" {
                body["start"] = json!((now() - 600_000).max(midnight));
            }
            if let Some(end) = end {
                body["end"] = json!(end);
            }
            for by in ["api", "key", "identity"] {
                body["by"] = json!(by);
                let answer = usage(&server, body.clone()).await;
                let groups = answer["groups"].as_array().expect("groups");
                let total: i64 = groups.iter().filter_map(|group| group["total"].as_i64()).sum();
                let of_series = groups.iter().flat_map(|group| group["series"].as_array().into_iter().flatten());
                let of_series: i64 = of_series.filter_map(|point| point["total"].as_i64()).sum();
                assert_eq!(
                    (answer["totals"]["total"].as_i64(), total, of_series),
                    (Some(6), 6, 6),
                    "{body}: {answer}"
                );
            }
        }
    }
}

#[tokio::test]
async fn filters_choose_events() {
    let server = keyrack().await;
    let (api, other, [ann, ..]) = decide(&server).await;
    for (filter, total) in [
        (json!({"apiId": api}), 5),
        (json!({"apiId": other}), 1),
        (json!({"keyId": ann}), 3),
        (json!({"identity": "bob"}), 2),
        (json!({"identity": "it's \\ nobody's' OR 1 = 1"}), 0),
        (json!({"tag": "x"}), 4),
        (json!({"tag": "x", "apiId": other}), 0),
        (json!({"outcomes": ["VALID", "DISABLED"]}), 4),
        (json!({"keyId": "key_unknown123"}), 0),
    ] {
        assert_eq!(usage(&server, filter.clone()).await["totals"]["total"], json!(total), "{filter}");
    }
}

#[tokio::test]
async fn decisions_on_limits_are_summed_up_by_namespace_and_identifier() {
    let server = keyrack().await;
    for (namespace, identifier, cost) in
        [("mail", "ann", 2), ("mail", "ann", 4), ("mail", "bob", 1), ("login", "ann", 9)]
    {
        let body = json!({"namespace": namespace, "identifier": identifier, "limit": 5, "duration": WINDOW, "cost": cost});
        server.call("ratelimit.limit", body).await.expect(200);
    }
    let all = usage(&server, json!({"of": "ratelimits", "by": "namespace"})).await;
    assert_eq!(
        (&all["totals"]["counts"], &all["totals"]["cost"]),
        (&json!({"PASSED": 2, "REFUSED": 2}), &json!(16))
    );
    let groups = without_times(&all["groups"]);
    assert_eq!((&groups[0]["name"], &groups[0]["counts"]), (&json!("mail"), &json!({"PASSED": 2, "REFUSED": 1})));
    let refused = json!({"of": "ratelimits", "by": "identifier", "namespace": "mail", "outcomes": ["REFUSED"]});
    let refused = usage(&server, refused).await;
    assert_eq!((&refused["totals"]["total"], &refused["totals"]["cost"]), (&json!(1), &json!(4)));
    // Of those that passed as well, which rows of sums do not tell apart.
    assert!(refused["groups"][0]["lastTime"].is_null() && refused["totals"]["latencyP50"].is_null(), "{refused}");
    let ids: Vec<_> =
        refused["groups"].as_array().expect("groups").iter().map(|group| group["id"].clone()).collect();
    assert_eq!(ids, [json!("ann")]);
    let month = server.call("workspace.getUsage", json!({})).await.expect(200);
    assert_eq!(month.data()["totals"]["api"]["ratelimits"], 2);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_what_to_send() {
    let server = keyrack().await;
    for (body, location) in [
        (json!({"namespace": "mail"}), "body.namespace"),
        (json!({"by": "identifier"}), "body.by"),
        (json!({"of": "ratelimits", "by": "key"}), "body.by"),
        (json!({"of": "ratelimits", "keyId": "key_1234567890"}), "body.keyId"),
        (json!({"of": "ratelimits", "order": "spentCredits"}), "body.order"),
        (json!({"outcomes": ["PASSED"]}), "body.outcomes"),
        (json!({"start": 5, "end": 5}), "body.start"),
        (json!({"start": now() + 3_600_000}), "body.start"),
        (json!({"bucket": "minute"}), "body.bucket"),
        (json!({"by": "key", "limit": 100, "bucket": "hour", "groupSeries": true}), "body.groupSeries"),
    ] {
        let answer = server.call("analytics.getUsage", body.clone()).await.expect(400);
        let faults = &answer.error()["errors"];
        assert_eq!(faults[0]["location"], location, "{body}: {faults}");
        assert!(faults[0]["fix"].is_string(), "{faults}");
    }
    for cursor in ["x", "1.2", "1.5000.req_x"] {
        server.call("analytics.listVerifications", json!({"cursor": cursor})).await.expect(400);
    }
}

#[tokio::test]
async fn the_longest_names_and_strangest_texts_are_answered() {
    let server = keyrack().await;
    let strange = |number: usize| {
        let start = format!("{number}' OR 1 = 1 -- \\ \n \"`%{{}}");
        format!("{start}{}", "é\\'".repeat((255 - start.chars().count()) / 3))
    };
    for number in 0..40 {
        let body = json!({"namespace": "mail", "identifier": strange(number), "limit": 5, "duration": WINDOW});
        server.call("ratelimit.limit", body).await.expect(200);
    }
    let all =
        json!({"of": "ratelimits", "by": "identifier", "limit": 40, "groupSeries": true, "namespace": "mail"});
    let all = usage(&server, all).await;
    let groups = all["groups"].as_array().expect("groups");
    assert_eq!(groups.len(), 40, "{all}");
    assert!(groups.iter().all(|group| group["series"][0]["total"] == 1), "{all}");
    for number in [0, 39] {
        let body = json!({"of": "ratelimits", "identifier": strange(number)});
        assert_eq!(usage(&server, body.clone()).await["totals"]["total"], 1, "{body}");
        let body = json!({"identifier": strange(number)});
        assert_eq!(listed(&server, "analytics.listRatelimits", body).await.len(), 1);
    }
    for end in [0, 1, 253_402_300_799_999_i64, i64::MAX] {
        let body = json!({"end": end});
        server.call("analytics.listVerifications", body.clone()).await.expect(200);
        let answer = server.call("analytics.getUsage", body).await;
        assert!([200, 400].contains(&answer.status), "{}", answer.text);
    }
    server.call("analytics.getUsage", json!({"start": 0})).await.expect(200);
}

#[tokio::test]
async fn texts_that_are_longer_than_what_events_keep_are_found_all_the_same() {
    let server = keyrack().await;
    let (namespace, identifier) = ("ü".repeat(255), "🗝".repeat(255));
    for (namespace, identifier) in [(&namespace, &"🗝".repeat(400)), (&"🗝".repeat(300), &identifier)] {
        let body = json!({"namespace": namespace, "identifier": identifier, "limit": 5, "duration": WINDOW});
        server.call("ratelimit.limit", body).await.expect(200);
        for filter in [json!({"namespace": namespace}), json!({"identifier": identifier})] {
            let mut report = filter.clone();
            report["of"] = json!("ratelimits");
            assert_eq!(usage(&server, report).await["totals"]["total"], 1, "{filter}");
            assert_eq!(listed(&server, "analytics.listRatelimits", filter.clone()).await.len(), 1, "{filter}");
        }
    }
}

#[tokio::test]
async fn costs_that_no_sum_has_room_for_are_the_largest_number() {
    let server = keyrack().await;
    for (cost, limit) in [(i64::MAX, 1), (i64::MAX, 1), (i64::MAX - 7, i64::MAX), (3, 5)] {
        let body =
            json!({"namespace": "mail", "identifier": "ann", "limit": limit, "duration": WINDOW, "cost": cost});
        server.call("ratelimit.limit", body).await.expect(200);
    }
    for (outcomes, cost) in [
        (json!(["PASSED", "REFUSED"]), i64::MAX),
        (json!(["PASSED"]), i64::MAX - 7),
        (json!(["REFUSED"]), i64::MAX),
    ] {
        for bucket in ["minute", "hour", "day", "month"] {
            let body = json!({
                "of": "ratelimits", "by": "identifier", "outcomes": outcomes, "bucket": bucket, "start": now() - 60_000,
            });
            let answer = usage(&server, body).await;
            assert_eq!(answer["totals"]["cost"], json!(cost), "{answer}");
            assert_eq!(answer["groups"][0]["cost"], json!(cost), "{answer}");
        }
    }
}

async fn listed(client: &Client, operation: &'static str, mut body: Value) -> Vec<Value> {
    let mut rows = Vec::new();
    loop {
        let answer = client.call(operation, body.clone()).await.expect(200);
        rows.extend(answer.data().as_array().expect("rows").iter().cloned());
        let Some(cursor) = answer.body["pagination"]["cursor"].as_str().map(str::to_owned) else { return rows };
        body["cursor"] = json!(cursor);
    }
}

#[tokio::test]
async fn verifications_are_listed_newest_first_page_by_page() {
    let server = keyrack().await;
    let (api, _, [ann, ..]) = decide(&server).await;
    let all = listed(&server, "analytics.listVerifications", json!({})).await;
    assert_eq!(all.len(), 6);
    let times: Vec<_> = all.iter().map(|row| row["time"].as_i64()).collect();
    assert!(times.is_sorted_by(|earlier, later| earlier >= later), "{times:?}");
    for limit in 1..=3 {
        assert_eq!(listed(&server, "analytics.listVerifications", json!({"limit": limit})).await, all);
    }
    let refused = json!({"outcomes": ["INSUFFICIENT_PERMISSIONS"], "apiId": api});
    let refused = listed(&server, "analytics.listVerifications", refused).await;
    assert_eq!((refused.len(), &refused[0]["refusedBy"]), (1, &json!(["docs.read"])));
    let request = json!({"requestId": refused[0]["requestId"]});
    assert_eq!(listed(&server, "analytics.listVerifications", request).await, refused);
    for (filter, count) in [
        (json!({"keyId": ann}), 3),
        (json!({"identity": "bob"}), 2),
        (json!({"tag": "path=/v1"}), 3),
        (json!({"end": all[5]["time"]}), 0),
        (json!({"start": all[0]["time"].as_i64().map(|ms| ms + 1)}), 0),
    ] {
        assert_eq!(listed(&server, "analytics.listVerifications", filter.clone()).await.len(), count, "{filter}");
    }
}

#[tokio::test]
async fn decisions_of_one_request_are_listed_each_once() {
    let server = keyrack().await;
    let limit =
        |identifier: &str| json!({"namespace": "mail", "identifier": identifier, "limit": 9, "duration": WINDOW});
    let limits: Vec<Value> = ["ann", "bob", "cat", "dan"].into_iter().map(limit).collect();
    server.call("ratelimit.multiLimit", json!(limits)).await.expect(200);
    let all = listed(&server, "analytics.listRatelimits", json!({})).await;
    assert_eq!(all.len(), 4);
    for limit in 1..=3 {
        assert_eq!(listed(&server, "analytics.listRatelimits", json!({"limit": limit})).await, all);
    }
    let of_bob = json!({"namespace": "mail", "identifier": "bob", "passed": true});
    assert_eq!(listed(&server, "analytics.listRatelimits", of_bob).await.len(), 1);
    assert_eq!(listed(&server, "analytics.listRatelimits", json!({"passed": false})).await.len(), 0);
}

#[tokio::test]
async fn grants_narrow_reports_and_other_workspaces_are_in_none() {
    let server = keyrack().await;
    let (api, _, [ann, ..]) = decide(&server).await;
    let body = json!({"namespace": "mail", "identifier": "ann", "limit": 5, "duration": WINDOW});
    server.call("ratelimit.limit", body).await.expect(200);
    let narrow = limited_client(&server, &[&format!("api.{api}.read_analytics")]).await;
    for body in [
        json!({}),
        json!({"by": "api"}),
        json!({"by": "key"}),
        json!({"bucket": "minute", "start": now() - 60_000}),
    ] {
        assert_eq!(usage(&narrow, body.clone()).await["totals"]["total"], 5, "{body}");
    }
    assert_eq!(listed(&narrow, "analytics.listVerifications", json!({})).await.len(), 5);
    narrow.call("analytics.getUsage", json!({"of": "ratelimits"})).await.expect(403);
    narrow.call("analytics.listRatelimits", json!({})).await.expect(403);
    let nothing = limited_client(&server, &["api.api_unknown1234.read_analytics"]).await;
    assert_eq!(usage(&nothing, json!({"by": "api"})).await["totals"]["total"], 0);
    let (_, other) = new_workspace(&server, "elsewhere").await;
    assert_eq!(usage(&other, json!({"apiId": api})).await["totals"]["total"], 0);
    for chosen in
        [json!({}), json!({"apiId": api}), json!({"keyId": ann}), json!({"identity": "bob"}), json!({"tag": "x"})]
    {
        assert!(listed(&other, "analytics.listVerifications", chosen.clone()).await.is_empty(), "{chosen}");
        assert_eq!(usage(&other, chosen.clone()).await["totals"]["total"], 0, "{chosen}");
    }
    assert!(listed(&other, "analytics.listRatelimits", json!({"namespace": "mail"})).await.is_empty());
    let of_limits = json!({"of": "ratelimits", "namespace": "mail", "by": "identifier"});
    assert_eq!(usage(&other, of_limits).await["groups"], json!([]));
    let none = limited_client(&server, &["api.*.read_api"]).await;
    none.call("analytics.getUsage", json!({})).await.expect(403);
}
