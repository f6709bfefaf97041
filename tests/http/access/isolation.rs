//! Workspaces know nothing of each other: whatever takes an id, a name or a slug answers for another workspace's
//! thing byte for byte as for a thing that does not exist. The requests are those of the scenes, with every reference of
//! theirs replaced in turn.

use std::collections::BTreeSet;

use keyrack_test_harness::{
    Database, Dump, Kind, Name, Reference, Scene, Server, listing_operations, operations, scene, scene_in,
};
use serde_json::{Value, json};

use super::things::Things;
use crate::fixture::{new_workspace, verify};
use crate::keyrack;

/// Members of requests that name things.
const REFERENCES: [&str; 21] = [
    "actorId",
    "apiId",
    "as",
    "externalId",
    "hash",
    "identity",
    "key",
    "keyId",
    "keys",
    "keyspaces",
    "logId",
    "migrationId",
    "namespace",
    "permission",
    "permissions",
    "role",
    "roleId",
    "roles",
    "slug",
    "targetId",
    "workspaceId",
];

/// What naming in another workspace cannot be tried with here: (operation, place, why).
const EXCEPTIONS: [(&str, &str, &str); 1] =
    [("keys.migrateKeys", "/keys/hash", "it belongs to one key of the instance, and who knows it knows that key")];

/// Operations whose members only choose among the events that the caller may see; the tests of analytics ask for those of
/// another workspace.
const CHOOSING: &str = "analytics.";

/// References that are replaced together too: (operation, places, why).
const TOGETHER: [(&str, [&str; 2], &str); 4] = [
    ("keys.verifyKey", ["/key", "/migrationId"], "the migration is looked at for keys that are not known"),
    ("permissions.createRole", ["/name", "/permissions/0"], "both may be new"),
    ("permissions.updatePermission", ["/permission", "/slug"], "a permission may be given the name that it has"),
    ("rootKeys.updateKey", ["/keyId", "/permissions/0"], "a root key may be granted what is of its own workspace"),
];

/// What of a request is replaced: a reference, by a name of this form.
type Replaced = Vec<(Reference, Name)>;

/// Every reference alone in all ways in which its kind can be named, and some of them together.
fn cases(operation: &str, refers: &[Reference]) -> Vec<Replaced> {
    let named = |reference: &Reference| -> Vec<(Reference, Name)> {
        reference.kind.names().iter().map(|name| (*reference, *name)).collect()
    };
    let at = |place: &str| {
        let reference = refers.iter().find(|reference| reference.at == place);
        named(reference.unwrap_or_else(|| panic!("{operation} has no reference at {place}")))
    };
    let mut all: Vec<Replaced> = refers.iter().flat_map(named).map(|one| vec![one]).collect();
    for (_, [one, other], _) in TOGETHER.iter().filter(|(of, ..)| *of == operation) {
        for first in at(one) {
            all.extend(at(other).into_iter().map(|second| vec![first, second]));
        }
    }
    all
}

fn body_of(scene: &Scene, replaced: &[(Reference, Name)], things: &Things) -> Value {
    let mut body = scene.body.clone();
    for (reference, name) in replaced {
        reference.put(&mut body, things.name(reference.kind, *name));
    }
    body
}

/// What a workspace that has just been made answers, without what differs from call to call: the request id,
/// its own names, the names that were sent, and in successes what is generated.
async fn answer_of_a_new_workspace(
    server: &Server,
    operation: &str,
    replaced: &[(Reference, Name)],
    things: &Things,
) -> (u16, String) {
    let (_, client) = new_workspace(server, "asking").await;
    let scene = scene_in(server, &client, operation).await;
    let answer = client.call(operation, body_of(&scene, replaced, things)).await;
    let mut text = answer.text.replace(answer.request_id(), "<request>");
    for name in things.all() {
        text = text.replace(name, "<sent>");
    }
    let mut own = texts(&scene.body);
    // What is shorter than an id is no name, but a word that answers may have.
    own.retain(|text| text.len() >= LEAST_LETTERS);
    for name in scene.ids.values().map(String::as_str).chain(own) {
        text = text.replace(name, "<own>");
    }
    let text = if answer.status == 200 { without_generated(&text) } else { text };
    (answer.status, text)
}

fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(members) => members.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

/// No word of an answer is as long as what is generated.
const LEAST_LETTERS: usize = 16;

/// Ids, secrets and times are runs of letters and digits that no word of an answer is as long as.
fn without_generated(text: &str) -> String {
    let is_generated = |run: &str| {
        let is_number = run.chars().all(|letter| letter.is_ascii_digit());
        run.len() >= if is_number { 10 } else { LEAST_LETTERS }
    };
    let mut kept = String::new();
    for part in text.split_inclusive(|letter: char| !letter.is_ascii_alphanumeric()) {
        let run = part.trim_end_matches(|letter: char| !letter.is_ascii_alphanumeric());
        kept.push_str(if is_generated(run) { "*" } else { run });
        kept.push_str(&part[run.len()..]);
    }
    kept
}

/// The rows that belong to a workspace, each after its table: those that say so, and those that say of no workspace and
/// have one of its ids.
fn rows_of(dump: &Dump, workspace: &str, things: &Things) -> BTreeSet<String> {
    let quoted = |id: &str| format!("\"{id}\"");
    let (workspace, ids) = (quoted(workspace), things.ids().map(quoted).collect::<Vec<_>>());
    let belongs = |row: &String| {
        let names_one = row.contains("\"ws_");
        if names_one { row.contains(&workspace) } else { ids.iter().any(|id| row.contains(id)) }
    };
    let rows = |(table, rows): (&String, &Vec<String>)| -> Vec<String> {
        rows.iter().filter(|row| belongs(row)).map(|row| format!("{table} {row}")).collect()
    };
    dump.iter().flat_map(rows).collect()
}

