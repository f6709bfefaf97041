//! Operation ids and tool names: `keys.createKey` is the tool `keys_createKey`.
//!
//! Model APIs accept letters, digits, `_` and `-` in tool names and no dot. Operation ids hold no
//! underscore, so the first one of a tool name is the dot, and the way back is as short.

/// Characters that a tool name may have: hosts put their own prefix before it (the longest known one
/// has 29) and model APIs end at 64.
pub const MAX_TOOL_NAME: usize = 34;

/// The tool of an operation: `keys.createKey` → `keys_createKey`.
pub fn tool_name(operation: &str) -> String {
    operation.replacen('.', "_", 1)
}

/// The operation of a tool: `keys_createKey` → `keys.createKey`.
pub fn operation_name(tool: &str) -> String {
    tool.replacen('_', ".", 1)
}

/// Of some tools the one that `name` was probably meant to be: of the same group, or with the same action in another
/// group. Others do other things, however alike their names are, so there may be none.
pub(crate) fn closest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    let (group, action) = name.split_once(['_', '.']).unwrap_or(("", &name));
    let distance = |candidate: &str| strsim::damerau_levenshtein(&name, candidate);
    let candidates = known.filter_map(|candidate| {
        let lower = candidate.to_lowercase();
        let (its_group, its_action) = lower.split_once('_').unwrap_or(("", &lower));
        let is_alike = its_group == group && distance(&lower) <= lower.len() / 3;
        (is_alike || its_action == action).then(|| (distance(&lower), candidate))
    });
    candidates.min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}

/// Whether a text has the letters and the length of an id; what others say may be anything.
pub(crate) fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_there_and_the_way_back_meet() {
        assert_eq!(tool_name("permissions.setRolePermissions"), "permissions_setRolePermissions");
        assert_eq!(operation_name("permissions_setRolePermissions"), "permissions.setRolePermissions");
    }

    #[test]
    fn a_mistyped_name_has_a_closest_one() {
        let known = ["keys_createKey", "keys_getKey", "keys_setPermissions", "apis_listApis", "apis_listKeys"];
        let closest = |name| closest(name, known.into_iter());
        assert_eq!(closest("keys_creatKey"), Some("keys_createKey"));
        assert_eq!(closest("keys.createKey"), Some("keys_createKey"));
        assert_eq!(closest("keys_listKeys"), Some("apis_listKeys"));
        for of_no_group in ["list_apis", "analytics_getVerifications", "keys_doSomethingElse", "", "_"] {
            assert_eq!(closest(of_no_group), None, "{of_no_group}");
        }
        assert_eq!(closest("KEYS_GETKEY"), Some("keys_getKey"));
    }
}
