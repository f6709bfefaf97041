//! What a root key holds, and which texts may be granted at all.
//!
//! Three forms count side by side: `*` (everything in its workspace), tuples
//! (`api.api_1.read_key`, matched as whole texts, `*` literal) and URNs.

use std::collections::HashSet;

use foldhash::quality::RandomState;

use super::asked::{is_asked_for, nearest};
use super::urn::Urn;

/// Resources of tuples and their actions. Grants outside this list are refused when they are made.
const TUPLES: &[(&str, &[&str])] = &[
    (
        "api",
        &[
            "read_api",
            "create_api",
            "delete_api",
            "update_api",
            "create_key",
            "update_key",
            "delete_key",
            "encrypt_key",
            "decrypt_key",
            "read_key",
            "verify_key",
            "read_analytics",
        ],
    ),
    (
        "ratelimit",
        &[
            "limit",
            "create_namespace",
            "read_namespace",
            "update_namespace",
            "delete_namespace",
            "set_override",
            "read_override",
            "delete_override",
            "list_overrides",
            "read_analytics",
        ],
    ),
    (
        "rbac",
        &[
            "create_permission",
            "read_permission",
            "update_permission",
            "delete_permission",
            "create_role",
            "read_role",
            "update_role",
            "delete_role",
            "add_permission_to_key",
            "remove_permission_from_key",
            "add_role_to_key",
            "remove_role_from_key",
            "add_permission_to_role",
            "remove_permission_from_role",
        ],
    ),
    ("identity", &["create_identity", "read_identity", "update_identity", "delete_identity"]),
    ("portal", &["create_portal", "read_portal", "update_portal", "delete_portal", "create_portal_session"]),
    ("workspace", &["read_workspace"]),
    ("audit", &["read_log"]),
];

/// The permissions of a root key, ready to be asked.
#[derive(Debug, Clone)]
pub struct Grants {
    workspace_id: String,
    full_access: bool,
    texts: HashSet<Box<str>, RandomState>,
    urns: Vec<Urn>,
}

impl Grants {
    /// Reads permission texts. Texts that are no permission are kept and grant nothing.
    pub fn new<'a>(workspace_id: &str, permissions: impl IntoIterator<Item = &'a str>) -> Self {
        let mut grants = Grants {
            workspace_id: workspace_id.to_owned(),
            full_access: false,
            texts: HashSet::default(),
            urns: Vec::new(),
        };
        for permission in permissions {
            if let Some(urn) = Urn::parse(permission).filter(|urn| urn.workspace_id == workspace_id) {
                grants.full_access |= urn.is_full_access();
                grants.urns.push(urn);
            }
            grants.full_access |= permission == "*";
            grants.texts.insert(permission.into());
        }
        grants
    }

    /// The workspace in which these permissions count.
    pub fn workspace_id(&self) -> &str {
        &self.workspace_id
    }

    /// Whether everything in the workspace is allowed.
    pub fn is_full_access(&self) -> bool {
        self.full_access
    }

    /// Whether the permission `required`, a tuple or a URN without placeholders, is held.
    pub(super) fn holds(&self, required: &str) -> bool {
        if self.full_access || required.contains('{') {
            // A placeholder that no id filled is met by nothing but full access.
            return self.full_access;
        }
        self.texts.contains(required)
            || Urn::parse(required).is_some_and(|required| self.urns.iter().any(|urn| urn.covers(&required)))
    }

    /// Whether `required` could be held once its placeholders are filled.
    pub(super) fn could_hold(&self, required: &str) -> bool {
        if self.holds(required) {
            return true;
        }
        if let Some(required) = Urn::parse(required) {
            return self.urns.iter().any(|urn| urn.could_cover(&required));
        }
        let Some((resource, id, action)) = split_tuple(required) else { return false };
        id.starts_with('{')
            && self
                .texts
                .iter()
                .filter_map(|text| split_tuple(text))
                .any(|(held_resource, _, held_action)| held_resource == resource && held_action == action)
    }

    /// Whether a caller with these permissions may hand out `permission`: nobody gives more than they hold.
    pub fn covers(&self, permission: &str) -> bool {
        self.holds(permission)
            || split_tuple(permission).is_some_and(|(resource, _, action)| {
                self.texts.contains(format!("{resource}.*.{action}").as_str())
            })
    }
}

/// Splits `api.api_1.read_key`; ids hold no dot.
fn split_tuple(text: &str) -> Option<(&str, &str, &str)> {
    let (resource, rest) = text.split_once('.')?;
    let (id, action) = rest.split_once('.')?;
    (!action.contains('.')).then_some((resource, id, action))
}

