//! One-time links: who opens one, how often, for how long, and what the database knows of it.

use keyrack_core::Code;
use keyrack_core::calendar::UnixMs;
use keyrack_core::caller::{Origin, Via};
use keyrack_core::claims::{self, Behind, CLAIM_MS, Described, Issuer};
use keyrack_core::clock::Clock;
use keyrack_core::keys::secret::Secret;
use keyrack_core::operations::apis::CreateApi;
use keyrack_core::operations::audit::ListLogs;
use keyrack_core::operations::keys::{CreateKey, DeleteKey};
use keyrack_core::operations::root_keys::CreateKey as CreateRootKey;
use keyrack_core::retention;
use serde_json::{Value, json};

use crate::following::execute;
use crate::{Database, Instance, count, on_both_engines};

on_both_engines!(
    a_link_is_looked_at_as_often_as_one_likes_and_opened_once,
    of_many_who_open_a_link_at_once_in_two_processes_one_is_shown_the_text,
    a_link_is_void_after_its_time_and_goes,
    what_was_shown_is_remembered_for_a_day,
    a_key_that_is_gone_has_no_link,
    a_root_key_has_one_too_and_the_log_says_who_opened_it_from_where,
    so_many_links_wait_and_no_more,
    a_row_that_was_moved_or_altered_opens_nothing,
);

const TEXT: &str = "sk_live_4Nv8yTq1ZbWc7XgR9kLmPa";

async fn new_key(instance: &Instance) -> String {
    let api = instance.run::<CreateApi>(json!({ "name": "payments" })).await.unwrap();
    let key = json!({ "apiId": api["apiId"], "name": "mobile" });
    instance.run::<CreateKey>(key).await.unwrap()["keyId"].as_str().unwrap().to_owned()
}

fn issuer(instance: &Instance) -> Issuer {
    Issuer::of(&instance.keyrack.authenticate(&instance.root_key, origin().of_client(None)).unwrap())
}

fn origin() -> Origin {
    Origin::local(Via::Http).of_client(Some("browser/1"))
}

/// The token of a new link.
async fn link(instance: &Instance, key_id: &str) -> String {
    let text = Secret::from_string(TEXT.to_owned());
    let link = claims::make(&instance.keyrack, &issuer(instance), key_id, &text).await.unwrap();
    link.token.expose().to_owned()
}

async fn look(instance: &Instance, token: &str) -> Behind<Described> {
    claims::look(&instance.keyrack, token).await.unwrap()
}

/// The text behind a link, if it is shown.
async fn open(instance: &Instance, token: &str) -> Option<String> {
    match claims::open(&instance.keyrack, token, &origin()).await.unwrap() {
        Behind::Waiting((_, text)) => Some(text.expose().to_owned()),
        Behind::Shown(_) | Behind::Nothing => None,
    }
}

async fn events(instance: &Instance, event: &str) -> Vec<Value> {
    let logs = instance.run::<ListLogs>(json!({ "event": event })).await.unwrap();
    logs.as_array().unwrap().clone()
}

async fn a_link_is_looked_at_as_often_as_one_likes_and_opened_once(database: Database) {
    let instance = database.set_up().await;
    let key = new_key(&instance).await;
    let token = link(&instance, &key).await;
    for _ in 0..3 {
        let Behind::Waiting(about) = look(&instance, &token).await else { panic!("it waits") };
        assert_eq!((about.key_id.as_str(), about.name.as_deref()), (key.as_str(), Some("mobile")));
        assert_eq!((about.workspace.as_str(), about.is_root_key), ("Default", false));
    }
    assert!(events(&instance, "key.claim").await.is_empty());
    // A restart changes nothing.
    let instance = instance.other_process(&database).await;
    assert_eq!(open(&instance, &token).await.as_deref(), Some(TEXT));
    for _ in 0..2 {
        assert!(matches!(look(&instance, &token).await, Behind::Shown(_)));
        assert_eq!(open(&instance, &token).await, None);
    }
    assert_eq!(events(&instance, "key.claim").await.len(), 1);
    let mut connection = instance.keyrack.store().read().await.unwrap();
    let left: Option<String> =
        sqlx::query_scalar("SELECT sealed FROM claims").fetch_one(&mut *connection).await.unwrap();
    assert_eq!(left, None, "nothing of the text is left");
    for other in ["", "unknown", "4Nv8yTq1ZbWc7XgR9kLmPa", "' OR 1 = 1 --", &"x".repeat(5000)] {
        assert!(matches!(look(&instance, other).await, Behind::Nothing), "{other}");
    }
}

async fn of_many_who_open_a_link_at_once_in_two_processes_one_is_shown_the_text(database: Database) {
    let instance = database.set_up().await;
    let key = new_key(&instance).await;
    let token = link(&instance, &key).await;
    let other = instance.other_process(&database).await;
    let tries = (0..12).map(|at| {
        let (instance, token) = (if at % 2 == 0 { instance.clone() } else { other.clone() }, token.clone());
        tokio::spawn(async move { open(&instance, &token).await })
    });
    let mut shown = 0;
    for one in tries.collect::<Vec<_>>() {
        shown += usize::from(one.await.unwrap().is_some());
    }
    assert_eq!(shown, 1);
    assert_eq!(events(&instance, "key.claim").await.len(), 1);
}

