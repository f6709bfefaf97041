//! Which tools a caller sees: pure, from the rule of an operation, what the root key holds, and what the operator and
//! whoever connects wish to be shown.
//!
//! ```text
//! seen = ceiling of the operator ∩ what the root key could ever do ∩ wishes of the connection
//! ```
//!
//! Read-only wins over everything, exclusion over inclusion. Listing shows what could ever pass; a call is checked
//! exactly. A key for one API lists `keys_createKey` and is refused for another API.

use std::fmt;
use std::sync::Arc;

use keyrack_core::Error;
use keyrack_core::caller::Principal;
use keyrack_core::catalogue::{About, Effect, Toolset};
use keyrack_core::error::Code;

use rmcp::model::Tool;

use crate::catalogue::{Catalogue, Offer};
use crate::wishes::Wishes;

/// Whether calls of this operation could ever be allowed.
pub fn is_visible(about: &About, principal: &Principal) -> bool {
    principal.could_satisfy(&about.rule)
}

/// The refusal of an operation that the caller cannot see: it names what is missing.
pub(crate) fn refusal(about: &About, principal: &Principal) -> Error {
    let missing = principal.refusal(&about.rule, &[]);
    Error::new(Code::InsufficientPermissions, missing.unwrap_or_default())
}

/// What one connection is shown, whoever calls.
#[derive(Debug, Clone, Default)]
pub struct View {
    ceiling: Arc<Wishes>,
    wishes: Arc<Wishes>,
}

/// Why a view does not have a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hidden {
    because: Because,
    by_operator: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Because {
    Excluded,
    ReadOnly,
    Pinned,
    NotAmong(Toolset),
}

impl View {
    /// What the operator allows, narrowed by the wishes of a connection.
    ///
    /// # Errors
    /// When each is about another API.
    pub fn new(ceiling: Arc<Wishes>, wishes: Arc<Wishes>) -> Result<Self, String> {
        match (ceiling.api(), wishes.api()) {
            (Some(ceiling), Some(wish)) if ceiling != wish => {
                Err("`api` is not the one API that this server is about".to_owned())
            }
            _ => Ok(View { ceiling, wishes }),
        }
    }

    /// What somebody wishes to see where the operator allows everything.
    pub fn wished(wishes: Wishes) -> Self {
        View { ceiling: Arc::default(), wishes: Arc::new(wishes) }
    }

    /// All that the operator allows and is worth its place in every conversation.
    pub(crate) fn allowed_by(ceiling: Arc<Wishes>) -> Self {
        View { ceiling, wishes: Arc::default() }
    }

    /// The tools of operations that a caller sees, by name.
    pub(crate) fn tools(&self, catalogue: &Catalogue, principal: &Principal) -> Vec<Tool> {
        let seen = catalogue.offers().iter().filter(|offer| self.shows(offer, principal));
        seen.map(|offer| offer.shape(self.api().is_some()).0.clone()).collect()
    }

    /// Why a tool is not there, if it is not.
    pub(crate) fn hides(&self, offer: &Offer) -> Option<Hidden> {
        let (tool, toolset) = (&*offer.tool.name, offer.about.toolset());
        let sides = [(&self.ceiling, true), (&self.wishes, false)];
        let first = |is_hidden: &dyn Fn(&Wishes) -> bool, because| {
            let side = sides.iter().find(|(wishes, _)| is_hidden(wishes));
            side.map(|(_, by_operator)| Hidden { because, by_operator: *by_operator })
        };
        let changes = offer.about.effect != Effect::Read;
        let is_of_no_api = offer.about.assistants.pinned_by.is_none() && toolset != Toolset::Context;
        first(&|wishes| wishes.excludes(tool), Because::Excluded)
            .or_else(|| first(&|wishes| changes && wishes.is_read_only(), Because::ReadOnly))
            .or_else(|| first(&|wishes| is_of_no_api && wishes.api().is_some(), Because::Pinned))
            .or_else(|| self.leaves_out(toolset, tool))
    }

    /// Whether a tool is none of those that were chosen: by default those worth their place in every conversation, and
    /// where an operator chose, those.
    fn leaves_out(&self, toolset: Toolset, tool: &str) -> Option<Hidden> {
        let because = Because::NotAmong(toolset);
        let by_operator = self.ceiling.selects(toolset, tool);
        if by_operator == Some(false) {
            return Some(Hidden { because, by_operator: true });
        }
        let is_chosen = self.wishes.selects(toolset, tool).or(by_operator).unwrap_or_else(|| toolset.is_default());
        (!is_chosen).then_some(Hidden { because, by_operator: false })
    }

