//! `ratelimit.listNamespaces` and `ratelimit.deleteNamespace`.

use keyrack_test_harness::Client;
use serde_json::json;

use crate::fixture::{WINDOW, event_count, events, last_events, limited_client, now};
use crate::keyrack;

async fn limit(client: &Client, namespace: &str) -> keyrack_test_harness::Answer {
    let body = json!({"namespace": namespace, "identifier": "i", "limit": 9, "duration": WINDOW});
    client.call("ratelimit.limit", body).await
}

#[tokio::test]
async fn namespaces_are_listed_by_id_in_pages_and_found_by_name() {
    let server = keyrack().await;
    let before = now();
    for name in ["email", "sms", "E-mail 100%"] {
        limit(&server, name).await.expect(200);
    }
    let all = server.call("ratelimit.listNamespaces", json!({})).await.expect(200);
    let all = all.data().as_array().expect("a list").clone();
    assert!(all.len() == 3 && all.is_sorted_by_key(|one| one["id"].as_str().map(str::to_owned)), "{all:?}");
    assert!(all.iter().all(|one| one["createdAt"].as_i64().is_some_and(|at| at >= before && at <= now())));
    let mut walked = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = server.call("ratelimit.listNamespaces", json!({"limit": 1, "cursor": cursor})).await;
        let page = page.expect(200);
        walked.extend(page.data().as_array().expect("a list").clone());
        match page.body["pagination"]["cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    assert_eq!(walked, all);
    for (search, count) in [("MAIL", 2), ("100%", 1), ("%", 1), ("rlns_", 3), ("none", 0)] {
        let found = server.call("ratelimit.listNamespaces", json!({"search": search})).await.expect(200);
        assert_eq!(found.data().as_array().map(Vec::len), Some(count), "{search}");
    }
}

#[tokio::test]
async fn a_deleted_namespace_is_gone_under_its_name_and_its_id_and_unknown_to_the_rest() {
    let server = keyrack().await;
    limit(&server, "email").await.expect(200);
    let listed = server.call("ratelimit.listNamespaces", json!({})).await.expect(200);
    let id = listed.data()[0]["id"].as_str().expect("an id").to_owned();
    let set = json!({"namespace": "email", "identifier": "i", "limit": 1, "duration": 1000});
    server.call("ratelimit.setOverride", set.clone()).await.expect(200);
    let deleted = server.call("ratelimit.deleteNamespace", json!({"namespace": id})).await.expect(200);
    assert_eq!(deleted.data(), &json!({}));
    assert_eq!(last_events(&server, 1).await, events(&[("ratelimitNamespace.delete", &["ratelimitNamespace"])]));
    for name in ["email", &id] {
        limit(&server, name).await.expect_error(410, "unkey/data/ratelimit_namespace_gone");
        let only = json!({"namespace": name});
        let one = json!({"namespace": name, "identifier": "i"});
        for (operation, body) in [
            ("ratelimit.setOverride", crate::fixture::merged(set.clone(), only.clone())),
            ("ratelimit.getOverride", one.clone()),
            ("ratelimit.deleteOverride", one),
            ("ratelimit.listOverrides", only.clone()),
            ("ratelimit.deleteNamespace", only),
        ] {
            let answer = server.call(operation, body).await;
            answer.expect_error(404, "unkey/data/ratelimit_namespace_not_found");
        }
    }
    // Gone is said before the permission is asked.
    let other = limited_client(&server, &["ratelimit.rlns_other123.limit"]).await;
    limit(&other, "email").await.expect_error(410, "unkey/data/ratelimit_namespace_gone");
    // But who may limit nothing at all is not told what there was, however the request is spelled.
    let nobody = limited_client(&server, &[]).await;
    for (name, most) in [("email", json!(9)), ("email", json!(9.0)), ("never", json!(9))] {
        let body = json!({"namespace": name, "identifier": "i", "limit": most, "duration": 60_000});
        let answer = nobody.call("ratelimit.limit", body).await;
        let answer = answer.expect_error(403, "unkey/authorization/insufficient_permissions");
        assert!(answer.detail().contains("{namespaceId}"), "{}", answer.detail());
    }
    let listed = server.call("ratelimit.listNamespaces", json!({})).await.expect(200);
    assert_eq!(listed.data(), &json!([]));
}

#[tokio::test]
async fn a_refusal_deletes_and_records_nothing() {
    let server = keyrack().await;
    limit(&server, "email").await.expect(200);
    let client = limited_client(&server, &["ratelimit.*.read_namespace"]).await;
    let count = event_count(&server).await;
    let answer = client.call("ratelimit.deleteNamespace", json!({"namespace": "email"})).await;
    answer.expect_error(403, "unkey/authorization/insufficient_permissions");
    limit(&server, "email").await.expect(200);
    assert_eq!(event_count(&server).await, count);
}

#[tokio::test]
async fn parallel_deletions_delete_once() {
    let server = keyrack().await;
    limit(&server, "email").await.expect(200);
    let calls = (0..8).map(|_| {
        let client = server.client();
        tokio::spawn(async move {
            client.call("ratelimit.deleteNamespace", json!({"namespace": "email"})).await.status
        })
    });
    let mut statuses = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        statuses.push(call.await.expect("no call fails"));
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 404, 404, 404, 404, 404, 404, 404]);
}
