//! Agreement of people to calls that destroy, cut off or hand out power, before they are acted on.
//!
//! A question is put either to whoever talks to an assistant, or held for somebody at the operator's terminal. Either is a
//! row that is good for one call: of one root key, with the same arguments, while what the person was shown is still so.
//! It is acted on once, because one change of its state is. Nothing is signed: whoever may write the table may do anything.
//!
//! What is given to an assistant is random, and only its digest is stored. It is no proof that anybody was asked: a model can
//! call again by itself. Forms that clients show, and approvals at a terminal, are.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::audit::{Actor, Event, Target};
use crate::calendar::{HOUR_MS, MINUTE_MS, UnixMs};
use crate::catalogue::{Fact, Question};
use crate::ids::{self, Kind};
use crate::keys::secret;
use crate::store::Transaction;
use crate::store::confirmations::{self, Confirmation, State};
use crate::{Caller, Code, Error, Keyrack, printable};

/// How long a question to whoever talks to the assistant can be answered, in ms.
pub const ASKED_MS: i64 = 5 * MINUTE_MS;
/// How long one that is held can be, and how long what was approved is good, in ms.
pub const HELD_MS: i64 = 24 * HOUR_MS;
/// Questions of a workspace that wait for an answer.
const MOST_WAITING: i64 = 500;
/// The same of one root key.
const MOST_OF_ROOT_KEY: i64 = 50;
/// Approvals that are shown.
pub const MOST_SHOWN: i64 = 200;
/// What begins the text that is given to an assistant.
const PREFIX: &str = "ask";

/// A call that somebody is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// Who calls.
    pub caller: &'a Caller,
    /// `keys.deleteKey`
    pub operation: &'static str,
    /// Its request.
    pub request: &'a Value,
    /// What is asked, made of what is stored now.
    pub question: &'a Question,
}

/// Why an agreement does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Void {
    /// It was given to nobody.
    Unknown,
    /// Its time is over.
    Over,
    /// It was acted on.
    Spent,
    /// It is for another call, or another caller's.
    OtherCall,
    /// What the person was shown is not so any more.
    Changed,
}

/// What became of a question that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// Somebody agreed, to this one call.
    Approved,
    /// It waits, under this id.
    Waiting(String),
    /// Somebody did not agree.
    Refused,
}

impl Call<'_> {
    /// A digest of its arguments, in whatever order they came.
    pub fn arguments(&self) -> String {
        let mut arguments = Sha256::new();
        digest(&mut arguments, self.request);
        written(arguments)
    }

    /// A digest of what a person is shown that must not change before it is acted on.
    pub fn target(&self) -> String {
        target(self.question)
    }

    fn row(&self, id: String, state: State, now: UnixMs) -> Confirmation {
        let expires_at = now.plus(if state == State::Asked { ASKED_MS } else { HELD_MS });
        Confirmation {
            id,
            workspace_id: self.caller.workspace_id().to_owned(),
            root_key_id: self.caller.principal().id().to_owned(),
            operation: self.operation.to_owned(),
            arguments: self.arguments(),
            target: self.target(),
            question: (state == State::Held).then(|| shown(self.question, self.request)),
            state,
            created_at: now,
            expires_at,
        }
    }
}

/// Notes that somebody who talks to the assistant is asked: the text that, sent with the same call, says that they agreed.
///
/// # Errors
/// When too many questions of the workspace wait, or the store does not answer.
pub async fn ask(keyrack: &Keyrack, call: &Call<'_>) -> Result<String, Error> {
    let token = secret::generate_key(Some(PREFIX), 16).map_err(Error::unexpected)?;
    let id = token.hash.to_base64();
    let now = keyrack.clock().now();
    let mut transaction = keyrack.store().write().await?;
    insert(&mut transaction, &call.row(id, State::Asked, now)).await?;
    transaction.commit().await?;
    Ok(token.secret.expose().to_owned())
}

async fn insert(transaction: &mut Transaction, row: &Confirmation) -> Result<(), Error> {
    let (of_workspace, of_root_key) = confirmations::waiting(transaction, row).await?;
    if of_workspace >= MOST_WAITING || of_root_key >= MOST_OF_ROOT_KEY {
        let detail = "Too many questions of this root key or workspace wait for an answer; nothing was done.";
        return Err(Error::new(Code::WorkspaceRateLimited, detail).retry_after(60));
    }
    confirmations::insert(transaction, row).await
}

/// Acts on an agreement, which does not count once more.
///
/// # Errors
/// When the store does not answer. That it does not count is an answer.
pub async fn agree(keyrack: &Keyrack, call: &Call<'_>, token: &str) -> Result<Result<(), Void>, Error> {
    let now = keyrack.clock().now();
    let id = secret::hash(token).to_base64();
    let mut transaction = keyrack.store().write().await?;
    let Some(found) = confirmations::find(&mut transaction, &id).await? else { return Ok(Err(Void::Unknown)) };
    let expected = call.row(id, State::Asked, now);
    let is_same = (&found.workspace_id, &found.root_key_id, &found.operation, &found.arguments)
        == (&expected.workspace_id, &expected.root_key_id, &expected.operation, &expected.arguments);
    let void = match found.state {
        _ if !is_same => Some(Void::OtherCall),
        State::Asked if found.expires_at < now => Some(Void::Over),
        State::Asked if found.target != expected.target => Some(Void::Changed),
        State::Asked => None,
        State::Held | State::Approved | State::Refused | State::Spent => Some(Void::Spent),
    };
    if let Some(void) = void {
        return Ok(Err(void));
    }
    let turned = confirmations::turn(&mut transaction, &found.id, (State::Asked, State::Spent), found.expires_at);
    if !turned.await? {
        return Ok(Err(Void::Spent));
    }
    transaction.commit().await?;
    Ok(Ok(()))
}

