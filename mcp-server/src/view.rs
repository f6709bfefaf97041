//! Which tools a caller sees: pure, from the rule of an operation and what the root key holds.
//!
//! Listing shows what could ever pass; a call is checked exactly. A key for one API lists
//! `keys_createKey` and is refused for another API.

use keyrack_core::Error;
use keyrack_core::authorization::Grants;
use keyrack_core::catalogue::About;
use keyrack_core::error::Code;

/// Whether calls of this operation could ever be allowed.
pub fn is_visible(about: &About, grants: &Grants) -> bool {
    about.rule.main.is_none_or(|rule| rule.could_be_satisfied_by(grants))
}

/// The refusal of an operation that the caller cannot see: it names what is missing.
pub(crate) fn refusal(about: &About, grants: &Grants) -> Error {
    let missing = about.rule.main.and_then(|rule| rule.refusal(grants, &[]));
    Error::new(Code::InsufficientPermissions, missing.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Catalogue;

    fn visible(permissions: &[&str]) -> Vec<&'static str> {
        let grants = Grants::new("ws_1", permissions.iter().copied());
        let offers = Catalogue::get().offers().iter();
        offers.filter(|offer| is_visible(offer.about, &grants)).map(|offer| &*offer.tool.name).collect()
    }

    #[test]
    fn full_access_sees_every_tool() {
        assert_eq!(visible(&["*"]).len(), Catalogue::get().offers().len());
    }

    #[test]
    fn a_key_for_one_api_sees_the_tools_of_its_permissions_and_those_that_need_none() {
        assert_eq!(visible(&["api.api_1.create_key"]), ["keys_createKey", "workspace_getOverview"]);
        assert_eq!(visible(&[]), ["workspace_getOverview"]);
    }

    #[test]
    fn a_refusal_names_what_is_missing() {
        let offer = Catalogue::get().find("permissions_createRole").unwrap();
        let error = refusal(offer.about, &Grants::new("ws_1", []));
        assert_eq!(error.code(), Code::InsufficientPermissions);
        assert!(error.detail().contains("rbac.*.create_role"), "{error}");
    }
}
