//! What was created or changed, as it is afterwards: a change answers ids or nothing, and a model would ask once more.

use std::sync::Arc;
use std::time::Duration;

use keyrack_core::Caller;
use serde_json::{Map, Value};

use crate::backend::Backend;
use crate::catalogue::{Catalogue, Offer};
use crate::naming::tool_name;
use crate::projection;
use crate::view::View;

/// How long it may take. The change is done, and its answer does not wait for more than that.
const PATIENCE: Duration = Duration::from_secs(2);

/// A read about what a call is going to change.
#[derive(Debug)]
pub(crate) struct Afterwards {
    read: Arc<Offer>,
    by: &'static [&'static str],
    request: Value,
    caller: Caller,
}

impl Afterwards {
    /// The read for a call; none where the operation has none, or the caller does not see it.
    pub(crate) fn of(
        offer: &Offer,
        request: &Value,
        (catalogue, view): (&Catalogue, &View),
        caller: Caller,
    ) -> Option<Afterwards> {
        let shown_after = offer.about.assistants.shown_after?;
        let read = catalogue.find(&tool_name(shown_after.read))?;
        let is_seen = view.shows(read, caller.principal());
        is_seen.then(|| Afterwards { read: read.clone(), by: shown_after.by, request: request.clone(), caller })
    }

    /// What it is now, by what the change answered; nothing where that cannot be told.
    pub(crate) async fn shown(self, backend: &dyn Backend, answered: &Value) -> Option<Value> {
        let member = |name: &&str| {
            let value = answered.get(name).or_else(|| self.request.get(name))?;
            Some(((*name).to_owned(), value.clone()))
        };
        let request: Map<String, Value> = self.by.iter().map(member).collect::<Option<_>>()?;
        let reading = backend.run(&self.read, self.caller, Value::Object(request));
        let answer = tokio::time::timeout(PATIENCE, reading).await.ok()?.ok()?;
        // Of one thing all of it: a limit that counts for nothing shows in no summary.
        Some(projection::show(self.read.about, answer, false).answer.data)
    }
}
