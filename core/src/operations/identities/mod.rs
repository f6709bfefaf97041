//! Identities: the users, tenants or machines that keys belong to.

mod create_identity;
mod delete_identity;
mod expanded;
mod get_identity;
mod list_identities;
mod update_identity;

pub use create_identity::CreateIdentity;
pub use delete_identity::DeleteIdentity;
pub use get_identity::GetIdentity;
pub use list_identities::ListIdentities;
pub use update_identity::UpdateIdentity;

use serde_json::{Value, json};

use crate::audit::{Event, Target};
use crate::store::identities::Identity;
use crate::store::ratelimits::Ratelimit;

/// An identity as the target of an event.
fn identity_target(identity: &Identity) -> Target {
    Target::new("identity", &identity.id).named(&identity.external_id)
}

/// An event about a limit of an identity; `done` is what happened, such as `Created`.
fn ratelimit_event(name: &'static str, done: &str, identity: &Identity, limit: &Ratelimit) -> Event {
    Event::new(name, format!("{done} rate limit {} of {}", limit.id, identity.id))
        .on(identity_target(identity))
        .on(Target::new("ratelimit", &limit.id).named(&limit.name).with(limit_facts(limit)))
}

/// What the audit log says of a limit.
fn limit_facts(limit: &Ratelimit) -> Value {
    json!({ "limit": limit.limit, "duration": limit.duration_ms, "autoApply": limit.auto_apply })
}
