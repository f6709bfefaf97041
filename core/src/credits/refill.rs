//! Refills: a balance below its amount becomes the amount, at 00:00 UTC of the days that are due.
//!
//! One stored day per key, `refilled_on`, says up to when refills are settled, and one statement settles what
//! is due; so a refill happens once per day, however many processes and whatever restarts there are, and one
//! that was missed is made up once. A deduction settles its own key first, so nobody waits for the scheduled
//! run; the run settles the rest, and writes the audit events of both.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::audit::{Actor, Event, Target};
use crate::calendar::{Calendar, Day};
use crate::changes::Mutation;
use crate::error::Error;
use crate::schedule::{self, Job};
use crate::state::State;
use crate::store::keys::{self, KnownAs};
use crate::store::refills::{self, Settled};
use crate::store::workspaces;

/// Keys per transaction, so that other writers get their turn.
const PORTION: i64 = 500;

/// The scheduled run: settles at the start, and after each midnight UTC.
#[derive(Debug)]
pub(crate) struct Refills {
    state: Arc<State>,
    settled_until: Option<Day>,
}

impl Refills {
    pub(crate) fn new(state: Arc<State>) -> Self {
        Refills { state, settled_until: None }
    }
}

impl Job for Refills {
    const NAME: &'static str = "refills";
    const PERIOD: Duration = Duration::from_secs(20);

    async fn run(&mut self) -> Result<(), Error> {
        let calendar = Calendar::at(self.state.clock.now());
        let count = settle_all(&self.state, calendar, self.settled_until == Some(calendar.today)).await?;
        if count > 0 {
            tracing::info!(count, "credits were refilled");
        }
        self.settled_until = Some(calendar.today);
        Ok(())
    }
}

/// Settles what is due in every workspace and writes the events of all refills since the last run: how many.
///
/// With `only_events` balances are left alone: nothing becomes due within a day.
///
/// # Errors
/// When the store does not answer. What was done until then stays done.
pub async fn settle_all(state: &Arc<State>, calendar: Calendar, only_events: bool) -> Result<usize, Error> {
    let all = workspaces::all(&mut *state.store.read().await?).await?;
    if !only_events {
        // A clock that was ahead and came back must not stop refills until it catches up.
        let mut transaction = state.store.write().await?;
        refills::forget_later_days(&mut transaction, calendar.today).await?;
        transaction.commit().await?;
    }
    let mut count = 0;
    for workspace in all {
        loop {
            let settled = settle_portion(state, &workspace.id, calendar, only_events).await?;
            count += settled;
            if settled == 0 {
                break;
            }
            schedule::give_way().await;
        }
    }
    Ok(count)
}

async fn settle_portion(
    state: &Arc<State>,
    workspace_id: &str,
    calendar: Calendar,
    only_events: bool,
) -> Result<usize, Error> {
    let mut connection = state.store.read().await?;
    let waiting = refills::has_unrecorded(&mut connection, workspace_id).await?;
    let due = !only_events && refills::has_due(&mut connection, workspace_id, calendar).await?;
    drop(connection);
    if !waiting && !due {
        return Ok(0);
    }
    let mut mutation = Mutation::begin_as(state, workspace_id, Actor::system("keyrefill")).await?;
    let mut settled = refills::take_unrecorded(mutation.connection(), workspace_id, PORTION).await?;
    let room = PORTION - i64::try_from(settled.len()).unwrap_or(PORTION);
    if due && room > 0 {
        settled.extend(refills::settle_due(mutation.connection(), workspace_id, calendar, room).await?);
    }
    let now = mutation.now();
    let count = settled.len();
    settled.retain(Settled::changed);
    let mut changed: Vec<&str> = settled.iter().map(|refill| refill.key_id.as_str()).collect();
    keys::touch_updated(mutation.connection(), &mut changed, now).await?;
    let known = keys::known_as(mutation.connection(), &changed).await?;
    for refill in &settled {
        mutation.record(event(refill, known.get(&refill.key_id)));
    }
    mutation.commit().await?;
    Ok(count)
}

/// The event of a refill. Of a key that was removed for good since, only the id is left.
fn event(refill: &Settled, key: Option<&KnownAs>) -> Event {
    let facts = json!({
        "refill_amount": refill.amount,
        "previous_remaining": refill.previous,
        "new_remaining": refill.remaining,
    });
    let Settled { key_id, previous, remaining, .. } = refill;
    let description = format!("Refilled the credits of key {key_id} from {previous} to {remaining}");
    let target = match key {
        Some(key) => Target::key(key_id, key.name.as_deref(), &key.start, key.external_id.as_deref()),
        None => Target::key(key_id, None, "", None),
    };
    Event::new("key.update", description).on(target.with(facts))
}
