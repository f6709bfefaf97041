//! `ratelimit.createNamespace`, `ratelimit.listNamespaces` and `ratelimit.deleteNamespace`.

use keyrack_test_harness::Client;
use serde_json::json;

use crate::fixture::{WINDOW, event_count, events, last_events, limited_client, now};
use crate::{keyrack, program};

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
        assert!(walked.len() <= all.len(), "pages do not end: {walked:?}");
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
async fn a_namespace_is_made_before_its_first_use_and_once() {
    let server = keyrack().await;
    let made = server.call("ratelimit.createNamespace", json!({"name": "email"})).await.expect(200);
    let id = made.text_of("namespaceId");
    assert_eq!(last_events(&server, 1).await, events(&[("ratelimitNamespace.create", &["ratelimitNamespace"])]));
    let set = json!({"namespace": "email", "identifier": "i", "limit": 1, "duration": WINDOW});
    server.call("ratelimit.setOverride", set).await.expect(200);
    assert_eq!(limit(&server, &id).await.expect(200).data()["limit"], 1, "it is the same by name and by id");
    let count = event_count(&server).await;
    // An id wins over names, so a namespace with such a name could be reached by nobody.
    for taken in ["email", &id] {
        let again = server.call("ratelimit.createNamespace", json!({ "name": taken })).await;
        again.expect_error(409, "unkey/data/ratelimit_namespace_already_exists");
    }
    assert_eq!(event_count(&server).await, count);
    server.call("ratelimit.createNamespace", json!({"name": "Email"})).await.expect(200);
}

#[tokio::test]
async fn a_deleted_namespace_is_revived_under_its_id_with_its_counts_and_without_its_overrides() {
    let server = keyrack().await;
    let used = limit(&server, "email").await.expect(200).data()["remaining"].clone();
    assert_eq!(used, 8);
    let listed = server.call("ratelimit.listNamespaces", json!({})).await.expect(200).data().clone();
    let id = listed[0]["id"].as_str().expect("an id");
    let set = json!({"namespace": "email", "identifier": "i", "limit": 1, "duration": WINDOW});
    let rule = server.call("ratelimit.setOverride", set.clone()).await.expect(200).text_of("overrideId");
    server.call("ratelimit.deleteNamespace", json!({"namespace": "email"})).await.expect(200);
    let gone = limit(&server, "email").await.expect_error(410, "unkey/data/ratelimit_namespace_gone");
    assert!(gone.detail().contains("`ratelimit.createNamespace`"), "{}", gone.detail());
    let by_id = server.call("ratelimit.createNamespace", json!({ "name": id })).await;
    by_id.expect_error(409, "unkey/data/ratelimit_namespace_already_exists");

    let revived = server.call("ratelimit.createNamespace", json!({"name": "email"})).await.expect(200);
    assert_eq!(revived.text_of("namespaceId"), id);
    assert_eq!(last_events(&server, 1).await, events(&[("ratelimitNamespace.create", &["ratelimitNamespace"])]));
    let answer = limit(&server, id).await.expect(200);
    assert_eq!((&answer.data()["limit"], &answer.data()["remaining"]), (&json!(9), &json!(7)));
    assert_eq!(server.call("ratelimit.listNamespaces", json!({})).await.expect(200).data(), &listed);
    let overrides = server.call("ratelimit.listOverrides", json!({"namespace": "email"})).await.expect(200);
    assert_eq!(overrides.data(), &json!([]));
    let again = server.call("ratelimit.setOverride", set).await.expect(200);
    assert_eq!(again.text_of("overrideId"), rule, "what is set again is the override that it was");
    assert_eq!(limit(&server, "email").await.expect(200).data()["limit"], 1);
    server.call("ratelimit.createNamespace", json!({"name": "email"})).await.expect(409);
}

#[tokio::test]
async fn what_one_process_revived_another_changes_at_once() {
    let server = program().on_engine().await.start().await;
    let other = server.program().start().await;
    let set = json!({"namespace": "email", "identifier": "i", "limit": 1, "duration": WINDOW});
    server.call("ratelimit.createNamespace", json!({"name": "email"})).await.expect(200);
    for _ in 0..5 {
        server.call("ratelimit.deleteNamespace", json!({"namespace": "email"})).await.expect(200);
        other.call("ratelimit.setOverride", set.clone()).await.expect(404);
        server.call("ratelimit.createNamespace", json!({"name": "email"})).await.expect(200);
        other.call("ratelimit.setOverride", set.clone()).await.expect(200);
        assert_eq!(limit(&other, "email").await.expect(200).data()["limit"], 1);
    }
}

#[tokio::test]
async fn parallel_creations_create_or_revive_once() {
    let server = keyrack().await;
    for _ in ["new", "deleted"] {
        let calls = (0..8).map(|_| {
            let client = server.client();
            tokio::spawn(
                async move { client.call("ratelimit.createNamespace", json!({"name": "email"})).await.status },
            )
        });
        let mut statuses = Vec::new();
        for call in calls.collect::<Vec<_>>() {
            statuses.push(call.await.expect("no call fails"));
        }
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409, 409, 409, 409, 409, 409, 409]);
        server.call("ratelimit.deleteNamespace", json!({"namespace": "email"})).await.expect(200);
    }
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
