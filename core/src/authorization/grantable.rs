//! What may be granted: what the rules of operations can ask for.
//!
//! A permission that no rule asks for makes a root key that looks right and is good for nothing, so it is refused when
//! it is granted. The rules are those that are given: a new operation is known here at once.

use std::collections::BTreeMap;

use super::grants::split_tuple;
use super::urn::Urn;
use super::{Expression, Rule};

/// The place of the workspace's id in rules.
const WORKSPACE: &str = "{workspaceId}";
/// Tuples that no rule asks for yet and that root keys may have for what is to come, or for another service with the
/// same wire.
const FORESEEN: [&str; 8] = [
    "ratelimit.*.update_namespace",
    "ratelimit.*.list_overrides",
    "rbac.*.remove_role_from_key",
    "portal.*.create_portal",
    "portal.*.read_portal",
    "portal.*.update_portal",
    "portal.*.delete_portal",
    "portal.*.create_portal_session",
];

/// All that may be granted, besides `*`.
#[derive(Debug)]
pub struct Grantable {
    /// Permission texts of rules, with their placeholders, and the operations that ask for each.
    asked: BTreeMap<&'static str, Vec<&'static str>>,
    /// Resources of tuples with their actions, in the order of rules.
    tuples: Vec<(&'static str, Vec<&'static str>)>,
    urns: Vec<Urn>,
}

/// A text that is no permission of this workspace, with what to send instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownPermission {
    /// What is wrong with the text.
    pub message: String,
    /// What to send instead.
    pub fix: String,
}

impl Grantable {
    /// What these rules can ask for, each with the name of its operation.
    pub fn of(rules: impl IntoIterator<Item = (&'static str, &'static Rule)>) -> Self {
        let mut grantable = Grantable { asked: BTreeMap::new(), tuples: Vec::new(), urns: Vec::new() };
        for (operation, rule) in rules {
            rule.main.iter().for_each(|check| grantable.add(operation, check));
            rule.conditional.iter().for_each(|conditional| grantable.add(operation, &conditional.check));
        }
        FORESEEN.into_iter().for_each(|tuple| grantable.add_tuple(tuple));
        grantable.urns = grantable.asked.keys().filter_map(|leg| Urn::parse(leg)).collect();
        grantable
    }

    fn add(&mut self, operation: &'static str, expression: &Expression) {
        match expression {
            Expression::Leg(leg) => {
                let operations = self.asked.entry(leg).or_default();
                if operations.last() != Some(&operation) {
                    operations.push(operation);
                }
                self.add_tuple(leg);
            }
            Expression::Any(parts) | Expression::All(parts) => {
                parts.iter().for_each(|part| self.add(operation, part));
            }
        }
    }

    fn add_tuple(&mut self, leg: &'static str) {
        let Some((resource, _, action)) = split_tuple(leg) else { return };
        match self.tuples.iter_mut().find(|(known, _)| *known == resource) {
            Some((_, actions)) if actions.contains(&action) => {}
            Some((_, actions)) => actions.push(action),
            None => self.tuples.push((resource, vec![action])),
        }
    }

    /// Every permission text of every rule, with its placeholders, and the operations that ask for it.
    pub fn asked(&self) -> impl Iterator<Item = (&'static str, &[&'static str])> {
        self.asked.iter().map(|(leg, operations)| (*leg, operations.as_slice()))
    }

    /// Checks that `permission` may be granted in the workspace: `*`, a known tuple, or a URN of the workspace
    /// that the rule of an operation can ask for.
    ///
    /// # Errors
    /// Says what is wrong and what to send instead.
    pub fn validate(&self, workspace_id: &str, permission: &str) -> Result<(), UnknownPermission> {
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
                    fix:
                        "Use letters, digits, `_`, `-` and `.`, or `*` for any one and a final `**` for any rest."
                            .to_owned(),
                });
            }
            if !self.is_asked_for(&urn) {
                return Err(UnknownPermission {
                    message: "gives nothing that an operation asks for".to_owned(),
                    fix: format!("The nearest that does is `{}`.", self.nearest(&urn)),
                });
            }
            return Ok(());
        }
        let tuple = split_tuple(permission).filter(|(_, id, _)| *id == "*" || is_id(id));
        let actions = tuple.and_then(|(resource, _, _)| self.tuples.iter().find(|(known, _)| *known == resource));
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
                    self.tuples.iter().map(|(resource, _)| *resource).collect::<Vec<_>>().join(", ")
                ),
            }),
        }
    }

    /// Whether any rule could ask for what this grant gives.
    fn is_asked_for(&self, grant: &Urn) -> bool {
        let grant = Urn { workspace_id: WORKSPACE.to_owned(), ..grant.clone() };
        grant.is_full_access() || self.urns.iter().any(|asked| grant.could_cover(asked))
    }

    /// The grant that somebody rules ask for and that is most like this one, which none asks for.
    fn nearest(&self, grant: &Urn) -> String {
        let template = Urn { workspace_id: WORKSPACE.to_owned(), ..grant.clone() };
        // A right path with a wrong action keeps its path.
        let same_path = self.urns.iter().filter(|asked| {
            let acting = Urn { action: asked.action.clone(), ..template.clone() };
            acting.could_cover(asked)
        });
        let distance = |text: &str| strsim::damerau_levenshtein(&grant.to_string(), text);
        let with_path = same_path.map(|asked| Urn { action: asked.action.clone(), ..grant.clone() }.to_string());
        let candidates: Vec<String> = with_path.collect();
        let candidates = if candidates.is_empty() {
            self.urns.iter().flat_map(|asked| forms(asked, grant)).collect()
        } else {
            candidates
        };
        candidates.into_iter().min_by_key(|text| distance(text)).unwrap_or_default()
    }
}

