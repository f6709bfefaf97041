//! Every operation: one folder per namespace, one file per operation.

pub mod apis;
pub mod docs;
pub mod fields;
pub mod identities;
pub mod keys;
pub mod permissions;
pub mod ratelimit;
pub mod root_keys;
pub mod workspace;

use crate::catalogue::Visitor;

/// Shows every operation to a visitor, by namespace and name.
pub fn each<V: Visitor>(visitor: &mut V) {
    visitor.operation::<apis::CreateApi>();
    visitor.operation::<apis::DeleteApi>();
    visitor.operation::<apis::GetApi>();
    visitor.operation::<apis::ListApis>();
    visitor.operation::<apis::ListKeys>();
    visitor.operation::<apis::UpdateApi>();
    visitor.operation::<docs::Search>();
    visitor.operation::<identities::CreateIdentity>();
    visitor.operation::<identities::GetIdentity>();
    visitor.operation::<keys::CreateKey>();
    visitor.operation::<keys::DeleteKey>();
    visitor.operation::<keys::GetKey>();
    visitor.operation::<keys::UpdateKey>();
    visitor.operation::<keys::VerifyKey>();
    visitor.operation::<keys::Whoami>();
    visitor.operation::<permissions::CreatePermission>();
    visitor.operation::<permissions::CreateRole>();
    visitor.operation::<ratelimit::Limit>();
    visitor.operation::<root_keys::CreateKey>();
    visitor.operation::<workspace::GetOverview>();
}
