//! What is in memory: the same whichever way it came there, and nothing of what cannot be read.

use keyrack_core::audit::Actor;
use keyrack_core::keys::secret;
use keyrack_core::operations::apis::{CreateApi, DeleteApi, ListKeys};
use keyrack_core::operations::identities::{CreateIdentity, DeleteIdentity};
use keyrack_core::operations::keys::{CreateKey, DeleteKey, GetKey, Whoami};
use keyrack_core::operations::permissions::{CreateRole, SetRolePermissions};
use keyrack_core::operations::ratelimit::{CreateNamespace, DeleteNamespace, Limit, SetOverride};
use keyrack_core::operations::workspace::GetOverview;
use keyrack_core::resident::FoundKey;
use keyrack_core::retention::Retention;
use keyrack_core::root_keys::NewRootKey;
use keyrack_core::setup;
use keyrack_core::store::subject::Subject;
use serde_json::{Value, json};
use sqlx::Row as _;

use crate::changes::within_a_second;
use crate::{Database, Instance, on_both_engines};

on_both_engines!(
    a_start_reads_what_changes_left,
    a_row_that_cannot_be_read_stops_no_revocation_and_is_refused,
    counts_are_those_of_the_store_after_any_changes,
    a_value_that_means_nothing_lets_nobody_in_and_stops_nothing,
    what_another_process_made_a_moment_ago_is_found,
);

fn found(instance: &Instance, key: &str) -> Option<FoundKey> {
    instance.keyrack.resident().find(&instance.workspace_id, key)
}

/// Changes rows past all checks, as a damaged dump would, and says of what.
pub(crate) async fn spoil(instance: &Instance, statements: &[&str], subjects: &[Subject]) {
    let mut mutation = instance.keyrack.change_as(&instance.workspace_id, Actor::system("test")).await.unwrap();
    for statement in statements {
        sqlx::query(sqlx::AssertSqlSafe((*statement).to_owned())).execute(mutation.connection()).await.unwrap();
    }
    for subject in subjects {
        mutation.touch(subject.clone());
    }
    mutation.commit().await.unwrap();
}

/// The process that makes changes reads each thing anew; a start reads all at once, in parts.
async fn a_start_reads_what_changes_left(database: Database) {
    let here = database.set_up().await;
    let api = here.run::<CreateApi>(json!({ "name": "payments" })).await.unwrap();
    let limit = |name: &str| json!({ "name": name, "limit": 5, "duration": 60_000, "autoApply": true });
    let identity =
        json!({ "externalId": "user_1", "meta": { "a": 1 }, "ratelimits": [limit("zebra"), limit("bear")] });
    here.run::<CreateIdentity>(identity).await.unwrap();
    here.run::<CreateRole>(json!({ "name": "empty" })).await.unwrap();
    for (name, slugs) in [("editor", json!(["write", "read"])), ("viewer", json!(["read"]))] {
        here.run::<CreateRole>(json!({ "name": name })).await.unwrap();
        here.run::<SetRolePermissions>(json!({ "role": name, "permissions": slugs })).await.unwrap();
    }
    let parts = [
        json!({}),
        json!({ "name": "a name that is longer than what fits in place", "meta": { "b": [1, null] } }),
        json!({ "permissions": ["write", "delete"], "roles": ["viewer", "editor", "empty"] }),
        json!({ "roles": ["empty"], "externalId": "user_1", "expires": 4_000_000_000_000_i64 }),
        json!({ "permissions": ["read"], "ratelimits": [limit("bear"), limit("ape")], "enabled": false }),
        json!({ "credits": { "remaining": 3, "refill": { "interval": "daily", "amount": 5 } } }),
        json!({ "roles": ["editor", "viewer"], "externalId": "user_2", "name": "short" }),
    ];
    let mut keys = Vec::new();
    for part in parts {
        let mut request = json!({ "apiId": api["apiId"] });
        request.as_object_mut().unwrap().extend(part.as_object().unwrap().clone());
        let created = here.run::<CreateKey>(request).await.unwrap();
        keys.push(created["key"].as_str().unwrap().to_owned());
    }
    let there = here.other_process(&database).await;
    for key in &keys {
        let (here, there) = (found(&here, key).unwrap(), found(&there, key).unwrap());
        assert_eq!(format!("{here:?}"), format!("{there:?}"));
    }
}

