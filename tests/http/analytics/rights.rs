//! Who sees which rows.

use serde_json::json;

use super::{ratelimits, verifications};
use crate::fixture::{WINDOW, limited_client, new_api, new_key, new_workspace, verify};
use crate::keyrack;

const COUNT: &str = "SELECT count() AS n FROM key_verifications_v1";

#[tokio::test]
async fn a_grant_for_one_api_shows_its_rows_alone_and_one_for_none_shows_no_row() {
    let server = keyrack().await;
    let (api, other) = (new_api(&server).await, new_api(&server).await);
    for (api, times) in [(&api, 2), (&other, 3)] {
        let key = new_key(&server, api, json!({})).await;
        for _ in 0..times {
            verify(&server, &key, json!({})).await;
        }
    }
    let apis = "SELECT api_id, SUM(count) AS n FROM key_verifications_per_day_v1 GROUP BY api_id";
    let narrow = limited_client(&server, &[&format!("api.{api}.read_analytics")]).await;
    assert_eq!(verifications(&narrow, apis).await, json!([{"api_id": api, "n": 2}]));
    // However it is asked.
    for query in [
        format!("SELECT count() AS n FROM key_verifications_v1 WHERE api_id = '{other}' OR 1 = 1"),
        "SELECT count() AS n FROM (SELECT * FROM key_verifications_v1)".to_owned(),
        "WITH a AS (SELECT request_id FROM key_verifications_v1) SELECT count() AS n FROM a".to_owned(),
    ] {
        assert_eq!(verifications(&narrow, &query).await, json!([{"n": 2}]), "{query}");
    }
    let both = [format!("api.{api}.read_analytics"), format!("api.{other}.read_analytics")];
    let both = limited_client(&server, &[&both[0], &both[1]]).await;
    assert_eq!(verifications(&both, COUNT).await, json!([{"n": 5}]));
    // A grant for what is not there is one for nothing.
    let nothing = limited_client(&server, &["api.api_unknown1234.read_analytics"]).await;
    assert_eq!(verifications(&nothing, apis).await, json!([]));
    assert_eq!(verifications(&nothing, COUNT).await, json!([{"n": 0}]));
    let all = limited_client(&server, &["api.*.read_analytics"]).await;
    assert_eq!(verifications(&all, COUNT).await, json!([{"n": 5}]));
}

#[tokio::test]
async fn a_grant_for_one_namespace_shows_its_rows_alone() {
    let server = keyrack().await;
    for namespace in ["mail", "login", "login"] {
        let body = json!({"namespace": namespace, "identifier": "ann", "limit": 5, "duration": WINDOW});
        server.call("ratelimit.limit", body).await.expect(200);
    }
    let namespaces = server.call("ratelimit.listNamespaces", json!({"search": "login"})).await.expect(200);
    let id = namespaces.data()[0]["id"].as_str().expect("an id").to_owned();
    let query =
        "SELECT namespace, SUM(total) AS n FROM ratelimits_per_day_v1 GROUP BY namespace ORDER BY namespace";
    let narrow = limited_client(&server, &[&format!("ratelimit.{id}.read_analytics")]).await;
    assert_eq!(ratelimits(&narrow, query).await, json!([{"namespace": "login", "n": 2}]));
    let rows = json!([{"namespace": "login", "n": 2}, {"namespace": "mail", "n": 1}]);
    assert_eq!(ratelimits(&server, query).await, rows);
}

#[tokio::test]
async fn a_root_key_without_the_grant_is_refused_before_its_query_is_read() {
    let server = keyrack().await;
    let narrow = limited_client(&server, &["api.*.read_api", "ratelimit.*.read_namespace"]).await;
    for (operation, missing) in [
        ("analytics.getVerifications", "api.*.read_analytics"),
        ("analytics.getRatelimits", "ratelimit.*.read_analytics"),
    ] {
        let answer = narrow.call(operation, json!({"query": "DROP TABLE x"})).await.expect(403);
        assert!(
            answer.error()["detail"].as_str().is_some_and(|detail| detail.contains(missing)),
            "{}",
            answer.text
        );
    }
}

#[tokio::test]
async fn no_workspace_sees_rows_of_another() {
    let server = keyrack().await;
    let (id, other) = new_workspace(&server, "elsewhere").await;
    let api = new_api(&other).await;
    let key = new_key(&other, &api, json!({})).await;
    verify(&other, &key, json!({})).await;
    assert_eq!(verifications(&other, COUNT).await, json!([{"n": 1}]));
    for query in [
        COUNT.to_owned(),
        format!("SELECT count() AS n FROM key_verifications_v1 WHERE workspace_id = '{id}'"),
        format!("SELECT SUM(count) AS n FROM key_verifications_per_month_v1 WHERE workspace_id = '{id}' OR 1 = 1"),
        "SELECT count() AS n FROM key_verifications_v1 AS a INNER JOIN key_verifications_v1 AS b ON a.key_id = b.key_id"
            .to_owned(),
    ] {
        assert_eq!(verifications(&server, &query).await, json!([{"n": 0}]), "{query}");
    }
}