async fn a_link_is_void_after_its_time_and_goes(database: Database) {
    let start = UnixMs::new(1_795_879_500_000);
    let clock = Clock::standing_at(start);
    let instance = database.set_up_at(clock.clone()).await;
    let key = new_key(&instance).await;
    let token = link(&instance, &key).await;
    clock.set(start.plus(CLAIM_MS));
    assert!(matches!(look(&instance, &token).await, Behind::Waiting(_)));
    retention::remove_claims(instance.keyrack.state()).await.unwrap();
    assert_eq!(count(&instance, "claims").await, 1);
    clock.set(start.plus(CLAIM_MS + 1));
    assert!(matches!(look(&instance, &token).await, Behind::Nothing));
    assert_eq!(open(&instance, &token).await, None);
    retention::remove_claims(instance.keyrack.state()).await.unwrap();
    assert_eq!(count(&instance, "claims").await, 0);
}

async fn what_was_shown_is_remembered_for_a_day(database: Database) {
    let start = UnixMs::new(1_795_879_500_000);
    let clock = Clock::standing_at(start);
    let instance = database.set_up_at(clock.clone()).await;
    let key = new_key(&instance).await;
    let token = link(&instance, &key).await;
    assert!(open(&instance, &token).await.is_some());
    clock.set(start.plus(2 * CLAIM_MS));
    let Behind::Shown(at) = look(&instance, &token).await else { panic!("who comes late is told") };
    assert_eq!(at, start);
    clock.set(start.plus(24 * 3_600_000 + 1));
    assert!(matches!(look(&instance, &token).await, Behind::Nothing));
}

async fn a_key_that_is_gone_has_no_link(database: Database) {
    let instance = database.set_up().await;
    let key = new_key(&instance).await;
    let token = link(&instance, &key).await;
    instance.run::<DeleteKey>(json!({ "keyId": key })).await.unwrap();
    assert!(matches!(look(&instance, &token).await, Behind::Nothing));
    assert_eq!(open(&instance, &token).await, None);
    assert!(events(&instance, "key.claim").await.is_empty());
}

async fn a_root_key_has_one_too_and_the_log_says_who_opened_it_from_where(database: Database) {
    let instance = database.set_up().await;
    let made = json!({ "permissions": ["api.*.read_api"], "name": "reader" });
    let made = instance.run::<CreateRootKey>(made).await.unwrap();
    let id = made["keyId"].as_str().unwrap();
    let token = link(&instance, id).await;
    let Behind::Waiting(about) = look(&instance, &token).await else { panic!("it waits") };
    assert_eq!((about.is_root_key, about.name.as_deref()), (true, Some("reader")));
    let mut visitor = origin();
    visitor.address = "203.0.113.7".parse().ok();
    assert!(matches!(claims::open(&instance.keyrack, &token, &visitor).await.unwrap(), Behind::Waiting(_)));
    let logged = events(&instance, "rootKey.claim").await;
    assert_eq!(logged.len(), 1);
    assert_eq!((&logged[0]["actor"]["type"], &logged[0]["actor"]["id"]), (&json!("system"), &json!("claim")));
    assert_eq!(logged[0]["targets"][0]["id"], id);
    assert_eq!(
        (&logged[0]["location"], &logged[0]["meta"]["userAgent"]),
        (&json!("203.0.113.7"), &json!("browser/1"))
    );
    let text = logged[0].to_string();
    assert!(!text.contains(TEXT) && !text.contains(&token), "{text}");
}

async fn so_many_links_wait_and_no_more(database: Database) {
    let clock = Clock::standing_at(UnixMs::new(1_800_000_000_000));
    let instance = database.set_up_at(clock.clone()).await;
    let key = new_key(&instance).await;
    let mut tokens = Vec::new();
    for _ in 0..100 {
        claims::check_room(&instance.keyrack, &issuer(&instance)).await.unwrap();
        tokens.push(link(&instance, &key).await);
    }
    let full = claims::check_room(&instance.keyrack, &issuer(&instance)).await.unwrap_err();
    assert_eq!((full.code(), full.retry_after_seconds()), (Code::WorkspaceRateLimited, Some(60)));
    assert!(open(&instance, &tokens[0]).await.is_some());
    claims::check_room(&instance.keyrack, &issuer(&instance)).await.unwrap();
    // Whoever tries links without end is told to wait, and the store is not asked.
    let mut refused = None;
    for _ in 0..1001 {
        refused = claims::look(&instance.keyrack, "4Nv8yTq1ZbWc7XgR9kLmPa").await.err().or(refused);
    }
    assert_eq!(refused.map(|error| error.code()), Some(Code::WorkspaceRateLimited));
    clock.set(clock.now().plus(1000));
    assert!(matches!(look(&instance, &tokens[1]).await, Behind::Waiting(_)));
}

async fn a_row_that_was_moved_or_altered_opens_nothing(database: Database) {
    let instance = database.set_up().await;
    let key = new_key(&instance).await;
    new_key(&instance).await;
    let token = link(&instance, &key).await;
    execute(&instance, &["UPDATE claims SET key_id = (SELECT MAX(id) FROM keys)"]).await;
    assert!(claims::open(&instance.keyrack, &token, &origin()).await.is_err());
    execute(&instance, &["UPDATE claims SET key_id = (SELECT MIN(id) FROM keys)"]).await;
    assert_eq!(open(&instance, &token).await.as_deref(), Some(TEXT), "what failed took nothing");
}
