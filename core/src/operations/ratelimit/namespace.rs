//! Namespaces by id or name: created on first use, gone when deleted, unknown in another workspace.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::audit::{Event, Target};
use crate::catalogue::Operation;
use crate::changes::Mutation;
use crate::error::OrNotFound as _;
use crate::ids::{self, Kind};
use crate::ratelimit::override_rules::OverrideRule;
use crate::resident::Namespace;
use crate::store::namespaces;
use crate::store::subject::Subject;
use crate::{Caller, Code, Error, Keyrack};

/// The conditional requirement of operations that create namespaces on first use.
pub(super) const CREATE: &str = "create";

/// These namespaces, in the order of their names, deleted ones included. Missing ones are created, all or
/// none, if `O` lets the caller do so.
pub(super) async fn find_or_create<O: Operation>(
    keyrack: &Keyrack,
    caller: &Caller,
    names: &[&str],
) -> Result<Vec<Arc<Namespace>>, Error> {
    let resident = |name: &str| keyrack.resident().namespace(caller.workspace_id(), name);
    let unseen = || names.iter().copied().filter(|name| resident(name).is_none()).collect::<BTreeSet<&str>>();
    if !unseen().is_empty() {
        let missing = read_unseen(keyrack, caller, unseen()).await?;
        if !missing.is_empty() {
            caller.authorize_also(&O::ABOUT.rule, CREATE, &[])?;
            // A new namespace begins with many calls at once: one of them makes it, the others find it made.
            let making = async {
                let missing: Vec<&str> = missing.into_iter().filter(|name| resident(name).is_none()).collect();
                if missing.is_empty() { Ok(()) } else { create(keyrack, caller, missing).await }
            };
            keyrack.alone(caller, making).await?;
        }
    }
    let found: Option<Vec<_>> = names.iter().map(|name| resident(name)).collect();
    found.ok_or_else(|| Error::unexpected("a namespace was created and is not there"))
}

/// Another process may have made what this one has not seen. Returns what nobody made.
async fn read_unseen<'a>(
    keyrack: &Keyrack,
    caller: &Caller,
    unseen: BTreeSet<&'a str>,
) -> Result<Vec<&'a str>, Error> {
    let mut connection = keyrack.store().read().await?;
    let mut missing = Vec::new();
    let count = unseen.len();
    for name in unseen {
        if namespaces::find(&mut connection, caller.workspace_id(), name).await?.is_none() {
            missing.push(name);
        }
    }
    drop(connection);
    if missing.len() < count {
        keyrack.follow(caller.workspace_id()).await?;
    }
    Ok(missing)
}

async fn create(keyrack: &Keyrack, caller: &Caller, names: Vec<&str>) -> Result<(), Error> {
    let mut mutation = keyrack.change(caller).await?;
    let mut is_changed = false;
    for name in names {
        // A parallel request may have been first.
        if namespaces::find(mutation.connection(), caller.workspace_id(), name).await?.is_some() {
            continue;
        }
        insert(&mut mutation, name).await?;
        is_changed = true;
    }
    if is_changed {
        // Memory then has what others made, too.
        return mutation.commit().await;
    }
    drop(mutation);
    keyrack.follow(caller.workspace_id()).await
}

/// Adds a namespace whose name is free, and returns its id.
pub(super) async fn insert(mutation: &mut Mutation, name: &str) -> Result<String, Error> {
    let namespace = namespaces::Namespace {
        id: ids::generate(Kind::RatelimitNamespace),
        workspace_id: mutation.workspace_id().to_owned(),
        name: name.to_owned(),
        deleted: false,
    };
    let now = mutation.now();
    namespaces::insert(mutation.connection(), &namespace, now).await?;
    let text = format!("Created rate-limit namespace {}", namespace.id);
    mutation.record(Event::new("ratelimitNamespace.create", text).on(target(&namespace)));
    mutation.touch(Subject::Namespace(namespace.id.clone()));
    Ok(namespace.id)
}

/// A namespace as a target of audit events.
pub(super) fn target(namespace: &namespaces::Namespace) -> Target {
    Target::new("ratelimitNamespace", &namespace.id).named(&namespace.name)
}

/// What the audit log says of an override.
pub(super) fn rule_facts(rule: &OverrideRule) -> Value {
    json!({ "limit": rule.limit, "duration": rule.duration_ms })
}

/// Refuses limits in a deleted namespace.
pub(super) fn not_gone(namespace: &Namespace) -> Result<(), Error> {
    if namespace.stored.deleted {
        return Err(Error::new(
            Code::RatelimitNamespaceGone,
            "The namespace was deleted, and its name stays reserved. `ratelimit.createNamespace` with its name revives it.",
        ));
    }
    Ok(())
}

/// A live namespace by id or name, wherever it was made or revived.
pub(super) async fn find_live(keyrack: &Keyrack, caller: &Caller, name: &str) -> Result<Arc<Namespace>, Error> {
    let resident = || keyrack.resident().namespace(caller.workspace_id(), name);
    let live = || resident().filter(|namespace| !namespace.stored.deleted);
    if let Some(namespace) = live() {
        return Ok(namespace);
    }
    read_unseen(keyrack, caller, BTreeSet::from([name])).await?;
    live().or_not_found(Code::RatelimitNamespaceNotFound)
}

/// A change within a namespace that nobody deletes meanwhile.
pub(super) async fn begin_change(
    keyrack: &Keyrack,
    caller: &Caller,
    namespace: &Namespace,
) -> Result<Mutation, Error> {
    let mut mutation = keyrack.change(caller).await?;
    let id = &namespace.stored.id;
    let found = namespaces::find(mutation.connection(), caller.workspace_id(), id).await?;
    match found {
        Some(stored) if !stored.deleted => Ok(mutation),
        _ => Err(Error::not_found(Code::RatelimitNamespaceNotFound)),
    }
}
