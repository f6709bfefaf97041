//! Power over root keys: nobody handles more than they hold, and a workspace keeps a key to itself.

use crate::authorization::{Expression, Grants};
use crate::catalogue::Question;
use crate::error::{Fault, OrNotFound as _};
use crate::ids::RootKeyId;
use crate::operations::grantable;
use crate::store::Connection;
use crate::store::root_keys::{self, RootKey};
use crate::{Caller, Code, Error};

/// To change a root key.
pub(super) const WRITE: Expression = Expression::Any(&[
    Expression::Leg("unkey:v1:{workspaceId}:rootKeys/{keyId}#write"),
    Expression::Leg("unkey:v1:{workspaceId}:rootKeys/*#write"),
]);

/// To end a root key.
pub(super) const DELETE: Expression = Expression::Any(&[
    Expression::Leg("unkey:v1:{workspaceId}:rootKeys/{keyId}#delete"),
    Expression::Leg("unkey:v1:{workspaceId}:rootKeys/*#delete"),
]);

/// A live root key of the caller's workspace that the caller may change: it covers all that the key holds,
/// and only an operator handles an operator.
pub(super) async fn in_reach(
    connection: &mut Connection,
    caller: &Caller,
    key_id: &RootKeyId,
) -> Result<RootKey, Error> {
    let found = root_keys::find(connection, caller.workspace_id(), key_id).await?;
    let key = found.or_not_found(Code::KeyNotFound)?;
    if key.operator && !caller.principal().is_operator() {
        return Err(Error::new(
            Code::InsufficientPermissions,
            "The root key is an operator, and only an operator may change or delete it.",
        ));
    }
    check_covered(caller, &key.permissions)?;
    Ok(key)
}

/// Checks that the permissions are known, and of this workspace.
pub(super) fn check_known(caller: &Caller, permissions: &[String]) -> Result<(), Error> {
    let faults: Vec<Fault> = permissions
        .iter()
        .enumerate()
        .filter_map(|(at, permission)| {
            let unknown = grantable().validate(caller.workspace_id(), permission).err()?;
            Some(Fault {
                location: format!("body.permissions[{at}]"),
                message: unknown.message,
                fix: Some(unknown.fix),
            })
        })
        .collect();
    if faults.is_empty() {
        return Ok(());
    }
    Err(Error::new(Code::InvalidInput, "Some of the permissions are unknown, listed in `errors`.")
        .with_faults(faults))
}

/// Checks that the caller covers all of these permissions.
pub(super) fn check_covered(caller: &Caller, permissions: &[String]) -> Result<(), Error> {
    let grants = caller.principal().grants();
    match permissions.iter().find(|permission| !grants.covers(permission)) {
        Some(beyond) => Err(Error::new(
            Code::InsufficientPermissions,
            format!("A root key gives no more than it holds, and this one does not cover {beyond}."),
        )),
        None => Ok(()),
    }
}

/// Checks that a caller with an expiry handles no key that outlives it.
pub(super) fn check_outlives(caller: &Caller, key: &RootKey) -> Result<(), Error> {
    let Some(own) = caller.root_key().expires_at else { return Ok(()) };
    if key.expires_at.is_some_and(|expires_at| expires_at <= own) {
        return Ok(());
    }
    Err(Error::new(
        Code::InsufficientPermissions,
        "A root key that expires cannot change or replace one that outlives it.",
    ))
}

/// Whether the key always gets its owner into the workspace: enabled, with full access, without an expiry.
fn is_way_in(key: &RootKey) -> bool {
    key.enabled
        && key.expires_at.is_none()
        && Grants::new(&key.workspace_id, key.permissions.iter().map(String::as_str)).is_full_access()
}

/// Checks that a way into the workspace remains when `before` becomes `after`, or goes. The lock of a mutation
/// makes the answer hold until it commits.
pub(super) async fn keep_a_way_in(
    connection: &mut Connection,
    before: &RootKey,
    after: Option<&RootKey>,
) -> Result<(), Error> {
    if !is_way_in(before) || after.is_some_and(is_way_in) {
        return Ok(());
    }
    let all = root_keys::of_workspace(connection, &before.workspace_id).await?;
    if all.iter().any(|key| key.id != before.id && is_way_in(key)) {
        return Ok(());
    }
    Err(Error::new(
        Code::ProtectedResource,
        "It is the last enabled root key without an expiry that has full access to the workspace. Create another \
         one with the permission `*` first.",
    ))
}

/// Permissions as people are asked about them, who may see the first of them only: all of them in a word if they are, else
/// how many there are, and the wide ones first.
pub(super) fn in_words(workspace_id: &str, mut permissions: Vec<&str>) -> String {
    if Grants::new(workspace_id, permissions.iter().copied()).is_full_access() {
        return "everything in the workspace".to_owned();
    }
    // Power over root keys is power over everything.
    let rank = |permission: &str| {
        (!permission.contains("rootKeys"), !permission.starts_with("unkey:"), !permission.contains('*'))
    };
    permissions.sort_by_key(|permission| (rank(permission), *permission));
    match permissions.as_slice() {
        [only] => (*only).to_owned(),
        many => format!("{} things: {}", many.len(), many.join(", ")),
    }
}

/// A question about a root key, with what tells it from others.
pub(super) fn about(question: Question, key: &RootKey) -> Question {
    question.text_if_any("name", key.name.as_deref()).text("start", &*key.start).text("id", &*key.id)
}