/// What differs when an operation is asked about another workspace's things and about unknown ones.
async fn differences(server: &Server, operation: &str, others: &Things, nothing: &Things) -> Vec<String> {
    let Scene { refers, .. } = scene(server, operation).await;
    let mut differences = Vec::new();
    for replaced in cases(operation, &refers) {
        let (foreign, unknown) = tokio::join!(
            answer_of_a_new_workspace(server, operation, &replaced, others),
            answer_of_a_new_workspace(server, operation, &replaced, nothing),
        );
        // A refusal of what is in no right form, or of the one who asks, would tell nothing.
        let is_grant = replaced.iter().any(|(reference, _)| reference.kind == Kind::Grant);
        let is_of_operators = operation.starts_with("workspace.");
        let says_nothing = (foreign.0 == 400 && !is_grant) || (foreign.0 == 403 && !is_of_operators);
        if foreign != unknown || says_nothing {
            differences.push(format!("{operation} {replaced:?}\n  foreign {foreign:?}\n  unknown {unknown:?}"));
        }
    }
    differences
}

/// Asks every operation of these about another workspace's things.
async fn another_workspaces_things_are_unknown_to(is_chosen: fn(&str) -> bool) {
    let server = keyrack().await;
    let (workspace, client) = new_workspace(&server, "the other").await;
    let others = Things::made(&server, &client, workspace.clone()).await;
    let nothing = others.unknown();
    let mut database = Database::of(&server).await;
    let before = rows_of(&database.dump().await, &workspace, &others);
    assert!(before.len() > 20, "hardly anything can change: {before:?}");
    let mut faults = Vec::new();
    for operation in operations(&server).await.into_iter().filter(|operation| is_chosen(operation)) {
        faults.extend(differences(&server, operation, &others, &nothing).await);
        let after = rows_of(&database.dump().await, &workspace, &others);
        let changed: Vec<&String> = before.symmetric_difference(&after).collect();
        if !changed.is_empty() {
            faults.push(format!("{operation} changes another workspace: {changed:#?}"));
            break;
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert_eq!(verify(&client, &others.key(), json!({})).await["code"], "VALID");
}

#[tokio::test]
async fn another_workspaces_thing_is_a_thing_that_does_not_exist_for_operations_on_keys() {
    another_workspaces_things_are_unknown_to(|operation| operation.starts_with("keys.")).await;
}

#[tokio::test]
async fn another_workspaces_thing_is_a_thing_that_does_not_exist_for_all_other_operations() {
    another_workspaces_things_are_unknown_to(|operation| !operation.starts_with("keys.")).await;
}

/// The places of all members that a request can have. The numbers of lists are left out.
fn places(schema: &Value, at: &str) -> Vec<String> {
    let mut found = Vec::new();
    if schema["items"].is_object() {
        found.extend(places(&schema["items"], at));
    }
    for way in ["allOf", "anyOf", "oneOf"].iter().filter_map(|way| schema[way].as_array()).flatten() {
        found.extend(places(way, at));
    }
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        let at = format!("{at}/{name}");
        found.extend(places(member, &at));
        found.push(at);
    }
    found
}

fn without_numbers(pointer: &str) -> String {
    let steps = pointer.split('/').filter(|step| step.is_empty() || step.parse::<usize>().is_err());
    steps.collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn every_operation_that_names_a_thing_is_tried() {
    let server = keyrack().await;
    let document = server.get("/openapi.json").await.expect(200).body;
    let (mut missing, mut known) = (Vec::new(), 0);
    for operation in operations(&server).await {
        let described = &document["paths"][format!("/v2/{operation}")]["post"];
        let schema = &described["requestBody"]["content"]["application/json"]["schema"];
        assert!(
            !schema.to_string().contains("\"$ref\""),
            "{operation} refers to a schema that is not looked into"
        );
        let Scene { refers, .. } = scene(&server, operation).await;
        let tried: Vec<String> = refers.iter().map(|reference| without_numbers(reference.at)).collect();
        for place in places(schema, "") {
            let member = place.rsplit('/').next().unwrap_or_default();
            let is_tried = tried.iter().any(|tried| tried == &place || tried.starts_with(&format!("{place}/")));
            let is_excepted = EXCEPTIONS.iter().any(|(of, at, _)| (*of, *at) == (operation, place.as_str()))
                || operation.starts_with(CHOOSING);
            if REFERENCES.contains(&member) && !is_tried && !is_excepted {
                missing.push(format!("{operation} {place}"));
            }
            known += usize::from(REFERENCES.contains(&member));
        }
    }
    assert!(missing.is_empty(), "not tried with another workspace's: {missing:?}");
    assert!(known > 60, "only {known} members that name things were found");
}

#[tokio::test]
async fn lists_show_nothing_of_another_workspace() {
    let server = keyrack().await;
    let (workspace, client) = new_workspace(&server, "the other").await;
    let others = Things::made(&server, &client, workspace).await;
    let (_, client) = new_workspace(&server, "asking").await;
    for operation in listing_operations(&server).await {
        let mut body = scene_in(&server, &client, operation).await.body;
        // Operators administer all workspaces; this root key is none.
        if operation == "workspace.listWorkspaces" {
            client.call(operation, body).await.expect(403);
            continue;
        }
        for part in ["cursor", "limit"] {
            body.as_object_mut().expect("an object").remove(part);
        }
        let listed = client.call(operation, body).await.expect(200);
        assert!(listed.data().as_array().is_some_and(|items| !items.is_empty()), "{operation} shows nothing");
        for name in others.all() {
            assert!(!listed.text.contains(name), "{operation} shows the other's {name}: {}", listed.text);
        }
    }
}
