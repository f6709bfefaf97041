//! What a caller may do: permission rules as data, and their check against what a root key holds.
//!
//! An operation states its rule as an [`Expression`] over permission texts with placeholders
//! (`api.{apiId}.read_key`); a [`Scope`] fills the placeholders with the ids at hand. Checking a
//! call, listing the tools a caller may ever use, and writing documentation all read the same data.

mod grantable;
mod grants;
mod urn;

pub use grantable::{Grantable, UnknownPermission};
pub use grants::Grants;

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::Serialize;

use crate::error::Code;

/// A permission requirement. Legs are texts with placeholders in braces.
#[derive(Debug, Clone, Copy)]
pub enum Expression {
    /// One permission, such as `api.{apiId}.read_key`.
    Leg(&'static str),
    /// At least one of these.
    Any(&'static [Expression]),
    /// Every one of these.
    All(&'static [Expression]),
}

/// What the caller of an operation reads when its rule refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDenied {
    /// 403 that names what is missing.
    Forbidden,
    /// The answer for a thing that does not exist, so that refusal says nothing about it.
    Masked(Code),
    /// The operation's own answer, such as the verdict `NOT_FOUND`.
    Verdict,
}

/// A further requirement that holds under a condition.
#[derive(Debug, Clone, Copy)]
pub struct Conditional {
    /// How the handler names it.
    pub name: &'static str,
    /// When it is asked for, for documentation.
    pub when: &'static str,
    /// What it asks for.
    pub check: Expression,
    /// What the caller reads when it refuses.
    pub on_denied: OnDenied,
}

/// The permission rule of an operation.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// What every call needs; `None` means a valid root key is enough.
    pub main: Option<Expression>,
    /// What the caller reads when `main` refuses.
    pub on_denied: OnDenied,
    /// What some calls need besides.
    pub conditional: &'static [Conditional],
    /// Who may call at all.
    pub who: Who,
}

/// Who may call an operation, before any permission is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Whoever has a root key.
    RootKeys,
    /// Operators alone: a property of a root key, which no permission stands for.
    Operators,
}

impl Rule {
    /// A rule that a valid root key satisfies.
    pub const ANY_ROOT_KEY: Rule =
        Rule { main: None, on_denied: OnDenied::Forbidden, conditional: &[], who: Who::RootKeys };

    /// A rule that only an operator satisfies.
    pub const OPERATOR: Rule = Rule { who: Who::Operators, ..Rule::ANY_ROOT_KEY };

    /// A rule whose refusal is a 403 that names what is missing.
    pub const fn forbidding(main: Expression) -> Rule {
        Rule { main: Some(main), ..Rule::ANY_ROOT_KEY }
    }

    /// Adds requirements that hold under a condition.
    #[must_use]
    pub const fn and(self, conditional: &'static [Conditional]) -> Rule {
        Rule { conditional, ..self }
    }

    /// Answers a refusal in another way than 403.
    #[must_use]
    pub const fn denied_as(self, on_denied: OnDenied) -> Rule {
        Rule { on_denied, ..self }
    }

    /// Whether it asks for more than a valid root key.
    pub const fn asks(&self) -> bool {
        matches!(self.who, Who::Operators) || self.main.is_some()
    }
}

/// The ids that fill the placeholders of a rule: pairs such as `("apiId", "api_…")`.
pub type Scope<'a> = &'a [(&'static str, &'a str)];

impl Expression {
    /// Whether `grants` satisfy this requirement for the things in `scope`.
    pub fn is_satisfied_by(&self, grants: &Grants, scope: Scope<'_>) -> bool {
        if grants.is_full_access() {
            return true;
        }
        match self {
            Expression::Leg(leg) => grants.holds(&fill(leg, grants.workspace_id(), scope)),
            Expression::Any(legs) => legs.iter().any(|leg| leg.is_satisfied_by(grants, scope)),
            Expression::All(legs) => legs.iter().all(|leg| leg.is_satisfied_by(grants, scope)),
        }
    }

    /// Whether `grants` could satisfy this requirement for some thing: what listings of tools ask.
    pub fn could_be_satisfied_by(&self, grants: &Grants) -> bool {
        match self {
            Expression::Leg(leg) => grants.could_hold(&fill(leg, grants.workspace_id(), &[])),
            Expression::Any(legs) => legs.iter().any(|leg| leg.could_be_satisfied_by(grants)),
            Expression::All(legs) => legs.iter().all(|leg| leg.could_be_satisfied_by(grants)),
        }
    }

    /// The ids that `grants` name one by one where this has a placeholder in a tuple (`api.{apiId}.read_analytics`).
    pub fn ids_held(&self, grants: &Grants) -> Vec<String> {
        match self {
            Expression::Leg(leg) => match grants::split_tuple(leg) {
                Some((resource, id, action)) if id.starts_with('{') => {
                    grants.ids(resource, action).into_iter().map(str::to_owned).collect()
                }
                _ => Vec::new(),
            },
            Expression::Any(legs) | Expression::All(legs) => {
                legs.iter().flat_map(|leg| leg.ids_held(grants)).collect()
            }
        }
    }

