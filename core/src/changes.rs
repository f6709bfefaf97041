//! Mutations: one protocol for locking, audit, invalidation and order.
//!
//! A mutation takes its workspace's row first, which serialises it with every other mutation of the
//! workspace on both engines: what it reads stays true until it commits, so "look, then insert" is
//! safe. In the same transaction it writes what it touched to the change feed and what it did to the
//! audit log. After the commit this process's resident state is brought up to date before the answer
//! is sent; other processes follow the feed.
//!
//! Credit deductions and last-used times do not take part.

pub mod forgetting;

use std::time::Duration;

use crate::audit::{self, Actor, Event};
use crate::caller::Caller;
use crate::credits::calendar::Calendar;
use crate::error::Error;
use crate::keyrack::Keyrack;
use crate::store::{Connection, Transaction, changes, keys, refills, workspaces};

/// How often other processes' changes are looked for.
const POLL: Duration = Duration::from_millis(250);

/// A thing that a mutation touched.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each variant holds the id of the thing it names")]
pub enum Subject {
    Api(String),
    Identity(String),
    Key(String),
    KeyMigration(String),
    Namespace(String),
    Permission(String),
    Role(String),
    RootKey(String),
    Workspace(String),
}

impl Subject {
    /// From what is stored; `None` for a kind that this program does not know.
    pub(crate) fn new(kind: &str, id: String) -> Option<Subject> {
        Some(match kind {
            "api" => Subject::Api(id),
            "identity" => Subject::Identity(id),
            "key" => Subject::Key(id),
            "keyMigration" => Subject::KeyMigration(id),
            "namespace" => Subject::Namespace(id),
            "permission" => Subject::Permission(id),
            "role" => Subject::Role(id),
            "rootKey" => Subject::RootKey(id),
            "workspace" => Subject::Workspace(id),
            _ => return None,
        })
    }

    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Subject::Api(_) => "api",
            Subject::Identity(_) => "identity",
            Subject::Key(_) => "key",
            Subject::KeyMigration(_) => "keyMigration",
            Subject::Namespace(_) => "namespace",
            Subject::Permission(_) => "permission",
            Subject::Role(_) => "role",
            Subject::RootKey(_) => "rootKey",
            Subject::Workspace(_) => "workspace",
        }
    }

    pub(crate) fn id(&self) -> &str {
        match self {
            Subject::Api(id)
            | Subject::Identity(id)
            | Subject::Key(id)
            | Subject::KeyMigration(id)
            | Subject::Namespace(id)
            | Subject::Permission(id)
            | Subject::Role(id)
            | Subject::RootKey(id)
            | Subject::Workspace(id) => id,
        }
    }
}

/// A change in progress. Dropped without [`Mutation::commit`], it leaves nothing.
#[derive(Debug)]
pub struct Mutation {
    keyrack: Keyrack,
    transaction: Transaction,
    workspace_id: String,
    generation: i64,
    now: i64,
    actor: Actor,
    subjects: Vec<Subject>,
    events: Vec<Event>,
    correlated: bool,
}

impl Mutation {
    /// Begins a change of the caller's workspace.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn begin(keyrack: &Keyrack, caller: &Caller) -> Result<Mutation, Error> {
        Mutation::begin_as(keyrack, caller.workspace_id(), Actor::of(caller)).await
    }

    /// Begins a change of a workspace by someone who is no caller, such as the program itself.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn begin_as(keyrack: &Keyrack, workspace_id: &str, actor: Actor) -> Result<Mutation, Error> {
        let transaction = keyrack.store().write().await?;
        Mutation::adopt(keyrack, transaction, workspace_id, actor).await
    }

    /// Makes a transaction that has done something already a change of a workspace.
    pub(crate) async fn adopt(
        keyrack: &Keyrack,
        mut transaction: Transaction,
        workspace_id: &str,
        actor: Actor,
    ) -> Result<Mutation, Error> {
        let generation = workspaces::next_generation(&mut transaction, workspace_id).await?;
        Ok(Mutation {
            keyrack: keyrack.clone(),
            transaction,
            workspace_id: workspace_id.to_owned(),
            generation,
            now: keyrack.clock().now(),
            actor,
            subjects: Vec::new(),
            events: Vec::new(),
            correlated: false,
        })
    }

    /// The transaction, for queries.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.transaction
    }

    /// The workspace that is changed.
    pub fn workspace_id(&self) -> &str {
        &self.workspace_id
    }

    /// Unix ms, the same for all that this change writes.
    pub fn now(&self) -> i64 {
        self.now
    }

    /// The UTC day of this change, for refills.
    pub fn calendar(&self) -> Calendar {
        Calendar::at(self.now)
    }

    /// Settles the refill of a key if it is due, so that what is done to its balance next comes after it.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn settle_refill(&mut self, key_id: &str) -> Result<(), Error> {
        let calendar = self.calendar();
        refills::settle_key(&mut self.transaction, &self.workspace_id, key_id, calendar).await
    }

    /// Notes what was touched, so that no cache keeps an older state of it.
    pub fn touch(&mut self, subject: Subject) {
        self.subjects.push(subject);
    }

    /// Notes every key as touched that has the role, or holds the permission, with this id: for what is
    /// about to be taken from them, since afterwards nothing tells which keys those were.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn touch_keys_holding(&mut self, id: &str) -> Result<(), Error> {
        let keys = keys::ids_holding(&mut self.transaction, id).await?;
        self.subjects.extend(keys.into_iter().map(Subject::Key));
        Ok(())
    }

    /// Notes what was done, for the audit log, in order.
    pub fn record(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Gives the events a correlation id even if there is only one.
    pub fn correlate(&mut self) {
        self.correlated = true;
    }

    /// Makes the change durable and brings this process's resident state up to date with it.
    ///
    /// # Errors
    /// When the store does not answer: nothing was changed then, unless the error says that this is not known.
    pub async fn commit(mut self) -> Result<(), Error> {
        let (workspace_id, generation) = (&self.workspace_id, self.generation);
        changes::insert(&mut self.transaction, workspace_id, generation, self.now, &self.subjects).await?;
        audit::append(
            &mut self.transaction,
            &self.workspace_id,
            self.now,
            &self.actor,
            self.events,
            self.correlated,
        )
        .await?;
        let outcome = self.transaction.commit().await;
        // Read back even what may have failed: the database knows.
        self.keyrack.changed_here(&self.workspace_id, self.generation, &self.subjects).await;
        outcome
    }
}

/// Follows the changes of other processes on the same database until the program ends.
pub async fn follow(keyrack: Keyrack) {
    let mut ticks = tokio::time::interval(POLL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        ticks.tick().await;
        match keyrack.catch_up().await {
            Ok(()) if failing => {
                tracing::info!("following the changes of other processes again");
                failing = false;
            }
            Ok(()) => {}
            // The program stops.
            Err(_) if keyrack.store().is_closed() => return,
            Err(error) => {
                keyrack.metrics().change_feed_failures.add(1);
                if !failing {
                    tracing::warn!(%error, "the changes of other processes cannot be read; trying again");
                }
                failing = true;
            }
        }
    }
}
