//! Mutations: one protocol for locking, audit, invalidation and order.
//!
//! A mutation takes its workspace's row first, which serialises it with every other mutation of the
//! workspace on both engines: what it reads stays true until it commits, so "look, then insert" is
//! safe. Then it looks whether the caller still may: a root key that was revoked while a request was on its
//! way changes nothing any more. In the same transaction it writes what it touched to the change feed and what
//! it did to the audit log. After the commit this process's memory is brought up to date before the answer is
//! sent: by what the change made, or in the way in which it learns of the changes of others, from the feed (see
//! `state.rs`).
//!
//! Credit deductions and last-used times do not take part.

pub mod forgetting;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument as _;

use crate::audit::{Actor, Event, Record};
use crate::calendar::{Calendar, UnixMs};
use crate::caller::Caller;
use crate::error::{Code, Error, OrNotFound as _};
use crate::ids::{self, Kind};
use crate::resident::Made;
use crate::standing::check_standing;
use crate::state::State;
use crate::store::audit_logs::{self, Link};
use crate::store::holdings::Holdings;
use crate::store::identities::Identity;
use crate::store::rows::Rows;
use crate::store::subject::Subject;
use crate::store::{Connection, Transaction, changes, keys, refills, root_keys, workspaces};
use crate::turns::{Crowded, Place, Taken};

/// How long a commit may take. What the database does not confirm until then it may still do.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(15);

/// The turns to change workspaces in this process; they end when this is dropped.
pub(crate) type Turns = Vec<Taken<()>>;

/// Takes the turns of these workspaces: whoever waits for their locks in the database without them holds a connection
/// meanwhile.
///
/// # Errors
/// 503 when as many wait as may, or when it takes too long.
pub(crate) async fn turns(state: &State, workspace_ids: &[&str], place: Place) -> Result<Turns, Error> {
    // In one order, and each once: nobody waits in a circle, nor for themselves.
    let workspace_ids: BTreeSet<&str> = workspace_ids.iter().copied().collect();
    let taking = async {
        let mut turns = Turns::new();
        for workspace_id in workspace_ids {
            turns.push(state.following.of(workspace_id).turns.take(place).await?);
        }
        Ok(turns)
    };
    let taken = tokio::time::timeout(state.store.longest_turn(), taking).await;
    match taken {
        Ok(Ok(turns)) => Ok(turns),
        Ok(Err(Crowded)) => Err(Error::database_unavailable("too many changes of this workspace wait already")),
        Err(_) => Err(Error::database_unavailable("changes of this workspace waited for each other for too long")),
    }
}

/// A change in progress. Dropped without [`Mutation::commit`], it leaves nothing.
#[derive(Debug)]
pub struct Mutation {
    state: Arc<State>,
    // Before the turn: fields are dropped in order.
    transaction: Transaction,
    _turn: Turns,
    workspace_id: String,
    generation: i64,
    now: UnixMs,
    actor: Actor,
    subjects: Vec<Subject>,
    /// What it made, while that is all that memory has to learn.
    made: Option<Made>,
    events: Vec<Event>,
    correlation_id: Option<String>,
    /// Where its first entry in the audit log follows, once that was read.
    head: Option<Option<Link>>,
    /// What goes into the database with the commit.
    rows: Rows,
}

impl Mutation {
    /// Begins a change of the caller's workspace.
    ///
    /// # Errors
    /// When the store does not answer, or the caller may not do by now what it could when it was let in.
    pub async fn begin(state: &Arc<State>, caller: &Caller) -> Result<Mutation, Error> {
        Mutation::begin_in(state, caller, caller.workspace_id()).await
    }

    /// The same before all changes that wait in the line: for what ends somebody's access, which those in the line must
    /// not put off.
    ///
    /// # Errors
    /// As [`Mutation::begin`].
    pub async fn begin_first(state: &Arc<State>, caller: &Caller) -> Result<Mutation, Error> {
        Mutation::begin_at(state, caller, Place::First).await
    }

