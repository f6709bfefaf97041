//! Workspaces and overrides whose rows mean nothing: refused, mended, and in nobody's way.

use keyrack_core::caller::{Origin, Via};
use keyrack_core::catalogue;
use keyrack_core::operations::apis::CreateApi;
use keyrack_core::operations::ratelimit::{DeleteOverride, Limit, ListOverrides, SetOverride};
use keyrack_core::operations::workspace::{CreateWorkspace, ListWorkspaces};
use keyrack_core::retention::Retention;
use keyrack_core::store::subject::Subject;
use serde_json::json;

use crate::changes::within_a_second;
use crate::resident::spoil;
use crate::{Database, Instance};

/// What stands in for it denies, and whoever may set overrides sets another, or deletes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_override_that_means_nothing_is_mended_by_setting_or_deleting_it() {
    let database = Database::sqlite();
    let here = database.set_up().await;
    let used = json!({ "namespace": "email", "identifier": "cust_1", "limit": 500, "duration": 60_000 });
    here.run::<Limit>(used.clone()).await.unwrap();
    let rule = json!({ "namespace": "email", "identifier": "cust_*", "limit": 900, "duration": 60_000 });
    let id = here.run::<SetOverride>(rule.clone()).await.unwrap()["overrideId"].as_str().unwrap().to_owned();
    let passes = async || here.run::<Limit>(used.clone()).await.unwrap()["success"] == true;
    for value in ["limit_count = -1", "duration_ms = 0", "limit_count = 'many'"] {
        let spoilt = format!("UPDATE ratelimit_overrides SET {value} WHERE id = '{id}'");
        spoil(&here, &[&spoilt], &[Subject::Override(id.clone())]).await;
        assert!(!passes().await, "{value}");
        let listed = here.run::<ListOverrides>(json!({ "namespace": "email" })).await.unwrap();
        assert_eq!(listed[0]["limit"], 0, "{value}: what counts is shown");
        here.run::<SetOverride>(rule.clone()).await.unwrap();
        assert!(passes().await, "{value} is set anew");
        spoil(&here, &[&spoilt], &[Subject::Override(id.clone())]).await;
        here.run::<DeleteOverride>(json!({ "namespace": "email", "identifier": "cust_*" })).await.unwrap();
        assert!(passes().await, "{value} is deleted");
        here.run::<SetOverride>(rule.clone()).await.unwrap();
    }
}

/// A workspace whose row means nothing is refused as a whole, and the others start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workspace_that_means_nothing_stops_no_start() {
    let database = Database::sqlite();
    let here = database.set_up().await;
    for (column, value) in [
        ("requests_per_minute", "-1"),
        ("log_retention_days", "0"),
        ("audit_retention_days", "-5"),
        ("enabled", "7"),
        ("generation", "'soon'"),
        ("name", "x'ff'"),
    ] {
        let spoilt = format!(
            "INSERT INTO workspaces (id, name, created_at) VALUES ('ws_{column}', 'odd', 1); \
             UPDATE workspaces SET {column} = {value} WHERE id = 'ws_{column}'"
        );
        let mut transaction = here.keyrack.store().write().await.unwrap();
        for statement in spoilt.split("; ") {
            sqlx::query(sqlx::AssertSqlSafe(statement.to_owned())).execute(&mut *transaction).await.unwrap();
        }
        transaction.commit().await.unwrap();
        let there = here.other_process(&database).await;
        assert!(there.keyrack.resident().workspace(&format!("ws_{column}")).is_none(), "{column}");
        assert!(there.keyrack.resident().workspace(&here.workspace_id).is_some());
        there.run::<CreateApi>(json!({ "name": column })).await.unwrap();
    }
    let (mut names, mut cursor) = (Vec::new(), json!(""));
    while cursor.is_string() {
        let caller = here.keyrack.authenticate(&here.root_key, Origin::local(Via::Http)).unwrap();
        let request = json!({ "limit": 1, "cursor": cursor });
        let page = catalogue::run::<ListWorkspaces>(&here.keyrack, caller, request).await.unwrap();
        names.extend(serde_json::to_value(page.data).unwrap().as_array().unwrap().clone());
        cursor = json!(page.pagination.unwrap().cursor);
    }
    assert!(names.iter().any(|item| item["id"] == json!(here.workspace_id)), "{names:?}");
    assert!(names.iter().all(|item| item["id"] != "ws_enabled"), "{names:?}");
}

/// The same of one that goes bad while processes run: it is refused, and everything else is followed on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workspace_that_goes_bad_is_refused_and_keeps_no_process_from_following() {
    let database = Database::sqlite();
    let here = database.set_up().await;
    let made = here.run::<CreateWorkspace>(json!({ "name": "other" })).await.unwrap();
    let (id, key) = (made["workspaceId"].as_str().unwrap(), made["rootKey"].as_str().unwrap());
    let other = Instance { root_key: key.to_owned(), workspace_id: id.to_owned(), ..here.clone() };
    let there = here.other_process(&database).await;
    there.keyrack.start_background_work(Retention::default());
    for (value, sound) in
        [("requests_per_minute = -1", "requests_per_minute = NULL"), ("enabled = 7", "enabled = 1")]
    {
        let write = async |set: &str| {
            let statement = format!("UPDATE workspaces SET {set} WHERE id = '{id}'");
            spoil(&other, &[&statement], &[Subject::Workspace(id.to_owned())]).await;
        };
        write(value).await;
        within_a_second(|| there.keyrack.resident().workspace(id).is_none()).await;
        assert!(other.run::<CreateApi>(json!({ "name": "payments" })).await.is_err(), "{value}");
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        assert!(
            !there.keyrack.state().is_stale() && !here.keyrack.state().is_stale(),
            "{value}: nothing is behind"
        );
        let api = here.run::<CreateApi>(json!({ "name": "payments" })).await.unwrap();
        within_a_second(|| there.keyrack.resident().api(api["apiId"].as_str().unwrap()).is_some()).await;
        write(sound).await;
        within_a_second(|| there.keyrack.resident().workspace(id).is_some()).await;
        other.run::<CreateApi>(json!({ "name": "payments" })).await.unwrap();
    }
}