/// Whether a text could be an id of ours or of the service that keys were imported from.
fn is_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

/// A text that is no permission of this workspace, with what to send instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownPermission {
    /// What is wrong with the text.
    pub message: String,
    /// What to send instead.
    pub fix: String,
}

/// Checks that `permission` may be granted in the workspace: `*`, a known tuple, or a URN of the workspace
/// that the rule of an operation can ask for.
///
/// # Errors
/// Says what is wrong and what to send instead.
pub fn validate_grant(workspace_id: &str, permission: &str) -> Result<(), UnknownPermission> {
    if permission == "*" {
        return Ok(());
    }
    if let Some(urn) = Urn::parse(permission) {
        if urn.workspace_id != workspace_id {
            return Err(UnknownPermission {
                message: "is a URN of another workspace".to_owned(),
                fix: format!("Send a URN that starts with `unkey:v1:{workspace_id}:`."),
            });
        }
        if let Some(odd) = urn.names().find(|name| !is_id(name)) {
            return Err(UnknownPermission {
                message: format!("has the part `{odd}`, which is no id"),
                fix: "Use letters, digits, `_`, `-` and `.`, or `*` for any one and a final `**` for any rest."
                    .to_owned(),
            });
        }
        if !is_asked_for(&urn) {
            return Err(UnknownPermission {
                message: "gives nothing that an operation asks for".to_owned(),
                fix: format!("The nearest that does is `{}`.", nearest(&urn)),
            });
        }
        return Ok(());
    }
    let tuple = split_tuple(permission).filter(|(_, id, _)| *id == "*" || is_id(id));
    let actions = tuple.and_then(|(resource, _, _)| TUPLES.iter().find(|(known, _)| *known == resource));
    match (tuple, actions) {
        (Some((_, _, action)), Some((_, actions))) if actions.contains(&action) => Ok(()),
        (Some(_), Some((resource, actions))) => Err(UnknownPermission {
            message: format!("names an action that `{resource}` does not have"),
            fix: format!("End it with one of: {}.", actions.join(", ")),
        }),
        _ => Err(UnknownPermission {
            message: "is not a permission that Keyrack knows".to_owned(),
            fix: format!(
                "Send `*`, `<resource>.<id or *>.<action>` with one of the resources {}, or a URN such as \
                 `unkey:v1:{workspace_id}:keyspaces/*/keys/*#read_key`.",
                TUPLES.iter().map(|(resource, _)| *resource).collect::<Vec<_>>().join(", ")
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_covers_more_than_they_hold() {
        for (held, asked, covered) in [
            ("*", "api.*.read_key", true),
            ("*", "*", true),
            ("unkey:v1:ws_1:**#*", "*", true),
            ("unkey:v1:ws_1:**#*", "ratelimit.*.limit", true),
            ("unkey:v1:ws_2:**#*", "*", false),
            ("api.*.read_key", "*", false),
            ("api.*.read_key", "api.api_1.read_key", true),
            ("api.api_1.read_key", "api.*.read_key", false),
            ("api.*.read_key", "api.api_1.update_key", false),
            ("api.api_1.read_key", "api.api_1.read_key", true),
            ("unkey:v1:ws_1:keyspaces/**#read_key", "unkey:v1:ws_1:keyspaces/ks_1/keys/*#read_key", true),
            ("unkey:v1:ws_1:keyspaces/ks_1/keys/*#read_key", "unkey:v1:ws_1:keyspaces/**#read_key", false),
        ] {
            assert_eq!(Grants::new("ws_1", [held]).covers(asked), covered, "{held} over {asked}");
        }
    }

    #[test]
    fn only_known_permissions_of_the_workspace_may_be_granted() {
        for known in ["*", "api.*.read_key", "identity.id_1.read_identity", "unkey:v1:ws_1:rootKeys/*#write"] {
            assert_eq!(validate_grant("ws_1", known), Ok(()), "{known}");
        }
        for unknown in [
            "",
            "**",
            "api.*",
            "api..read_key",
            "api.{apiId}.read_key",
            "api. .read_key",
            "api.api_1*.read_key",
            "api.**.read_key",
            "unkey:v1:ws_1:keyspaces/a b#read_key",
            "unkey:v1:ws_1:keyspaces/{keySpaceId}#read_key",
            "api.*.fly",
            "api.a.b.read_key",
            "documents.read",
            "unkey:v1:ws_2:rootKeys/*#write",
            "unkey:v1:ws_1:dragons/*#write",
            "unkey:v1:ws_1:keyspaces/**#*",
        ] {
            assert!(validate_grant("ws_1", unknown).is_err(), "{unknown}");
        }
    }
}