    /// The sentence that names what `grants` lack, never what they hold; `None` when they suffice.
    ///
    /// A conjunction names its first refused part. Alternatives are listed whole, in the rule's order.
    pub fn refusal(&self, grants: &Grants, scope: Scope<'_>) -> Option<String> {
        if self.is_satisfied_by(grants, scope) {
            return None;
        }
        match self {
            Expression::All(legs) => legs.iter().find_map(|leg| leg.refusal(grants, scope)),
            Expression::Leg(_) => {
                Some(format!("Missing the permission {}.", self.text(grants.workspace_id(), scope)))
            }
            Expression::Any(_) => {
                Some(format!("Missing one of these permissions: {}.", self.text(grants.workspace_id(), scope)))
            }
        }
    }

    /// The requirement as text: alternatives joined by ` or `, conjunctions by ` and `.
    pub fn text(&self, workspace_id: &str, scope: Scope<'_>) -> String {
        let joined = |legs: &[Expression], word: &str| {
            let texts: Vec<_> = legs.iter().map(|leg| leg.nested_text(workspace_id, scope)).collect();
            texts.join(word)
        };
        match self {
            Expression::Leg(leg) => fill(leg, workspace_id, scope).into_owned(),
            Expression::Any(legs) => joined(legs, " or "),
            Expression::All(legs) => joined(legs, " and "),
        }
    }

    fn nested_text(&self, workspace_id: &str, scope: Scope<'_>) -> String {
        match self {
            Expression::Leg(_) => self.text(workspace_id, scope),
            Expression::Any(_) | Expression::All(_) => format!("({})", self.text(workspace_id, scope)),
        }
    }
}

/// The wire form of `permissions.json`: a text, `{any: […]}` or `{all: […]}`.
impl Serialize for Expression {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Expression::Leg(leg) => serializer.serialize_str(leg),
            Expression::Any(legs) => serializer.collect_map([("any", legs)]),
            Expression::All(legs) => serializer.collect_map([("all", legs)]),
        }
    }
}

/// Replaces `{name}` by the id that `scope` has for it; `{workspaceId}` is always known. What is not
/// known stays a placeholder.
fn fill<'a>(leg: &'a str, workspace_id: &str, scope: Scope<'_>) -> Cow<'a, str> {
    if !leg.contains('{') {
        return Cow::Borrowed(leg);
    }
    let mut filled = String::with_capacity(leg.len() + 24);
    let mut rest = leg;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let Some((name, after)) = after.split_once('}') else { break };
        let known = scope.iter().find(|(placeholder, _)| *placeholder == name).map(|(_, id)| *id);
        match known {
            Some(id) => filled.push_str(id),
            None if name == "workspaceId" => filled.push_str(workspace_id),
            None => {
                let _ = write!(filled, "{{{name}}}");
            }
        }
        rest = after;
    }
    filled.push_str(rest);
    Cow::Owned(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Expression::{All, Any, Leg};

    const READ_KEYS: Expression = Any(&[
        All(&[
            Leg("unkey:v1:{workspaceId}:keyspaces/{keySpaceId}/keys/*#read_key"),
            Leg("unkey:v1:{workspaceId}:keyspaces/{keySpaceId}#read_keyspace"),
        ]),
        All(&[
            Any(&[Leg("api.*.read_key"), Leg("api.{apiId}.read_key")]),
            Any(&[Leg("api.*.read_api"), Leg("api.{apiId}.read_api")]),
        ]),
    ]);
    const SCOPE: Scope<'static> = &[("apiId", "api_1"), ("keySpaceId", "ks_1")];

    fn holds(permissions: &[&str]) -> Grants {
        Grants::new("ws_1", permissions.iter().copied())
    }

    #[test]
    fn a_rule_is_satisfied_by_tuples_and_by_urns() {
        for (permissions, satisfied) in [
            (&["api.*.read_key", "api.api_1.read_api"][..], true),
            (&["api.api_1.read_key"], false),
            (&["api.api_2.read_key", "api.api_2.read_api"], false),
            (&["unkey:v1:ws_1:keyspaces/ks_1/**#read_key", "unkey:v1:ws_1:keyspaces/*#read_keyspace"], true),
            (&["unkey:v1:ws_2:keyspaces/**#read_key", "unkey:v1:ws_2:keyspaces/*#read_keyspace"], false),
            (&["unkey:v1:ws_1:**#*"], true),
            (&["*"], true),
        ] {
            assert_eq!(READ_KEYS.is_satisfied_by(&holds(permissions), SCOPE), satisfied, "{permissions:?}");
        }
    }

    #[test]
    fn listing_asks_whether_a_rule_could_ever_pass() {
        assert!(READ_KEYS.could_be_satisfied_by(&holds(&["api.api_9.read_key", "api.api_9.read_api"])));
        assert!(!READ_KEYS.could_be_satisfied_by(&holds(&["api.api_9.read_key"])));
        assert!(READ_KEYS.could_be_satisfied_by(&holds(&[
            "unkey:v1:ws_1:keyspaces/ks_7/keys/*#read_key",
            "unkey:v1:ws_1:keyspaces/ks_7#read_keyspace"
        ])));
    }

    #[test]
    fn a_refusal_names_what_is_missing_and_not_what_is_held() {
        let any = Any(&[Leg("api.*.read_key"), Leg("api.{apiId}.read_key")]);
        assert_eq!(
            any.refusal(&holds(&["api.*.update_key"]), SCOPE).unwrap(),
            "Missing one of these permissions: api.*.read_key or api.api_1.read_key."
        );
        assert_eq!(
            Leg("api.*.create_api").refusal(&holds(&[]), &[]).unwrap(),
            "Missing the permission api.*.create_api."
        );
        assert_eq!(any.refusal(&holds(&["api.*.read_key"]), SCOPE), None);
    }
}