async fn a_row_that_cannot_be_read_stops_no_revocation_and_is_refused(database: Database) {
    let here = database.set_up().await;
    let there = here.other_process(&database).await;
    there.keyrack.start_background_work(Retention::default());
    let bad = here.run::<CreateApi>(json!({ "name": "bad" })).await.unwrap();
    let bad = bad["apiId"].as_str().unwrap().to_owned();
    let api = here.run::<CreateApi>(json!({ "name": "payments" })).await.unwrap();
    let created = here.run::<CreateKey>(json!({ "apiId": api["apiId"] })).await.unwrap();
    let key = created["key"].as_str().unwrap();
    let sees = || found(&there, key).is_some();
    within_a_second(sees).await;

    let spoilt = format!("UPDATE apis SET ip_whitelist = 'no address' WHERE id = '{bad}'");
    spoil(&here, &[&spoilt], &[Subject::Api(bad.clone())]).await;
    here.run::<DeleteKey>(json!({ "keyId": created["keyId"] })).await.unwrap();
    within_a_second(|| !sees()).await;
    for process in [&here, &there, &here.other_process(&database).await] {
        assert!(process.keyrack.resident().api(&bad).is_none(), "its keys are refused, and a start goes on");
    }
}

/// A process that follows nobody asks the store before it says that something is not there.
async fn what_another_process_made_a_moment_ago_is_found(database: Database) {
    let here = database.set_up().await;
    let there = here.other_process(&database).await;
    let api = here.run::<CreateApi>(json!({ "name": "payments" })).await.unwrap()["apiId"].clone();
    let key = here.run::<CreateKey>(json!({ "apiId": api })).await.unwrap();
    let listed = there.run::<ListKeys>(json!({ "apiId": api })).await.unwrap();
    assert_eq!(listed[0]["keyId"], key["keyId"]);
    let api = here.run::<CreateApi>(json!({ "name": "another" })).await.unwrap()["apiId"].clone();
    let key = here.run::<CreateKey>(json!({ "apiId": api })).await.unwrap();
    there.run::<GetKey>(json!({ "keyId": key["keyId"] })).await.unwrap();
    let api = here.run::<CreateApi>(json!({ "name": "third" })).await.unwrap()["apiId"].clone();
    let key = here.run::<CreateKey>(json!({ "apiId": api })).await.unwrap();
    there.run::<Whoami>(json!({ "key": key["key"] })).await.unwrap();
    there.run::<DeleteKey>(json!({ "keyId": key["keyId"] })).await.unwrap();
}

/// A cell that is damaged: its table and column, the row, values that mean nothing, and one that does.
struct Damage {
    table: &'static str,
    column: &'static str,
    id: String,
    meaningless: &'static [&'static str],
    sound: &'static str,
    subject: Subject,
}

