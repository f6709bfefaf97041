//! Presets: what root keys for usual purposes may do, each no more than its purpose needs.
//!
//! None may hand out keys of its own power, read a key's text again, delete anything, or handle root keys.

/// A root key for a purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    /// On the command line, and the name of root keys that are made with it.
    pub name: &'static str,
    /// What it is for, in a sentence.
    pub purpose: &'static str,
    /// What it may do besides what those do that it builds on.
    own: &'static [&'static str],
    builds_on: Option<&'static Preset>,
}

/// Looks, and asks as an application does.
const ASSISTANT: Preset = Preset {
    name: "assistant",
    purpose: "reads everything but secrets and the audit log, and verifies keys; changes nothing else",
    own: &[
        "api.*.read_api",
        "api.*.read_key",
        "api.*.read_analytics",
        "api.*.verify_key",
        "identity.*.read_identity",
        "ratelimit.*.read_namespace",
        "ratelimit.*.read_override",
        "ratelimit.*.read_analytics",
        "rbac.*.read_permission",
        "rbac.*.read_role",
        "workspace.*.read_workspace",
    ],
    builds_on: None,
};

/// Helps customers.
const SUPPORT: Preset = Preset {
    name: "support",
    purpose: "what `assistant` may, and helps customers: changes keys, credits, identities and overrides, reads the audit \
              log; issues and deletes nothing",
    own: &["api.*.update_key", "audit.*.read_log", "identity.*.update_identity", "ratelimit.*.set_override"],
    builds_on: Some(&ASSISTANT),
};

/// Sets up what an application needs.
const DEVELOPER: Preset = Preset {
    name: "developer",
    purpose: "what `assistant` may, and sets up what an application needs: APIs, keys, identities, roles, permissions and \
              namespaces; deletes nothing",
    own: &[
        "api.*.create_api",
        "api.*.update_api",
        "api.*.create_key",
        "api.*.update_key",
        "identity.*.create_identity",
        "identity.*.update_identity",
        "ratelimit.*.create_namespace",
        "ratelimit.*.limit",
        "ratelimit.*.set_override",
        "rbac.*.create_permission",
        "rbac.*.update_permission",
        "rbac.*.create_role",
        "rbac.*.update_role",
        "rbac.*.add_permission_to_role",
        "rbac.*.remove_permission_from_role",
        "rbac.*.add_permission_to_key",
        "rbac.*.remove_permission_from_key",
        "rbac.*.add_role_to_key",
    ],
    builds_on: Some(&ASSISTANT),
};

/// All of them, the least powerful first.
pub const PRESETS: [Preset; 3] = [ASSISTANT, SUPPORT, DEVELOPER];

impl Preset {
    /// The preset of this name.
    pub fn named(name: &str) -> Option<&'static Preset> {
        static ALL: [Preset; 3] = PRESETS;
        ALL.iter().find(|preset| preset.name == name)
    }

    /// What a root key of it may do, each once.
    pub fn permissions(&self) -> Vec<&'static str> {
        let mut permissions = self.builds_on.map(Preset::permissions).unwrap_or_default();
        permissions.extend(self.own);
        permissions
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::operations::grantable;

    #[test]
    fn every_permission_of_a_preset_can_be_granted_and_is_there_once() {
        for preset in PRESETS {
            let permissions = preset.permissions();
            for permission in &permissions {
                assert!(grantable().validate("ws_1", permission).is_ok(), "{}: {permission}", preset.name);
            }
            assert_eq!(permissions.iter().collect::<HashSet<_>>().len(), permissions.len(), "{}", preset.name);
            assert_eq!(Preset::named(preset.name), Some(&preset));
        }
        assert_eq!(Preset::named("everything"), None);
    }

    #[test]
    fn no_preset_deletes_decrypts_or_handles_root_keys() {
        for permission in PRESETS.iter().flat_map(Preset::permissions) {
            let action = permission.rsplit('.').next().unwrap_or_default();
            let is_forbidden = permission.contains('#') || permission == "*" || action.ends_with("crypt_key");
            assert!(!is_forbidden && !action.starts_with("delete_"), "{permission}");
        }
        assert!(
            PRESETS[..2].iter().flat_map(Preset::permissions).all(|permission| !permission.contains(".create_"))
        );
    }
}
