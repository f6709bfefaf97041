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

/// Of some names the one that is most like `name`, for whoever mistyped it.
pub(crate) fn closest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known.min_by_key(|candidate| strsim::damerau_levenshtein(&name.to_lowercase(), &candidate.to_lowercase()))
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
        let known = ["keys_createKey", "keys_getKey", "apis_listApis"];
        let closest = |name| closest(name, known.into_iter());
        assert_eq!(closest("keys_creatKey"), Some("keys_createKey"));
        assert_eq!(closest("list_apis"), Some("apis_listApis"));
        assert_eq!(closest("KEYS_GETKEY"), Some("keys_getKey"));
    }
}