/// Each value that means nothing, in a refresh, a reload and a start: what it describes is refused, all else goes on.
#[expect(clippy::too_many_lines, reason = "a table of damages, and what each of them must do")]
async fn a_value_that_means_nothing_lets_nobody_in_and_stops_nothing(database: Database) {
    let here = database.set_up().await;
    let api = here.run::<CreateApi>(json!({ "name": "payments" })).await.unwrap()["apiId"].clone();
    let limit = json!({ "name": "requests", "limit": 5, "duration": 60_000, "autoApply": true });
    let identity = json!({ "externalId": "cust_1", "ratelimits": [limit] });
    let identity = here.run::<CreateIdentity>(identity).await.unwrap()["identityId"].as_str().unwrap().to_owned();
    let key = json!({ "apiId": api, "externalId": "cust_1", "ratelimits": [limit] });
    let key = here.run::<CreateKey>(key).await.unwrap();
    let sound = here.run::<CreateKey>(json!({ "apiId": api })).await.unwrap()["key"].as_str().unwrap().to_owned();
    let (key_id, text) = (key["keyId"].as_str().unwrap().to_owned(), key["key"].as_str().unwrap().to_owned());
    let other =
        here.run::<CreateApi>(json!({ "name": "other" })).await.unwrap()["apiId"].as_str().unwrap().to_owned();
    let used = json!({ "namespace": "email", "identifier": "cust_1", "limit": 5, "duration": 60_000 });
    here.run::<Limit>(used.clone()).await.unwrap();
    let rule = json!({ "namespace": "email", "identifier": "cust_*", "limit": 9, "duration": 60_000 });
    let rule = here.run::<SetOverride>(rule).await.unwrap()["overrideId"].as_str().unwrap().to_owned();
    let namespace = here.keyrack.resident().namespace(&here.workspace_id, "email").unwrap().stored.id.clone();
    let new = NewRootKey { name: None, permissions: vec!["*".to_owned()], operator: false, expires_at: None };
    let (root_key, secret) = setup::create_root_key(&here.keyrack, &here.workspace_id, new).await.unwrap();
    let hash = secret::hash(secret.expose());

    let damage = |table, column, id: &str, meaningless, sound, subject| Damage {
        table,
        column,
        id: id.to_owned(),
        meaningless,
        sound,
        subject,
    };
    let of_key = Subject::Key(key_id.clone());
    let of_identity = Subject::Identity(identity.clone());
    let damages = [
        damage("ratelimits", "duration_ms", "key_id", &["0", "-1"][..], "60000", of_key.clone()),
        damage("ratelimits", "limit_count", "key_id", &["-1"], "5", of_key.clone()),
        damage("ratelimits", "auto_apply", "key_id", &["7", "-1"], "1", of_key.clone()),
        damage("ratelimits", "duration_ms", "identity_id", &["0", "-60000"], "60000", of_identity.clone()),
        damage("ratelimits", "limit_count", "identity_id", &["-9223372036854775808"], "5", of_identity),
        damage("keys", "enabled", &key_id, &["7", "-1"], "1", of_key),
        damage(
            "apis",
            "ip_whitelist",
            &other,
            &["','", "' , ,'", "' '", "'nonsense'"],
            "NULL",
            Subject::Api(other.clone()),
        ),
        damage(
            "root_keys",
            "permissions",
            &root_key,
            &["'nonsense'", "''", "'{}'", "'[1]'", "'\"*\"'"],
            "'[\"*\"]'",
            Subject::RootKey(root_key.clone()),
        ),
        damage("root_keys", "enabled", &root_key, &["2"], "1", Subject::RootKey(root_key.clone())),
        damage("ratelimit_overrides", "limit_count", &rule, &["-1"], "9", Subject::Namespace(namespace.clone())),
        damage("ratelimit_overrides", "duration_ms", &rule, &["0", "-1"], "60000", Subject::Namespace(namespace)),
        damage("ratelimit_overrides", "limit_count", &rule, &["-1"], "9", Subject::Override(rule.clone())),
        damage("ratelimit_overrides", "duration_ms", &rule, &["0"], "60000", Subject::Override(rule.clone())),
    ];
    let is_let_in = async |process: &Instance, damage: &Damage| match damage.table {
        "apis" => process.keyrack.resident().api(&damage.id).is_some(),
        "root_keys" => process.keyrack.resident().root_key(&hash).is_some(),
        "ratelimit_overrides" => process.run::<Limit>(used.clone()).await.unwrap()["success"] == true,
        _ => found(process, &text).is_some(),
    };
    for damage in &damages {
        let Damage { table, column, id, subject, .. } = damage;
        let owner = match id.as_str() {
            "key_id" => format!("key_id = '{key_id}'"),
            "identity_id" => format!("identity_id = '{identity}'"),
            id => format!("id = '{id}'"),
        };
        let write = async |value: &str| {
            let statement = format!("UPDATE {table} SET {column} = {value} WHERE {owner}");
            spoil(&here, &[&statement], std::slice::from_ref(subject)).await;
        };
        for value in damage.meaningless {
            write(value).await;
            let what = format!("{table}.{column} = {value}");
            assert!(!is_let_in(&here, damage).await, "{what}, read anew");
            let there = here.other_process(&database).await;
            assert!(!is_let_in(&there, damage).await, "{what}, at a start");
            there.keyrack.resident().reload(there.keyrack.store()).await.unwrap();
            assert!(!is_let_in(&there, damage).await, "{what}, all read anew");
            assert!(found(&there, &sound).is_some(), "{what}: others go on");
        }
        write(damage.sound).await;
        assert!(is_let_in(&here, damage).await, "{table}.{column} is mended");
    }
}

