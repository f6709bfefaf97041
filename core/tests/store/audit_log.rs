//! The audit log: how it is searched, what is found of older entries, and what a check notices of tampering.

use keyrack_core::audit::chain::{self, Broken, Expected, Named};
use keyrack_core::audit::{Actor, Event, Target, filing};
use keyrack_core::calendar::UnixMs;
use keyrack_core::clock::Clock;
use keyrack_core::operations::audit::ListLogs;
use keyrack_core::operations::workspace::CreateWorkspace;
use keyrack_core::store::audit_entry::Entry;
use keyrack_core::store::audit_logs::{self, Link};
use keyrack_core::store::audit_search::{self, Wanted};
use serde_json::json;

use crate::changes::chain;
use crate::{Database, Instance, count, on_both_engines};

on_both_engines!(
    a_search_finds_what_a_walk_over_everything_finds,
    a_search_that_matches_little_looks_at_a_bounded_number_of_entries,
    entries_that_are_not_filed_are_filed_at_a_start,
    whatever_is_taken_out_or_put_in_is_noticed,
    a_log_made_anew_is_shown_by_a_hash_that_was_kept,
    a_log_that_was_cut_goes_on_behind_the_gap,
);

const NAMES: [&str; 3] = ["key.create", "key.update", "api.update"];

/// Entries by an actor, each with its event and the number of its target.
async fn write(instance: &Instance, workspace_id: &str, role: &str, entries: &[(usize, usize)]) {
    let actor = Actor::system(role);
    let mut mutation = instance.keyrack.change_as(workspace_id, actor).await.unwrap();
    for (name, target) in entries {
        let kind = if target % 2 == 0 { "key" } else { "api" };
        let event = Event::new(NAMES[*name], format!("Did it to {target}"));
        mutation.record(event.on(Target::new(kind, &format!("{kind}_{target}"))));
    }
    mutation.commit().await.unwrap();
}

/// All pages of a search, and how many there were.
async fn pages(instance: &Instance, wanted: &Wanted, limit: usize) -> (Vec<Entry>, usize) {
    let mut connection = instance.keyrack.store().read().await.unwrap();
    let (mut found, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let workspace_id = &instance.workspace_id;
        let (page, next) =
            audit_search::list(&mut connection, workspace_id, &cursor, wanted, limit).await.unwrap();
        assert!(page.len() <= limit);
        found.extend(page);
        pages += 1;
        match next {
            Some(next) => cursor = next,
            None => return (found, pages),
        }
    }
}

async fn a_search_finds_what_a_walk_over_everything_finds(database: Database) {
    let clock = Clock::standing_at(UnixMs::new(1_000_000));
    let instance = database.set_up_at(clock.clone()).await;
    for step in 0..60_usize {
        // Clocks go back now and then, and stand still.
        clock.set(UnixMs::new(1_000_000 + i64::try_from(step * 7919 % 40).unwrap() * 10));
        let entries: Vec<_> = (0..step % 4 + 1).map(|n| ((step + n) % 3, (step * n) % 5)).collect();
        write(&instance, &instance.workspace_id, ["one", "two"][step % 2], &entries).await;
    }
    let mut all = chain(&instance).await;
    all.sort_by_key(|entry| std::cmp::Reverse((entry.time, entry.sequence)));
    let correlated = all.iter().find_map(|entry| entry.correlation_id.clone());
    let text = |text: &str| Some(text.to_owned());
    let any = Wanted::default;
    let events = |count: usize| NAMES[..count].iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    for wanted in [
        any(),
        Wanted { events: events(1), ..any() },
        Wanted {
            events: events(2),
            start: Some(UnixMs::new(1_000_050)),
            end: Some(UnixMs::new(1_000_300)),
            ..any()
        },
        Wanted { events: events(3), actor_id: text("two"), ..any() },
        Wanted { actor_id: text("one"), end: Some(UnixMs::new(1_000_100)), ..any() },
        Wanted { target_id: text("key_2"), ..any() },
        Wanted { target_id: text("key_2"), target_type: text("api"), ..any() },
        Wanted { target_id: text("api_3"), events: events(1), start: Some(UnixMs::new(1_000_100)), ..any() },
        Wanted { target_type: text("api"), ..any() },
        Wanted { correlation_id: correlated.clone(), ..any() },
        Wanted { correlation_id: correlated, actor_id: text("two"), ..any() },
        Wanted { via: text(""), ..any() },
        Wanted { via: text("mcp"), ..any() },
        Wanted { end: Some(UnixMs::new(0)), ..any() },
        Wanted { target_id: text("KEY_2"), ..any() },
    ] {
        let is = |wanted: &Option<String>, text: Option<&str>| wanted.is_none() || wanted.as_deref() == text;
        let due: Vec<&str> = all
            .iter()
            .filter(|entry| {
                let actor: serde_json::Value = serde_json::from_str(&entry.actor).unwrap();
                let targets: Vec<serde_json::Value> = serde_json::from_str(&entry.targets).unwrap();
                (wanted.events.is_empty() || wanted.events.contains(&entry.event))
                    && is(&wanted.actor_id, actor["id"].as_str())
                    && is(&wanted.correlation_id, entry.correlation_id.as_deref())
                    && wanted.via.as_deref().unwrap_or_default().is_empty()
                    && entry.time >= wanted.start.unwrap_or(UnixMs::new(0))
                    && entry.time < wanted.end.unwrap_or(UnixMs::new(i64::MAX))
                    && targets.iter().any(|target| {
                        is(&wanted.target_id, target["id"].as_str())
                            && is(&wanted.target_type, target["type"].as_str())
                    })
            })
            .map(|entry| entry.id.as_str())
            .collect();
        let (found, _) = pages(&instance, &wanted, 7).await;
        let found: Vec<&str> = found.iter().map(|entry| entry.id.as_str()).collect();
        assert_eq!(found, due, "{wanted:?}");
    }
}

