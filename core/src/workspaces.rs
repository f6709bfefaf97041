//! Making workspaces.

use std::sync::Arc;

use crate::audit::{Actor, Event, Target};
use crate::changes::{Mutation, Turns, turns};
use crate::error::Error;
use crate::ids::{self, Kind};
use crate::state::State;
use crate::store::subject::Subject;
use crate::store::{Transaction, workspaces};
use crate::turns::Place;

/// Begins a change that adds a workspace and is recorded in its own audit log, in the turn of the workspace `home`.
///
/// # Errors
/// When the store does not answer.
pub(crate) async fn begin_workspace(
    state: &Arc<State>,
    home: &str,
    name: &str,
    actor: Actor,
) -> Result<Mutation, Error> {
    let turns = turns(state, &[home], Place::Line).await?;
    let transaction = state.store.write().await?;
    add_workspace(state, turns, transaction, name, actor).await
}

/// The same in a transaction that was begun, in these turns.
///
/// # Errors
/// When the store does not answer.
pub(crate) async fn add_workspace(
    state: &Arc<State>,
    turns: Turns,
    mut transaction: Transaction,
    name: &str,
    actor: Actor,
) -> Result<Mutation, Error> {
    let id = ids::generate(Kind::Workspace);
    workspaces::insert(&mut transaction, &id, name, state.clock.now()).await?;
    let mut mutation = Mutation::adopt(state, turns, transaction, &id, actor).await?;
    mutation.record(workspace_created(&id, name));
    mutation.touch(Subject::Workspace(id));
    Ok(mutation)
}

/// The audit event of a new workspace.
pub(crate) fn workspace_created(id: &str, name: &str) -> Event {
    let event = Event::new("workspace.create", format!("Created workspace {id}"));
    event.on(Target::new("workspace", id).named(name))
}