    /// Whether a caller sees a tool.
    pub fn shows(&self, offer: &Offer, principal: &Principal) -> bool {
        self.hides(offer).is_none() && is_visible(offer.about, principal)
    }

    /// The one API that all is about.
    pub(crate) fn api(&self) -> Option<&str> {
        self.ceiling.api().or(self.wishes.api())
    }

    /// Whether three tools stand for all.
    pub(crate) fn is_compact(&self) -> bool {
        self.ceiling.is_compact() || self.wishes.is_compact()
    }
}

impl Hidden {
    /// The refusal of a call.
    pub(crate) fn refusal(self, tool: &str) -> Error {
        Error::new(Code::Forbidden, format!("The tool {tool} is not in this view: {self}"))
    }
}

impl fmt::Display for Hidden {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = if self.by_operator { "the operator of this server" } else { "this connection" };
        match self.because {
            Because::Excluded => write!(formatter, "{by} excluded it (`exclude_tools`)."),
            Because::ReadOnly => write!(formatter, "{by} is read-only (`read_only`), and it changes something."),
            Because::Pinned => write!(formatter, "{by} is about one API (`api`), and it is not."),
            Because::NotAmong(toolset) if self.by_operator => {
                write!(formatter, "{by} did not allow its toolset, `{}`.", toolset.name())
            }
            Because::NotAmong(toolset) => write!(
                formatter,
                "its toolset `{0}` was not asked for. The user can connect with `?toolsets=default,{0}` in the URL, the \
                 header `X-MCP-Toolsets`, or `--toolsets`.",
                toolset.name()
            ),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use keyrack_core::authorization::{Grants, Who};
    use keyrack_core::caller::RootKey;
    use proptest::prelude::*;

    use super::*;
    use crate::catalogue::tests::CATALOGUE;
    use crate::wishes::Wish;

    pub(crate) fn root_key(permissions: &[&str], operator: bool) -> Principal {
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

    fn wishes(said: &[(Wish, &str)]) -> Wishes {
        let mut wishes = Wishes::default();
        said.iter().for_each(|(wish, text)| wishes.add(*wish, text, &CATALOGUE).unwrap());
        wishes
    }

    fn view(ceiling: &[(Wish, &str)], wished: &[(Wish, &str)]) -> View {
        View::new(Arc::new(wishes(ceiling)), Arc::new(wishes(wished))).unwrap()
    }

    fn names(view: &View, principal: &Principal) -> Vec<String> {
        view.tools(&CATALOGUE, principal).iter().map(|tool| tool.name.to_string()).collect()
    }

    fn all() -> View {
        view(&[], &[(Wish::Toolsets, "all")])
    }

    #[test]
    fn an_operator_with_full_access_sees_every_tool_and_others_not_those_for_operators() {
        let (operator, offers) = (root_key(&["*"], true), CATALOGUE.offers());
        assert_eq!(names(&all(), &operator).len(), offers.len());
        let others = names(&all(), &root_key(&["*"], false));
        assert!(offers.iter().all(
            |offer| (offer.about.rule.who == Who::Operators) != others.contains(&offer.tool.name.to_string())
        ));
    }

    #[test]
    fn a_key_for_one_api_sees_the_tools_of_its_permissions_and_those_that_need_none() {
        let issuer = root_key(&["api.api_1.create_key"], false);
        assert_eq!(
            names(&all(), &issuer),
            ["docs_search", "keys_createKey", "keys_migrateKeys", "keys_rerollKey", "workspace_getOverview"]
        );
        assert_eq!(names(&all(), &root_key(&[], false)), ["docs_search", "workspace_getOverview"]);
        let by_default = view(&[], &[]);
        assert!(!names(&by_default, &issuer).contains(&"keys_migrateKeys".to_owned()));
    }

    #[test]
    fn a_refusal_names_what_is_missing() {
        let offer = CATALOGUE.find("permissions_createRole").unwrap();
        let error = refusal(offer.about, &root_key(&[], false));
        assert_eq!(error.code(), Code::InsufficientPermissions);
        assert!(error.detail().contains("rbac.*.create_role"), "{error}");
    }

    #[test]
    fn what_hides_a_tool_is_said() {
        let why = |tool: &str, ceiling: &[(Wish, &str)], wished: &[(Wish, &str)]| {
            let hidden = view(ceiling, wished).hides(CATALOGUE.find(tool).unwrap());
            hidden.map(|hidden| hidden.to_string()).unwrap_or_default()
        };
        for (tool, ceiling, wished, expected) in [
            ("keys_createKey", &[][..], &[][..], ""),
            ("permissions_createRole", &[], &[], "`permissions` was not asked for"),
            ("permissions_createRole", &[], &[(Wish::Toolsets, "permissions")], ""),
            ("permissions_createRole", &[], &[(Wish::Tools, "permissions.createRole")], ""),
            ("keys_createKey", &[], &[(Wish::Tools, "apis_getApi")], "`keys` was not asked for"),
            ("docs_search", &[], &[(Wish::Tools, "apis_getApi")], ""),
            ("docs_search", &[], &[(Wish::ExcludeTools, "docs_search")], "this connection excluded it"),
            (
                "keys_createKey",
                &[(Wish::Toolsets, "apis")],
                &[(Wish::Toolsets, "all")],
                "operator of this server did not",
            ),
            ("permissions_createRole", &[(Wish::Toolsets, "permissions")], &[], ""),
            ("keys_createKey", &[(Wish::ReadOnly, "true")], &[], "operator of this server is read-only"),
            ("keys_createKey", &[(Wish::ReadOnly, "true")], &[(Wish::ReadOnly, "false")], "is read-only"),
            ("identities_getIdentity", &[], &[(Wish::Api, "api_1")], "this connection is about one API"),
            ("keys_getKey", &[], &[(Wish::Api, "api_1")], ""),
        ] {
            let found = why(tool, ceiling, wished);
            assert_eq!(found.is_empty(), expected.is_empty(), "{tool} {ceiling:?} {wished:?}: {found}");
            assert!(found.contains(expected), "{tool} {ceiling:?} {wished:?}: {found}");
        }
    }

    #[test]
    fn two_apis_are_a_contradiction() {
        let api = |id| Arc::new(wishes(&[(Wish::Api, id)]));
        assert!(View::new(api("api_1"), api("api_2")).is_err());
        assert_eq!(View::new(api("api_1"), Arc::default()).unwrap().api(), Some("api_1"));
    }

    fn some_wishes() -> impl Strategy<Value = Wishes> {
        let toolsets = prop::option::of(prop::sample::subsequence(Toolset::ALL.to_vec(), 1..4));
        let tools: Vec<String> = CATALOGUE.offers().iter().map(|offer| offer.tool.name.to_string()).collect();
        let named = || prop::option::of(prop::sample::subsequence(tools.clone(), 1..6));
        let api = prop::option::of(Just("api_1"));
        (toolsets, named(), named(), any::<bool>(), api).prop_map(|(toolsets, tools, excluded, read_only, api)| {
            let mut wishes = Wishes::default();
            let mut add = |wish, text: Option<String>| {
                text.into_iter().for_each(|text| wishes.add(wish, &text, &CATALOGUE).unwrap());
            };
            add(
                Wish::Toolsets,
                toolsets.map(|all| all.iter().map(|one| one.name()).collect::<Vec<_>>().join(",")),
            );
            add(Wish::Tools, tools.map(|tools| tools.join(", ")));
            add(Wish::ExcludeTools, excluded.map(|tools| tools.join(",")));
            add(Wish::ReadOnly, Some(read_only.to_string()));
            add(Wish::Api, api.map(str::to_owned));
            wishes
        })
    }

    proptest! {
        #[test]
        fn nobody_sees_beyond_the_ceiling_nor_what_was_excluded_nor_changes_what_is_read_only(
            ceiling in some_wishes(), wished in some_wishes(), grants in prop::sample::select(vec!["*", "api.*.read_key"])
        ) {
            let principal = root_key(&[grants], false);
            let (ceiling, wished) = (Arc::new(ceiling), Arc::new(wished));
            let seen = names(&View::new(ceiling.clone(), wished.clone()).unwrap(), &principal);
            let allowed = names(&View::new(ceiling.clone(), Arc::new(wishes(&[(Wish::Toolsets, "all")]))).unwrap(), &principal);
            for name in &seen {
                prop_assert!(allowed.contains(name), "{} is beyond the ceiling", name);
                prop_assert!(!ceiling.excludes(name) && !wished.excludes(name));
                let offer = CATALOGUE.find(name).unwrap();
                let is_read_only = ceiling.is_read_only() || wished.is_read_only();
                prop_assert!(!is_read_only || offer.about.effect == Effect::Read);
                prop_assert!(is_visible(offer.about, &principal));
            }
            // A list depends on nothing else: who asks once more sees the same.
            prop_assert_eq!(&seen, &names(&View::new(ceiling, wished).unwrap(), &principal));
            prop_assert!(seen.is_sorted());
        }
    }
}