async fn a_search_that_matches_little_looks_at_a_bounded_number_of_entries(database: Database) {
    let instance = database.set_up().await;
    for _ in 0..3 {
        write(&instance, &instance.workspace_id, "many", &[(0, 0); 1000]).await;
    }
    write(&instance, &instance.workspace_id, "few", &[(1, 2)]).await;
    let text = |text: &str| Some(text.to_owned());
    for (wanted, entries, turns) in [
        (Wanted { target_id: text("key_2"), ..Wanted::default() }, 1, 1),
        (Wanted { events: vec!["key.update".to_owned()], ..Wanted::default() }, 1, 1),
        (Wanted { actor_id: text("few"), ..Wanted::default() }, 1, 1),
        // 3003 entries, of which each page looks at 999 and the beginning of the next.
        (Wanted { via: text("mcp"), ..Wanted::default() }, 0, 4),
        (Wanted { target_type: text("api"), ..Wanted::default() }, 0, 4),
        (Wanted { target_id: text("key_0"), actor_id: text("few"), ..Wanted::default() }, 0, 4),
    ] {
        let (found, pages) = pages(&instance, &wanted, 100).await;
        assert_eq!((found.len(), pages), (entries, turns), "{wanted:?}");
    }
}

async fn entries_that_are_not_filed_are_filed_at_a_start(database: Database) {
    let instance = database.set_up().await;
    write(&instance, &instance.workspace_id, "test", &[(0, 1), (1, 2), (1, 2)]).await;
    let targets = count(&instance, "audit_targets").await;
    // As a program leaves it that files nothing.
    run(&instance, "DELETE FROM audit_targets").await;
    run(&instance, "UPDATE audit_logs SET actor_id = NULL").await;
    let other = instance.other_process(&database).await;
    assert_eq!(count(&instance, "audit_targets").await, targets);
    for (filter, found) in [(json!({ "targetId": "key_2" }), 2), (json!({ "actorId": "test" }), 3)] {
        let logs = other.run::<ListLogs>(filter).await.unwrap();
        assert_eq!(logs.as_array().map(Vec::len), Some(found), "{logs}");
    }
    assert_eq!(filing::file_all(instance.keyrack.store()).await.unwrap(), 0, "once");
}

async fn run(instance: &Instance, statement: &str) {
    let mut transaction = instance.keyrack.store().write().await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(statement.to_owned())).execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
}

/// A workspace whose log has seven entries.
async fn seven_entries(instance: &Instance) -> String {
    let made = instance.run::<CreateWorkspace>(json!({ "name": "Acme" })).await.unwrap();
    let id = made["workspaceId"].as_str().unwrap().to_owned();
    write(instance, &id, "test", &[(0, 0); 5]).await;
    id
}

async fn check(instance: &Instance, id: &str, expected: Expected) -> Option<Broken> {
    let store = instance.keyrack.store();
    let named = chain::workspaces(store).await.unwrap().into_iter().find(|named| named.workspace_id == id);
    let named = named.unwrap_or_else(|| Named { workspace_id: id.to_owned(), has_row: false });
    chain::verify(store, &named, expected, |_| ()).await.unwrap().broken
}