// SQLite keeps any value in any column; PostgreSQL does not let it come to that.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cell_of_the_wrong_kind_takes_its_key_out_and_nothing_else() {
    let database = Database::sqlite();
    let here = database.set_up().await;
    let there = here.other_process(&database).await;
    there.keyrack.start_background_work(Retention::default());
    let api = here.run::<CreateApi>(json!({ "name": "payments" })).await.unwrap();
    let mut keys = Vec::new();
    for _ in 0..4 {
        let body = json!({ "apiId": api["apiId"], "credits": { "remaining": 5 } });
        keys.push(here.run::<CreateKey>(body).await.unwrap());
    }
    let text = |at: usize| keys[at]["key"].as_str().unwrap();
    let sees = |process: &Instance, at| found(process, text(at)).is_some();
    within_a_second(|| (0..4).all(|at| sees(&there, at))).await;

    let id = |at: usize| keys[at]["keyId"].as_str().unwrap().to_owned();
    let spoilt = [
        format!("UPDATE keys SET expires_at = 'soon' WHERE id = '{}'", id(0)),
        format!("UPDATE credits SET remaining = 'many' WHERE key_id = '{}'", id(1)),
    ];
    spoil(&here, &spoilt.each_ref().map(String::as_str), &[Subject::Key(id(0)), Subject::Key(id(1))]).await;
    here.run::<DeleteKey>(json!({ "keyId": keys[2]["keyId"] })).await.unwrap();
    within_a_second(|| (0..3).all(|at| !sees(&there, at))).await;
    for process in [&here, &there, &here.other_process(&database).await] {
        assert!((0..3).all(|at| !sees(process, at)));
        assert!(sees(process, 3));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_identity_that_cannot_be_read_takes_its_keys_with_it() {
    let database = Database::sqlite();
    let here = database.set_up().await;
    let there = here.other_process(&database).await;
    there.keyrack.start_background_work(Retention::default());
    let api = here.run::<CreateApi>(json!({ "name": "payments" })).await.unwrap();
    let limit = json!({ "name": "requests", "limit": 5, "duration": 60_000, "autoApply": true });
    let (mut ids, mut keys) = (Vec::new(), Vec::new());
    for external_id in ["of_row", "of_limit", "sound"] {
        let identity = json!({ "externalId": external_id, "ratelimits": [limit] });
        let identity = here.run::<CreateIdentity>(identity).await.unwrap();
        ids.push(identity["identityId"].as_str().unwrap().to_owned());
        let key = json!({ "apiId": api["apiId"], "externalId": external_id });
        keys.push(here.run::<CreateKey>(key).await.unwrap()["key"].as_str().unwrap().to_owned());
    }
    let seen = |process: &Instance| keys.iter().map(|key| found(process, key).is_some()).collect::<Vec<_>>();
    within_a_second(|| seen(&there) == [true; 3]).await;
    let mend = [
        format!("UPDATE identities SET meta = NULL WHERE id = '{}'", ids[0]),
        format!("UPDATE ratelimits SET limit_count = 5 WHERE identity_id = '{}'", ids[1]),
    ];
    let spoilt = [
        format!("UPDATE identities SET meta = x'ff' WHERE id = '{}'", ids[0]),
        format!("UPDATE ratelimits SET limit_count = 'many' WHERE identity_id = '{}'", ids[1]),
    ];
    let subjects = [Subject::Identity(ids[0].clone()), Subject::Identity(ids[1].clone())];
    for (statements, expected) in [(spoilt, [false, false, true]), (mend, [true; 3])] {
        spoil(&here, &statements.each_ref().map(String::as_str), &subjects).await;
        within_a_second(|| seen(&there) == expected).await;
        for process in [&here, &here.other_process(&database).await] {
            assert_eq!(seen(process), expected);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permission_or_role_that_cannot_be_read_is_held_by_nobody() {
    let database = Database::sqlite();
    let here = database.set_up().await;
    let api = here.run::<CreateApi>(json!({ "name": "payments" })).await.unwrap();
    let (slugs, roles) = (["one", "two", "three"], ["first", "second", "third"]);
    for (role, slug) in roles.iter().zip(["r1", "r2", "r3"]) {
        here.run::<CreateRole>(json!({ "name": role })).await.unwrap();
        here.run::<SetRolePermissions>(json!({ "role": role, "permissions": [slug] })).await.unwrap();
    }
    let mut keys = Vec::new();
    for at in 0..3 {
        let key = json!({ "apiId": api["apiId"], "permissions": [slugs[at]], "roles": [roles[at]] });
        keys.push(here.run::<CreateKey>(key).await.unwrap()["key"].as_str().unwrap().to_owned());
    }
    // One in the middle, and the last ones.
    let spoilt =
        ["two", "three"].map(|slug| format!("UPDATE permissions SET slug = x'ff' || id WHERE slug = '{slug}'"));
    spoil(&here, &spoilt.each_ref().map(String::as_str), &[]).await;
    let spoilt =
        ["second", "third"].map(|name| format!("UPDATE roles SET name = x'ff' || id WHERE name = '{name}'"));
    spoil(&here, &spoilt.each_ref().map(String::as_str), &[]).await;
    let there = here.other_process(&database).await;
    let held = |key: &str| {
        let found = found(&there, key).unwrap();
        let access = &found.key.access;
        (access.permissions.iter().map(ToString::to_string).collect::<Vec<_>>(), access.roles.len())
    };
    assert_eq!(held(&keys[0]), (vec!["one".to_owned(), "r1".to_owned()], 1));
    for key in &keys[1..] {
        assert_eq!(held(key), (vec![], 0));
    }
}

/// The counts of an overview, as the answer has them.
async fn counted(instance: &Instance) -> Value {
    instance.run::<GetOverview>(json!({})).await.unwrap()["counts"].clone()
}

/// The same, counted in the store.
async fn stored(instance: &Instance) -> Value {
    let live = "deleted_at IS NULL AND workspace_id = $1";
    let keys = "FROM keys k JOIN apis a ON a.id = k.api_id \
                WHERE k.deleted_at IS NULL AND a.deleted_at IS NULL AND k.workspace_id = $1";
    let mut connection = instance.keyrack.store().read().await.unwrap();
    let mut counts = json!({});
    for (kind, from) in [
        ("apis", format!("FROM apis WHERE {live}")),
        ("keys", keys.to_owned()),
        ("identities", format!("FROM identities WHERE {live}")),
        ("permissions", "FROM permissions WHERE workspace_id = $1".to_owned()),
        ("roles", "FROM roles WHERE workspace_id = $1".to_owned()),
        ("namespaces", format!("FROM ratelimit_namespaces WHERE {live}")),
    ] {
        let text = format!("SELECT COUNT(*) AS total {from}");
        let query = sqlx::query(sqlx::AssertSqlSafe(text)).bind(instance.workspace_id.clone());
        counts[kind] = query.fetch_one(&mut *connection).await.unwrap().get::<i64, _>("total").into();
    }
    counts
}

/// One of some changes of what is counted; some of them are refused.
async fn change(instance: &Instance, random: &mut impl FnMut(usize) -> usize, made: &mut [Vec<Value>; 2]) {
    // Most of the older ones are gone.
    let any = |things: &[Value], at: usize| {
        things.iter().rev().nth(at).cloned().unwrap_or_else(|| json!("api_none_at_all"))
    };
    let [apis, keys] = made;
    let api = any(apis, random(4));
    let (key, name) = (any(keys, random(40)), format!("name{}", random(40)));
    match random(12) {
        0 | 1 => {
            let made = instance.run::<CreateApi>(json!({ "name": name })).await.unwrap();
            apis.push(made["apiId"].clone());
        }
        2 => drop(instance.run::<DeleteApi>(json!({ "apiId": api })).await),
        3..=5 => {
            let body = json!({ "apiId": api, "externalId": name, "permissions": [name] });
            keys.extend(instance.run::<CreateKey>(body).await.ok().map(|made| made["keyId"].clone()));
        }
        6 => drop(instance.run::<DeleteKey>(json!({ "keyId": key, "permanent": random(2) == 0 })).await),
        7 => drop(instance.run::<DeleteIdentity>(json!({ "identity": name })).await),
        8 => drop(instance.run::<CreateRole>(json!({ "name": name })).await),
        9 => {
            let body = json!({ "namespace": name, "identifier": "a", "limit": 1, "duration": 1000 });
            drop(instance.run::<Limit>(body).await);
        }
        10 => drop(instance.run::<CreateNamespace>(json!({ "name": name })).await),
        _ => drop(instance.run::<DeleteNamespace>(json!({ "namespace": name })).await),
    }
}

async fn counts_are_those_of_the_store_after_any_changes(database: Database) {
    let here = database.set_up().await;
    let there = here.other_process(&database).await;
    there.keyrack.start_background_work(Retention::default());
    let mut state = 7_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let mut made = [Vec::new(), Vec::new()];
    for step in 0..150 {
        change(&here, &mut random, &mut made).await;
        assert_eq!(counted(&here).await, stored(&here).await, "after step {step}");
    }
    let due = stored(&here).await;
    assert!(due.as_object().unwrap().values().all(|count| *count != 0), "{due}");
    let resident = |instance: &Instance| instance.keyrack.resident().counts(&here.workspace_id);
    within_a_second(|| resident(&there) == resident(&here)).await;
    assert_eq!(counted(&there).await, due);
    assert_eq!(counted(&here.other_process(&database).await).await, due, "a start counts the same");
    here.keyrack.resident().reload(here.keyrack.store()).await.unwrap();
    assert_eq!(counted(&here).await, due, "reading all anew changes nothing");
}