/// Whether a text could be an id of ours or of the service that keys were imported from.
fn is_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

/// What is asked, as it could be granted: for the ids that the grant has in the same places, and for everything
/// below the first segment.
fn forms(asked: &Urn, grant: &Urn) -> [String; 2] {
    let id = |at: usize| grant.segments.get(at).filter(|segment| *segment != "**").map_or("*", String::as_str);
    let segments = asked.segments.iter().enumerate();
    let segments =
        segments.map(|(at, segment)| if segment.starts_with('{') { id(at) } else { segment }.to_owned());
    let of = |segments: Vec<String>| {
        Urn { workspace_id: grant.workspace_id.clone(), segments, action: asked.action.clone() }.to_string()
    };
    [of(segments.collect()), of(vec![asked.root().to_owned(), "**".to_owned()])]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authorization::Grants;
    use crate::operations::grantable;

    fn legs() -> impl Iterator<Item = &'static str> {
        grantable().asked().map(|(leg, _)| leg)
    }

    fn validate_grant(workspace_id: &str, permission: &str) -> Result<(), UnknownPermission> {
        grantable().validate(workspace_id, permission)
    }

    fn granted(leg: &str) -> String {
        let mut text = leg.replace(WORKSPACE, "ws_1");
        while let Some((before, after)) = text.split_once('{') {
            let (_, after) = after.split_once('}').unwrap();
            text = format!("{before}x_1{after}");
        }
        text
    }

    /// Every text that differs in one letter of a word.
    fn slips(text: &str) -> Vec<String> {
        let letters = text.char_indices().filter(|(_, letter)| letter.is_ascii_alphabetic());
        letters
            .flat_map(|(at, letter)| {
                let (before, after) = (&text[..at], &text[at + 1..]);
                let other = if letter == 'q' { 'z' } else { 'q' };
                [
                    format!("{before}{after}"),
                    format!("{before}{letter}{letter}{after}"),
                    format!("{before}{other}{after}"),
                ]
            })
            .collect()
    }

    #[test]
    fn whatever_a_rule_can_ask_for_may_be_granted() {
        assert!(legs().count() > 60 && grantable().urns.len() > 20, "{} legs", legs().count());
        for leg in legs() {
            for text in [granted(leg), granted(leg).replace("x_1", "*")] {
                assert_eq!(validate_grant("ws_1", &text), Ok(()), "{text}");
            }
        }
        for enclosing in ["keyspaces/**#read_key", "**#read_key", "**#*", "keyspaces/ks_1/**#verify_key"] {
            assert_eq!(validate_grant("ws_1", &format!("unkey:v1:ws_1:{enclosing}")), Ok(()), "{enclosing}");
        }
    }

    /// Nothing is read for those who could not, so whoever may must be among those who could.
    #[test]
    fn whoever_satisfies_a_rule_for_some_thing_could_satisfy_it() {
        for leg in legs() {
            let some = granted(leg);
            let all = some.replace("x_1", "*");
            for held in [some.as_str(), &all, "unkey:v1:ws_1:**#*", "*"] {
                let grants = Grants::new("ws_1", [held]);
                if grants.holds(&some) {
                    let asked = Expression::Leg(leg);
                    assert!(asked.could_be_satisfied_by(&grants), "{held} for {leg}");
                }
            }
        }
    }

    #[test]
    fn a_slip_of_one_letter_is_refused_and_the_right_text_is_named() {
        let (mut refused, mut urns, mut named) = (0, 0, 0);
        for leg in legs() {
            let right = granted(leg);
            let start = if right.starts_with("unkey:") { "unkey:v1:ws_1:".len() } else { 0 };
            let slips =
                slips(&right[start..]).into_iter().step_by(4).map(|slip| format!("{}{slip}", &right[..start]));
            // A slip within an id is another id; one that another rule asks for is another grant.
            let is_id = |slip: &str| {
                slip.split(['.', '/', '#', ':'])
                    .any(|part| part.ends_with("_1") && part != "ws_1" && part != "x_1")
            };
            for slip in slips.filter(|slip| !is_id(slip)) {
                if legs().any(|leg| granted(leg) == slip) {
                    continue;
                }
                let unknown = validate_grant("ws_1", &slip).expect_err(&slip);
                refused += 1;
                if let Some((_, action)) = right.split_once('#') {
                    urns += 1;
                    named += usize::from(unknown.fix.contains(action));
                }
            }
        }
        assert!(refused > 500 && urns > 200, "{refused}, {urns}");
        assert!(named * 10 >= urns * 9, "{named} of {urns} say the right action");
    }

    #[test]
    fn the_nearest_right_grant_keeps_what_was_right() {
        for (wrong, right) in [
            ("keyspaces/**#read_kye", "keyspaces/**#read_key"),
            ("keyspace/ks_1/keys/*#read_key", "keyspaces/ks_1/keys/*#read_key"),
            ("rootKeys/*#wrte", "rootKeys/*#write"),
            ("rootkeys/*#read", "rootKeys/*#read"),
        ] {
            let unknown = validate_grant("ws_1", &format!("unkey:v1:ws_1:{wrong}")).unwrap_err();
            assert!(unknown.fix.contains(&format!("`unkey:v1:ws_1:{right}`")), "{wrong}: {unknown:?}");
        }
    }

    #[test]
    fn whatever_the_contract_knows_may_be_granted() {
        let contract: serde_json::Value =
            serde_json::from_str(include_str!("../../../tests/contract/permissions.json")).unwrap();
        let known = contract["permissions"].as_array().unwrap();
        assert!(known.len() > 30, "{}", known.len());
        for permission in known {
            let wildcard = permission["wildcard"].as_str().unwrap();
            assert_eq!(validate_grant("ws_1", wildcard), Ok(()), "{wildcard}");
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