async fn whatever_is_taken_out_or_put_in_is_noticed(database: Database) {
    let instance = database.set_up().await;
    let copy_of_first = |place: &str| {
        format!(
            "INSERT INTO audit_logs (id, workspace_id, sequence, time, event, description, actor, targets, \
             previous_hash, hash, format) SELECT 'log_' || id, workspace_id, {place}, time, event, description, actor, \
             targets, previous_hash, hash, format FROM audit_logs WHERE workspace_id = $1 AND sequence = 1"
        )
    };
    let of_log = |condition: &str| format!("DELETE FROM audit_logs WHERE workspace_id = $1 AND {condition}");
    let of = |table: &str| format!("DELETE FROM {table} WHERE workspace_id = $1");
    let everything = ["audit_logs", "changes", "root_keys"].map(of);
    let row = "DELETE FROM workspaces WHERE id = $1".to_owned();
    for (statements, broken) in [
        (vec![of_log("sequence > 3")], 4),
        (vec![of_log("sequence = 7")], 7),
        (vec![of_log("sequence = 4")], 5),
        (vec![of_log("sequence = 1")], 2),
        (vec![of("audit_logs")], 1),
        (vec![of("audit_logs"), of("audit_heads")], 1),
        (vec![of("audit_heads")], 8),
        ([everything.to_vec(), vec![row.clone()]].concat(), 1),
        (vec![copy_of_first("-9223372036854775808")], i64::MIN),
        (vec![copy_of_first("0")], 0),
        (vec![copy_of_first("8")], 8),
        (vec!["UPDATE audit_logs SET format = 1 WHERE workspace_id = $1 AND sequence = 2".to_owned()], 2),
        (vec!["UPDATE audit_logs SET format = 3 WHERE workspace_id = $1 AND sequence = 2".to_owned()], 2),
        (vec!["UPDATE audit_logs SET changes = '[]' WHERE workspace_id = $1 AND sequence = 5".to_owned()], 5),
        (vec!["UPDATE audit_heads SET sequence = 6 WHERE workspace_id = $1".to_owned()], 7),
        (vec!["UPDATE audit_heads SET hash = 'another' WHERE workspace_id = $1".to_owned()], 7),
        (vec!["INSERT INTO audit_anchors VALUES ($1, 0, '')".to_owned()], 0),
        (vec!["INSERT INTO audit_anchors VALUES ($1, 7, 'another')".to_owned()], 1),
    ] {
        let id = seven_entries(&instance).await;
        assert_eq!(check(&instance, &id, Expected::new()).await, None);
        for statement in &statements {
            run(&instance, &statement.replace("$1", &format!("'{id}'"))).await;
        }
        let found = check(&instance, &id, Expected::new()).await;
        assert_eq!(found.as_ref().map(|broken| broken.sequence), Some(broken), "{statements:?}: {found:?}");
    }
}

/// Rewrites the log of a workspace from its second entry on, with hashes that fit.
async fn make_anew(instance: &Instance, id: &str) {
    let mut transaction = instance.keyrack.store().write().await.unwrap();
    let entries = audit_logs::after(&mut transaction, id, 0, 100).await.unwrap();
    let mut previous: Option<Link> = None;
    for mut entry in entries {
        if entry.sequence == 2 {
            entry.description = "Nothing happened".to_owned();
        }
        entry.previous_hash = previous.map_or_else(String::new, |(_, hash)| hash);
        entry.hash = entry.computed_hash().unwrap();
        sqlx::query("UPDATE audit_logs SET description = $2, previous_hash = $3, hash = $4 WHERE id = $1")
            .bind(entry.id)
            .bind(entry.description)
            .bind(entry.previous_hash)
            .bind(entry.hash.clone())
            .execute(&mut *transaction)
            .await
            .unwrap();
        previous = Some((entry.sequence, entry.hash));
    }
    audit_logs::note_head(&mut *transaction, id, &previous.unwrap()).await.unwrap();
    transaction.commit().await.unwrap();
}

async fn a_log_made_anew_is_shown_by_a_hash_that_was_kept(database: Database) {
    let instance = database.set_up().await;
    let id = seven_entries(&instance).await;
    let kept = |links: &[Link]| links.iter().cloned().collect::<Expected>();
    let entries =
        audit_logs::after(&mut instance.keyrack.store().read().await.unwrap(), &id, 0, 100).await.unwrap();
    let links: Vec<Link> = entries.into_iter().map(|entry| (entry.sequence, entry.hash)).collect();
    write(&instance, &id, "test", &[(0, 0)]).await;
    assert_eq!(check(&instance, &id, kept(&links)).await, None, "later entries change nothing");
    make_anew(&instance, &id).await;
    assert_eq!(check(&instance, &id, Expected::new()).await, None, "only a hash that was kept can show it");
    assert_eq!(check(&instance, &id, kept(&links[..1])).await, None, "the first entry is what it was");
    for link in &links[1..] {
        let broken = check(&instance, &id, kept(std::slice::from_ref(link))).await;
        assert_eq!(broken.map(|broken| broken.sequence), Some(link.0));
    }
    let gone = check(&instance, &id, kept(&[(9, links[0].1.clone())])).await;
    assert_eq!(gone.map(|broken| broken.sequence), Some(9));
}

/// What is written afterwards does not close the gap.
async fn a_log_that_was_cut_goes_on_behind_the_gap(database: Database) {
    let instance = database.set_up().await;
    let id = seven_entries(&instance).await;
    run(&instance, &format!("DELETE FROM audit_logs WHERE workspace_id = '{id}' AND sequence > 3")).await;
    write(&instance, &id, "test", &[(0, 0)]).await;
    let broken = check(&instance, &id, Expected::new()).await;
    assert_eq!(broken.map(|broken| broken.sequence), Some(8));
}
