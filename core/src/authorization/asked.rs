//! What the rules of the catalogue can ask for, and what a grant that none of them asks for was meant to be.
//!
//! A URN that no rule asks for makes a root key that looks right and is good for nothing, so it is refused when it is
//! granted. It is read from the catalogue itself: a new operation is known here at once.

use std::sync::LazyLock;

use super::Expression;
use super::urn::Urn;
use crate::catalogue::{self, Operation, Visitor};

/// The place of the workspace's id in rules.
const WORKSPACE: &str = "{workspaceId}";

/// Every permission text of every rule, with its placeholders, once.
pub(super) fn legs() -> &'static [&'static str] {
    static LEGS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
        let mut legs = Legs(Vec::new());
        catalogue::each(&mut legs);
        legs.0.sort_unstable();
        legs.0.dedup();
        legs.0
    });
    &LEGS
}

struct Legs(Vec<&'static str>);

impl Legs {
    fn add(&mut self, expression: &Expression) {
        match expression {
            Expression::Leg(leg) => self.0.push(leg),
            Expression::Any(parts) | Expression::All(parts) => parts.iter().for_each(|part| self.add(part)),
        }
    }
}

impl Visitor for Legs {
    fn operation<O: Operation>(&mut self) {
        let rule = const { &O::ABOUT.rule };
        rule.main.iter().for_each(|check| self.add(check));
        rule.conditional.iter().for_each(|conditional| self.add(&conditional.check));
    }
}

fn urns() -> &'static [Urn] {
    static URNS: LazyLock<Vec<Urn>> = LazyLock::new(|| legs().iter().filter_map(|leg| Urn::parse(leg)).collect());
    &URNS
}

/// Whether any rule could ask for what this grant gives.
pub(super) fn is_asked_for(grant: &Urn) -> bool {
    let grant = Urn { workspace_id: WORKSPACE.to_owned(), ..grant.clone() };
    grant.is_full_access() || urns().iter().any(|asked| grant.could_cover(asked))
}

/// The grant that somebody rules ask for and that is most like this one, which none asks for.
pub(super) fn nearest(grant: &Urn) -> String {
    let template = Urn { workspace_id: WORKSPACE.to_owned(), ..grant.clone() };
    // A right path with a wrong action keeps its path.
    let same_path = urns().iter().filter(|asked| {
        let acting = Urn { action: asked.action.clone(), ..template.clone() };
        acting.could_cover(asked)
    });
    let distance = |text: &str| strsim::damerau_levenshtein(&grant.to_string(), text);
    let with_path = same_path.map(|asked| Urn { action: asked.action.clone(), ..grant.clone() }.to_string());
    let candidates: Vec<String> = with_path.collect();
    let candidates = if candidates.is_empty() {
        urns().iter().flat_map(|asked| forms(asked, grant)).collect()
    } else {
        candidates
    };
    candidates.into_iter().min_by_key(|text| distance(text)).unwrap_or_default()
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
    use crate::authorization::validate_grant;

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
        assert!(legs().len() > 60 && urns().len() > 20, "{} legs", legs().len());
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
                let grants = crate::authorization::Grants::new("ws_1", [held]);
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
                if legs().iter().any(|leg| granted(leg) == slip) {
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
}
