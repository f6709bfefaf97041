//! Which tools a caller sees: pure, from the rule of an operation and what the root key holds.
//!
//! Listing shows what could ever pass; a call is checked exactly. A key for one API lists
//! `keys_createKey` and is refused for another API.

use keyrack_core::Error;
use keyrack_core::caller::Principal;
use keyrack_core::catalogue::About;
use keyrack_core::error::Code;

/// Whether calls of this operation could ever be allowed.
pub fn is_visible(about: &About, principal: &Principal) -> bool {
    principal.could_satisfy(&about.rule)
}

/// The refusal of an operation that the caller cannot see: it names what is missing.
pub(crate) fn refusal(about: &About, principal: &Principal) -> Error {
    let missing = principal.refusal(&about.rule, &[]);
    Error::new(Code::InsufficientPermissions, missing.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use keyrack_core::authorization::{Grants, Who};
    use keyrack_core::caller::RootKey;

    use super::*;
    use crate::catalogue::Catalogue;

    fn root_key(permissions: &[&str], operator: bool) -> Principal {
        Principal::RootKey(Arc::new(RootKey {
            id: "key_1".to_owned(),
            workspace_id: "ws_1".to_owned(),
            name: None,
            permissions: Vec::new(),
            grants: Grants::new("ws_1", permissions.iter().copied()),
            operator,
            enabled: true,
            expires_at: None,
            last_use: Arc::default(),
        }))
    }

    fn visible(permissions: &[&str]) -> Vec<&'static str> {
        let root_key = root_key(permissions, false);
        let offers = Catalogue::get().offers().iter();
        offers.filter(|offer| is_visible(offer.about, &root_key)).map(|offer| &*offer.tool.name).collect()
    }

    #[test]
    fn an_operator_with_full_access_sees_every_tool_and_others_not_those_for_operators() {
        let (operator, offers) = (root_key(&["*"], true), Catalogue::get().offers());
        assert!(offers.iter().all(|offer| is_visible(offer.about, &operator)));
        let others = visible(&["*"]);
        assert!(
            offers
                .iter()
                .all(|offer| (offer.about.rule.who == Who::Operators) != others.contains(&&*offer.tool.name))
        );
    }

    #[test]
    fn a_key_for_one_api_sees_the_tools_of_its_permissions_and_those_that_need_none() {
        assert_eq!(
            visible(&["api.api_1.create_key"]),
            ["docs_search", "keys_createKey", "keys_migrateKeys", "keys_rerollKey", "workspace_getOverview"]
        );
        assert_eq!(visible(&[]), ["docs_search", "workspace_getOverview"]);
    }

    #[test]
    fn a_refusal_names_what_is_missing() {
        let offer = Catalogue::get().find("permissions_createRole").unwrap();
        let error = refusal(offer.about, &root_key(&[], false));
        assert_eq!(error.code(), Code::InsufficientPermissions);
        assert!(error.detail().contains("rbac.*.create_role"), "{error}");
    }
}