    /// Begins a change of any workspace by a caller who may.
    ///
    /// # Errors
    /// As [`Mutation::begin`].
    pub async fn begin_in(state: &Arc<State>, caller: &Caller, workspace_id: &str) -> Result<Mutation, Error> {
        if caller.workspace_id() != workspace_id {
            let mut mutation = Mutation::begin_as(state, workspace_id, Actor::of(caller)).await?;
            mutation.check_caller(caller).await?;
            return Ok(mutation);
        }
        Mutation::begin_at(state, caller, Place::Line).await
    }

    async fn begin_at(state: &Arc<State>, caller: &Caller, place: Place) -> Result<Mutation, Error> {
        let workspace_id = caller.workspace_id();
        // Whoever leaves keeps no place in the line, nor the memory of what was to be done.
        let turns = caller.unless_gone(turns(state, &[workspace_id], place)).await?;
        let mut transaction = state.store.write().await?;
        let begun = root_keys::begin(&mut transaction, &caller.root_key().id, workspace_id).await?;
        let generation = begun.generation.or_not_found(Code::WorkspaceNotFound)?;
        let mut mutation = Mutation::of(state, turns, transaction, (workspace_id, generation), Actor::of(caller));
        mutation.head = Some(begun.head);
        check_standing(caller, begun.standing, mutation.now)?;
        Ok(mutation)
    }

