//! What a root key holds.
//!
//! Three forms count side by side: `*` (everything in its workspace), tuples
//! (`api.api_1.read_key`, matched as whole texts, `*` literal) and URNs.

use std::collections::HashSet;

use foldhash::quality::RandomState;

use super::urn::Urn;

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

    /// The ids of things of a resource for which an action is held one by one, such as `api` and `read_analytics`.
    pub(super) fn ids(&self, resource: &str, action: &str) -> Vec<&str> {
        let tuples = self.texts.iter().filter_map(|text| split_tuple(text));
        let held = tuples.filter(|(of, id, does)| *of == resource && *does == action && *id != "*");
        let mut ids: Vec<&str> = held.map(|(_, id, _)| id).collect();
        ids.sort_unstable();
        ids
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
pub(super) fn split_tuple(text: &str) -> Option<(&str, &str, &str)> {
    let (resource, rest) = text.split_once('.')?;
    let (id, action) = rest.split_once('.')?;
    (!action.contains('.')).then_some((resource, id, action))
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
}