/// Holds a call for somebody at the terminal, or says what they decided. An approval that is said does not count once
/// more.
///
/// # Errors
/// As [`ask`].
pub async fn hold(keyrack: &Keyrack, call: &Call<'_>) -> Result<Held, Error> {
    let now = keyrack.clock().now();
    let new = call.row(ids::generate(Kind::Approval), State::Held, now);
    let mut transaction = keyrack.store().write().await?;
    let found = confirmations::approval_of(&mut transaction, &new, now).await?;
    let held = match found.map(|found| (found.state, found)) {
        Some((State::Approved, found)) => {
            let turn = (State::Approved, State::Spent);
            if confirmations::turn(&mut transaction, &found.id, turn, found.expires_at).await? {
                transaction.commit().await?;
                return Ok(Held::Approved);
            }
            None
        }
        Some((State::Refused, _)) => Some(Held::Refused),
        Some((State::Held, found)) => Some(Held::Waiting(found.id)),
        _ => None,
    };
    match held {
        Some(held) => Ok(held),
        None => {
            insert(&mut transaction, &new).await?;
            transaction.commit().await?;
            Ok(Held::Waiting(new.id))
        }
    }
}

/// The approvals of all workspaces that wait or were decided, the newest first.
///
/// # Errors
/// When the store does not answer.
pub async fn approvals(keyrack: &Keyrack) -> Result<Vec<Confirmation>, Error> {
    let mut connection = keyrack.store().read().await?;
    confirmations::approvals(&mut connection, keyrack.clock().now(), MOST_SHOWN).await
}

/// Decides about a call that is held: what it was, `None` when none with this id waits.
///
/// # Errors
/// When the store does not answer.
pub async fn decide(keyrack: &Keyrack, id: &str, is_approved: bool) -> Result<Option<Confirmation>, Error> {
    let now = keyrack.clock().now();
    let (to, event, decided) = match is_approved {
        true => (State::Approved, "approval.approve", "Approved"),
        false => (State::Refused, "approval.refuse", "Refused"),
    };
    let found = confirmations::find(&mut *keyrack.store().read().await?, id).await?;
    let Some(found) = found.filter(|found| found.state == State::Held && found.expires_at >= now) else {
        return Ok(None);
    };
    let mut mutation = keyrack.change_as(&found.workspace_id, Actor::system("command line")).await?;
    let turned = confirmations::turn(mutation.connection(), id, (State::Held, to), now.plus(HELD_MS)).await?;
    if !turned {
        return Ok(None);
    }
    let description = format!("{decided} one call of {} by root key {}", found.operation, found.root_key_id);
    let event = Event::new(event, description).on(Target::new("approval", &found.id));
    mutation.record(event.on(Target::new("rootKey", &found.root_key_id)));
    mutation.commit().await?;
    Ok(Some(Confirmation { state: to, ..found }))
}

/// Adds a value to a digest, the members of objects in the order of their names: in which order they came says nothing.
fn digest(hasher: &mut Sha256, value: &Value) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            hasher.update(b"{");
            for (name, member) in members {
                part(hasher, name.as_bytes());
                digest(hasher, member);
            }
            hasher.update(b"}");
        }
        Value::Array(items) => {
            hasher.update(b"[");
            items.iter().for_each(|item| digest(hasher, item));
            hasher.update(b"]");
        }
        Value::String(text) => {
            hasher.update(b"s");
            part(hasher, text.as_bytes());
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            hasher.update(b"v");
            part(hasher, value.to_string().as_bytes());
        }
    }
}

fn part(hasher: &mut Sha256, bytes: &[u8]) {
    hasher.update((bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

fn written(hasher: Sha256) -> String {
    let bytes: [u8; 32] = hasher.finalize().into();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A digest of what a person is shown that must not change before it is acted on. A number counts by its size: that a key
/// more was made changes nothing, that there are a hundred does. When something was used last does not count.
fn target(question: &Question) -> String {
    let mut hasher = Sha256::new();
    question.consequences.iter().for_each(|consequence| part(&mut hasher, consequence.as_bytes()));
    part(&mut hasher, question.typed.as_deref().unwrap_or_default().as_bytes());
    for (name, fact) in &question.facts {
        let fact = match fact {
            Fact::Text(text) => text.clone(),
            Fact::Count(count) | Fact::AtLeast(count) => (64 - count.leading_zeros()).to_string(),
            Fact::Time(_) => continue,
        };
        part(&mut hasher, name.as_bytes());
        part(&mut hasher, fact.as_bytes());
    }
    written(hasher)
}

/// A question in lines, as whoever decides reads it: what will happen, what to, and which members the request has besides.
/// What is stored is on one line each, in which it can do nothing.
pub fn shown(question: &Question, request: &Value) -> String {
    let mut lines: Vec<String> = question.consequences.iter().map(|&consequence| consequence.to_owned()).collect();
    lines.extend(question.facts.iter().map(|(name, fact)| {
        let fact = match fact {
            Fact::Text(text) => text.clone(),
            Fact::Count(count) => count.to_string(),
            Fact::AtLeast(count) => format!("{count} or more"),
            Fact::Time(time) => time.rfc3339(),
        };
        format!("{name}: {}", printable::line(&fact))
    }));
    let members: Vec<&str> = request.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    lines.push(format!("the request has: {}", printable::line(&members.join(", "))));
    lines.join("\n")
}