    /// Begins a change of a workspace by someone who is no caller, such as the program itself.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn begin_as(state: &Arc<State>, workspace_id: &str, actor: Actor) -> Result<Mutation, Error> {
        let turns = turns(state, &[workspace_id], Place::Line).await?;
        let transaction = state.store.write().await?;
        Mutation::adopt(state, turns, transaction, workspace_id, actor).await
    }

    /// Makes a transaction that has done something already a change of a workspace, in the turns of those that it
    /// waits for.
    pub(crate) async fn adopt(
        state: &Arc<State>,
        turns: Turns,
        mut transaction: Transaction,
        workspace_id: &str,
        actor: Actor,
    ) -> Result<Mutation, Error> {
        let generation = workspaces::next_generation(&mut transaction, workspace_id).await?;
        Ok(Mutation::of(state, turns, transaction, (workspace_id, generation), actor))
    }

    /// The change that a generation of a workspace is.
    fn of(
        state: &Arc<State>,
        turns: Turns,
        transaction: Transaction,
        (workspace_id, generation): (&str, i64),
        actor: Actor,
    ) -> Mutation {
        Mutation {
            state: state.clone(),
            transaction,
            _turn: turns,
            workspace_id: workspace_id.to_owned(),
            generation,
            now: state.clock.now(),
            actor,
            subjects: Vec::new(),
            made: Some(Made::default()),
            events: Vec::new(),
            correlation_id: None,
            head: None,
            rows: Rows::default(),
        }
    }

    /// Refuses a caller whose root key was deleted, disabled or narrowed, or whose workspace was disabled, since
    /// it was let in. What is read here stays true until the commit.
    pub(crate) async fn check_caller(&mut self, caller: &Caller) -> Result<(), Error> {
        let id = &caller.root_key().id;
        if caller.workspace_id() != self.workspace_id {
            // The lock that this change holds is not that of those who change the root key.
            root_keys::lock(&mut self.transaction, id).await?;
        }
        let found = root_keys::standing(&mut self.transaction, id, &self.workspace_id).await?;
        self.head = Some(found.head);
        check_standing(caller, found.standing, self.now)
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
    pub fn now(&self) -> UnixMs {
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
        self.made = None;
        self.subjects.push(subject);
    }

    /// Notes what other processes may not know yet, and this one does.
    pub(crate) fn tell_others(&mut self, subject: Subject) {
        self.subjects.push(subject);
    }

    /// Notes a new key and what it holds.
    pub(crate) fn made_key(&mut self, key: keys::Key, holdings: Holdings) {
        self.tell_others(Subject::Key(key.id.clone()));
        if let Some(made) = &mut self.made {
            made.holdings.insert(key.id.clone(), holdings);
            made.keys.push(key);
        }
    }

    /// Notes a new identity, which has no limits yet.
    pub(crate) fn made_identity(&mut self, identity: Identity) {
        self.tell_others(Subject::Identity(identity.id.clone()));
        if let Some(made) = &mut self.made {
            made.identities.push(identity);
        }
    }

    /// Notes every key as touched that has the role, or holds the permission, with this id: for what is
    /// about to be taken from them, since afterwards nothing tells which keys those were.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn touch_keys_holding(&mut self, id: &str) -> Result<(), Error> {
        let keys = keys::ids_holding(&mut self.transaction, id).await?;
        self.made = None;
        self.subjects.extend(keys.into_iter().map(Subject::Key));
        Ok(())
    }

    /// Notes what was done, for the audit log, in order.
    pub fn record(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Gives the events a correlation id even if there is only one.
    pub fn correlate(&mut self) {
        self.correlate_as(ids::generate(Kind::AuditCorrelation));
    }

    /// The same with an id that other changes of one request have too.
    pub(crate) fn correlate_as(&mut self, id: String) {
        self.correlation_id = Some(id);
    }

    /// Has rows added with the commit, before what tells of the change. Queries of this change do not see them before
    /// [`Mutation::add_rows`], which adds them at once.
    pub(crate) fn add_later(&mut self, rows: Rows) {
        self.rows.append(rows);
    }

    /// Adds the rows that wait for the commit.
    ///
    /// # Errors
    /// When the store does not answer or a row must not be.
    pub(crate) async fn add_rows(&mut self) -> Result<(), Error> {
        Ok(std::mem::take(&mut self.rows).add(&mut self.transaction).await?)
    }

    /// Makes the change durable and brings this process's memory up to date with it.
    ///
    /// # Errors
    /// When the store does not answer: nothing was changed then, unless the error says that this is not known.
    pub async fn commit(mut self) -> Result<(), Error> {
        self.add_feed_and_log().await?;
        self.add_rows().await?;
        self.end().await
    }

    /// The same where keys are issued, unless some key has the hash of one of them: `false` then, and nothing was
    /// changed.
    ///
    /// # Errors
    /// As [`Mutation::commit`].
    pub(crate) async fn commit_unless_taken(mut self) -> Result<bool, Error> {
        self.add_feed_and_log().await?;
        match std::mem::take(&mut self.rows).add(&mut self.transaction).await {
            Err(error) if keys::is_taken(&error) => return Ok(false),
            added => added?,
        }
        self.end().await.map(|()| true)
    }

    /// Commits what was written, and has memory follow.
    async fn end(self) -> Result<(), Error> {
        let Mutation { state, transaction, _turn: turn, workspace_id, generation, made, .. } = self;
        // In a task of its own: whoever stops waiting must not come between the commit and memory.
        let committed = tokio::spawn(
            async move {
                let outcome = tokio::time::timeout(COMMIT_TIMEOUT, transaction.commit()).await;
                let outcome = outcome.unwrap_or_else(|late| Err(Error::unknown_outcome(late)));
                drop(turn);
                // Whatever became of it: the database knows.
                let known = made.filter(|_| outcome.is_ok()).map(|made| (generation, made));
                state.follow_own(&workspace_id, known).await;
                outcome
            }
            .in_current_span(),
        );
        committed.await.unwrap_or_else(|panicked| Err(Error::unknown_outcome(panicked)))
    }

    /// Adds to the rows what was touched and what was done.
    async fn add_feed_and_log(&mut self) -> Result<(), Error> {
        let head = match self.head.take() {
            _ if self.events.is_empty() => None,
            Some(head) => head,
            None => audit_logs::head(&mut self.transaction, &self.workspace_id).await?,
        };
        let record = Record {
            workspace_id: &self.workspace_id,
            time: self.now,
            actor: &self.actor,
            events: std::mem::take(&mut self.events),
            correlation_id: self.correlation_id.take(),
        };
        changes::insert(&mut self.rows, &self.workspace_id, self.generation, self.now, &self.subjects).await?;
        record.append(&mut self.rows, head).await
    }
}
