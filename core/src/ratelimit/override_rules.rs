//! Which override applies to an identifier.
//!
//! A namespace's overrides name identifiers exactly or by a pattern in which `*` stands for any
//! run of bytes, none included. Several patterns may fit; the choice is deterministic: the
//! pattern that equals the identifier, then the longest literal prefix, then the most literal
//! text, then the oldest. Source: RO1 to RO6 of the platform behaviour, ruling R14.
//!
//! There is no escape and no other wildcard, the whole identifier must match, and case counts.
//! Matching looks at bytes: a line feed or a half of some other character is as good as any.
//!
//! Not here: what an override does (it replaces limit and duration) and where it is stored.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use foldhash::quality::RandomState;

use crate::calendar::UnixMs;

/// An override of a namespace's limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverrideRule {
    /// Id of the override.
    pub id: Arc<str>,
    /// An identifier, or a pattern with `*`.
    pub pattern: Arc<str>,
    /// The limit instead of the request's; 0 blocks.
    pub limit: i64,
    /// The window's length in ms instead of the request's.
    pub duration_ms: i64,
    /// Unix time in ms at which it was first set.
    pub created_at: UnixMs,
}

impl OverrideRule {
    /// What the rules are sorted by; the smallest that matches applies. Ids make it total.
    fn rank(&self) -> impl Ord + use<> {
        let literals = self.pattern.bytes().filter(|byte| *byte != b'*').count();
        let prefix = self.pattern.bytes().position(|byte| byte == b'*');
        let prefix = prefix.unwrap_or(self.pattern.len());
        (Reverse(prefix), Reverse(literals), self.created_at, Arc::clone(&self.id))
    }
}

/// How many `*` a pattern has. None makes it an identifier.
#[must_use]
pub fn stars(pattern: &str) -> usize {
    pattern.bytes().filter(|byte| *byte == b'*').count()
}

/// The overrides of one namespace, prepared for finding. The default has none. They change one by one while
/// others look; whoever changes them does so alone.
#[derive(Debug, Default)]
pub struct OverrideRules {
    by_pattern: papaya::HashMap<Arc<str>, Arc<OverrideRule>, RandomState>,
    wildcards: ArcSwap<Wildcards>,
}

impl OverrideRules {
    /// Prepares the rules, whose order does not matter. Of rules with equal patterns, which the
    /// store does not allow, the oldest counts.
    #[must_use]
    pub fn new(mut rules: Vec<OverrideRule>) -> Self {
        rules.sort_by_cached_key(OverrideRule::rank);
        let found = Self::default();
        let by_pattern = found.by_pattern.pin();
        for rule in rules {
            by_pattern.get_or_insert_with(Arc::clone(&rule.pattern), || Arc::new(rule));
        }
        let wildcards = by_pattern.values().filter(|rule| stars(&rule.pattern) > 0).cloned().collect();
        found.wildcards.store(Arc::new(Wildcards::new(wildcards)));
        drop(by_pattern);
        found
    }

    /// Puts a rule in the place of the one with the same pattern, if there is one.
    pub fn put(&self, rule: OverrideRule) {
        let rule = Arc::new(rule);
        self.by_pattern.pin().insert(Arc::clone(&rule.pattern), Arc::clone(&rule));
        if stars(&rule.pattern) > 0 {
            self.wildcards.store(Arc::new(self.wildcards.load().with(&rule.pattern, Some(rule.clone()))));
        }
    }

    /// Removes the rule with this pattern, if there is one.
    pub fn remove(&self, pattern: &str) {
        let is_gone = self.by_pattern.pin().remove(pattern).is_some();
        if is_gone && stars(pattern) > 0 {
            self.wildcards.store(Arc::new(self.wildcards.load().with(pattern, None)));
        }
    }

    /// The pattern of the override with this id. Looks at all of them.
    #[must_use]
    pub fn pattern_of(&self, id: &str) -> Option<Arc<str>> {
        let by_pattern = self.by_pattern.pin();
        let found = by_pattern.values().find(|rule| *rule.id == *id);
        found.map(|rule| Arc::clone(&rule.pattern))
    }

    /// The rule that applies to the identifier, if any does.
    #[must_use]
    pub fn find(&self, identifier: &str) -> Option<Arc<OverrideRule>> {
        self.find_counting(identifier, &mut 0)
    }

    /// The same, counting the rules that the identifier was searched for the pieces of.
    fn find_counting(&self, identifier: &str, searched: &mut usize) -> Option<Arc<OverrideRule>> {
        let exact = self.by_pattern.pin().get(identifier).cloned();
        exact.or_else(|| self.wildcards.load().find(identifier, searched).cloned())
    }

    /// Whether there is no rule at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_pattern.is_empty()
    }
}

/// The rules with a `*`, which are so few that all are prepared anew when one changes.
///
/// What is before its first `*` begins an identifier that matches, and what is after its last one ends it. So a
/// rule with one `*` is found and not searched for. With several there are pieces to search for; how many such
/// rules a namespace may have is bounded.
#[derive(Debug, Default)]
struct Wildcards {
    rules: Vec<Arc<OverrideRule>>,
    /// By what is before the first `*`.
    groups: ByText<Group>,
}

/// Rules that begin alike.
#[derive(Debug)]
struct Group {
    /// Those with one `*`, by what is after it.
    with_one: ByText<Arc<OverrideRule>>,
    /// Those with more, in the order of precedence.
    with_several: Vec<Arc<OverrideRule>>,
}

impl Wildcards {
    fn new(rules: Vec<Arc<OverrideRule>>) -> Wildcards {
        let mut groups: HashMap<Box<str>, Vec<Arc<OverrideRule>>> = HashMap::new();
        for rule in &rules {
            let prefix = rule.pattern.split('*').next().unwrap_or_default();
            groups.entry(prefix.into()).or_default().push(Arc::clone(rule));
        }
        let groups = groups.into_iter().map(|(prefix, rules)| (prefix, Group::new(rules)));
        Wildcards { groups: ByText::new(groups), rules }
    }

    /// These rules with another one of this pattern, or none.
    fn with(&self, pattern: &str, rule: Option<Arc<OverrideRule>>) -> Wildcards {
        let others = self.rules.iter().filter(|rule| *rule.pattern != *pattern);
        Wildcards::new(others.cloned().chain(rule).collect())
    }

    fn find<'a>(&'a self, identifier: &str, searched: &mut usize) -> Option<&'a Arc<OverrideRule>> {
        self.groups.beginning(identifier).find_map(|(prefix, group)| {
            let with_one = group.with_one.ending(&identifier[prefix..]).next();
            let with_several = group.with_several.iter().find(|rule| {
                *searched += 1;
                matches(&rule.pattern, identifier)
            });
            with_one.into_iter().chain(with_several).min_by_key(|rule| rule.rank())
        })
    }
}

impl Group {
    fn new(mut rules: Vec<Arc<OverrideRule>>) -> Group {
        rules.sort_by_cached_key(|rule| rule.rank());
        let (with_one, with_several) = rules.into_iter().partition(|rule| stars(&rule.pattern) == 1);
        let with_one: Vec<_> = with_one;
        let after_star = |rule: &OverrideRule| rule.pattern.split('*').next_back().unwrap_or_default().into();
        Group { with_one: ByText::new(with_one.into_iter().map(|rule| (after_star(&rule), rule))), with_several }
    }
}

/// Things by a text that an identifier begins or ends with.
#[derive(Debug)]
struct ByText<T> {
    /// Of the texts, in bytes, longest first.
    lengths: Vec<usize>,
    things: HashMap<Box<str>, T, RandomState>,
}

impl<T> Default for ByText<T> {
    fn default() -> Self {
        ByText { lengths: Vec::new(), things: HashMap::default() }
    }
}

impl<T> ByText<T> {
    fn new(things: impl Iterator<Item = (Box<str>, T)>) -> ByText<T> {
        let things: HashMap<_, _, _> = things.collect();
        let mut lengths: Vec<usize> = things.keys().map(|text| text.len()).collect();
        lengths.sort_unstable_by_key(|length| Reverse(*length));
        lengths.dedup();
        ByText { lengths, things }
    }

    /// What the text begins with, longest first, each with its length.
    fn beginning<'a>(&'a self, text: &str) -> impl Iterator<Item = (usize, &'a T)> {
        self.lengths.iter().filter_map(|length| Some((*length, self.things.get(text.get(..*length)?)?)))
    }

    /// What the text ends with, longest first.
    fn ending<'a>(&'a self, text: &str) -> impl Iterator<Item = &'a T> {
        self.lengths.iter().filter_map(|length| self.things.get(text.get(text.len().checked_sub(*length)?..)?))
    }
}

/// Whether the whole identifier fits the pattern.
///
/// The text before the first `*` must begin and the text after the last must end the identifier.
/// What is between further `*` is searched from left to right, each piece as early as possible,
/// which never rules out a match: an earlier end leaves more room to the pieces after it. The
/// search of `str` is linear, hence so is this, whatever the pattern. Both sides are UTF-8, in
/// which text is found exactly where its bytes are.
fn matches(pattern: &str, identifier: &str) -> bool {
    let Some((prefix, pattern)) = pattern.split_once('*') else {
        return pattern == identifier;
    };
    let (middle, suffix) = pattern.rsplit_once('*').unwrap_or(("", pattern));
    let rest = identifier.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(suffix));
    let Some(mut rest) = rest else { return false };
    middle.split('*').all(|piece| match rest.find(piece) {
        Some(start) => {
            rest = &rest[start + piece.len()..];
            true
        }
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    fn rule(pattern: &str, created_at: UnixMs) -> OverrideRule {
        OverrideRule {
            id: format!("rlor_{}", created_at.get()).into(),
            pattern: pattern.into(),
            limit: 10,
            duration_ms: 60_000,
            created_at,
        }
    }

    /// The pattern that applies when the given ones were set one after the other.
    fn applied(patterns: &[&str], identifier: &str) -> Option<String> {
        let rules = patterns.iter().zip(0..).map(|(pattern, time)| rule(pattern, UnixMs::new(time))).collect();
        OverrideRules::new(rules).find(identifier).map(|rule| rule.pattern.to_string())
    }

    #[test]
    fn a_star_matches_any_run_and_everything_else_only_itself() {
        for (pattern, identifier, expected) in [
            ("*", "", true),
            ("*", "anything\nat all", true),
            ("**", "", true),
            ("*@acme.com", "a@acme.com", true),
            ("*@acme.com", "@acme.com", true),
            ("*@acme.com", "a@acme.com.evil", false),
            ("*@acme.com", "a@ACME.com", false),
            ("user_*", "user_", true),
            ("user_*", "user_1", true),
            ("user_*", "a user_1", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "aXbbYc", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("*ab*ab*", "xabab", true),
            ("*ab*ab*", "xaby", false),
            ("*aab*b", "aaab", false),
            ("*aab*b", "aaabb", true),
            ("a?c*", "abc", false),
            ("a.c*", "abc", false),
            ("[ab]*", "a", false),
            ("\\*", "\\anything", true),
            ("é*ü", "éxü", true),
            ("é*", "e", false),
            ("a*z", "a\n\r\0z", true),
            ("plain", "plain", true),
            ("plain", "plainer", false),
        ] {
            assert_eq!(matches(pattern, identifier), expected, "{pattern} on {identifier:?}");
        }
    }

    #[test]
    fn the_most_specific_rule_applies_whatever_came_first() {
        for (patterns, identifier, expected) in [
            (&["*", "user_*", "user_1"][..], "user_1", Some("user_1")),
            (&["*", "user_*", "user_1"], "user_2", Some("user_*")),
            (&["*", "user_*", "user_1"], "other", Some("*")),
            (&["*@acme.com", "a*"], "a@acme.com", Some("a*")),
            (&["a*", "a*m"], "a@acme.com", Some("a*m")),
            (&["*m", "*@acme.com"], "a@acme.com", Some("*@acme.com")),
            (&["*a*", "*a"], "banana", Some("*a*")),
            (&["*a", "*a*"], "banana", Some("*a")),
            (&["user_*"], "other", None),
            (&[], "other", None),
        ] {
            assert_eq!(applied(patterns, identifier).as_deref(), expected, "{patterns:?} {identifier}");
        }
    }

    #[test]
    fn a_pattern_that_equals_the_identifier_comes_first_even_with_stars() {
        let patterns = ["long prefix*", "long*", "*"];
        assert_eq!(applied(&patterns, "long*").as_deref(), Some("long*"));
        assert_eq!(applied(&patterns, "*").as_deref(), Some("*"));
    }

    #[test]
    fn the_order_of_the_rules_does_not_matter() {
        let forward = vec![
            rule("*a", UnixMs::new(2)),
            rule("*n*", UnixMs::new(1)),
            rule("*", UnixMs::new(3)),
            rule("*a", UnixMs::new(0)),
        ];
        let backward = forward.iter().rev().cloned().collect();
        let found = [forward, backward].map(|rules| OverrideRules::new(rules).find("banana"));
        assert_eq!(
            found,
            [rule("*a", UnixMs::new(0)), rule("*a", UnixMs::new(0))].map(|rule| Some(Arc::new(rule)))
        );
    }

    #[test]
    fn an_empty_set_of_rules_says_so() {
        assert!(OverrideRules::default().is_empty());
        assert!(!OverrideRules::new(vec![rule("a", UnixMs::new(0))]).is_empty());
    }

    #[test]
    fn spiteful_patterns_take_no_time() {
        let identifier = "a".repeat(2_000);
        let began = Instant::now();
        for _ in 0..100 {
            assert!(!matches(&format!("{}b", "a*".repeat(1_000)), &identifier));
            assert!(!matches(&format!("*{}b*", "a".repeat(1_000)), &identifier));
            assert!(!matches(&format!("*{}*", "a*b*".repeat(500)), &identifier));
        }
        assert!(began.elapsed() < Duration::from_secs(5));
    }

    /// The definition itself: a star takes nothing, or one byte and may go on.
    fn naively_matches(pattern: &[u8], identifier: &[u8]) -> bool {
        match (pattern, identifier) {
            ([], []) => true,
            ([b'*', after @ ..], _) => {
                naively_matches(after, identifier)
                    || identifier.split_first().is_some_and(|(_, rest)| naively_matches(pattern, rest))
            }
            ([first, pattern @ ..], [same, identifier @ ..]) if first == same => {
                naively_matches(pattern, identifier)
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matching_agrees_with_the_definition(pattern in "[ab*é\n]{0,8}", identifier in "[ab*é\n]{0,10}") {
            let expected = naively_matches(pattern.as_bytes(), identifier.as_bytes());
            prop_assert_eq!(matches(&pattern, &identifier), expected);
        }

        #[test]
        fn the_rule_found_matches_and_no_other_match_ranks_before_it(
            patterns in prop::collection::vec(("[ab*]{1,5}", 0_i64..3), 0..8),
            identifier in "[ab*]{0,6}",
        ) {
            let rules: Vec<_> = patterns.iter().map(|(pattern, time)| rule(pattern, UnixMs::new(*time))).collect();
            let matching = rules.iter().filter(|rule| matches(&rule.pattern, &identifier));
            let best = matching.min_by_key(|rule| (*rule.pattern != *identifier, rule.rank()));
            let compiled = OverrideRules::new(rules.clone());
            let found = compiled.find(&identifier);
            // Equal in all that ranks: such rules are not told apart by anything here.
            prop_assert!(found.as_deref().map(OverrideRule::rank) == best.map(OverrideRule::rank));
            prop_assert!(found.is_none_or(|rule| matches(&rule.pattern, &identifier)));
        }

        #[test]
        fn rules_that_are_put_and_removed_one_by_one_agree_with_a_list(
            steps in prop::collection::vec(("[ab*]{1,5}", prop::bool::weighted(0.7), "[ab*]{0,6}"), 1..40),
        ) {
            let (rules, mut list) = (OverrideRules::default(), Vec::<OverrideRule>::new());
            for ((pattern, is_put, identifier), time) in steps.iter().zip(0..) {
                let known = list.iter().position(|rule| *rule.pattern == **pattern);
                let known = known.map(|at| list.swap_remove(at));
                if *is_put {
                    // Setting again keeps the id and the time.
                    let rule = OverrideRule { limit: time, ..known.unwrap_or_else(|| rule(pattern, UnixMs::new(time))) };
                    prop_assert_eq!(rules.pattern_of(&rule.id).is_some(), rule.created_at != UnixMs::new(time));
                    rules.put(rule.clone());
                    list.push(rule);
                } else {
                    rules.remove(pattern);
                }
                let matching = list.iter().filter(|rule| matches(&rule.pattern, identifier));
                let best = matching.min_by_key(|rule| (*rule.pattern != **identifier, rule.rank()));
                let found = rules.find(identifier);
                prop_assert_eq!(found.as_deref(), best);
                prop_assert_eq!(rules.is_empty(), list.is_empty());
            }
        }
    }

    /// The worst set that a namespace may have, and identifiers that begin and end like all of it.
    #[test]
    fn a_thousand_patterns_are_searched_for_only_where_they_have_several_stars() {
        let several = (0..100).map(|number| rule(&format!("a*a*a*a*a*a*Q{number:03}*z"), UnixMs::new(number)));
        let one = (100..1_000).map(|number| rule(&format!("a*{number:03}z"), UnixMs::new(number)));
        let rules = OverrideRules::new(several.chain(one).collect());
        let mut searched = 0;
        for number in 0..100 {
            let identifier = format!("{}{number:03}z", "a".repeat(500));
            assert_eq!(rules.find_counting(&identifier, &mut searched), None);
        }
        assert_eq!(searched, 100 * 100);
        let found = rules.find_counting("a 500z", &mut 0).expect("there is one");
        assert_eq!(&*found.pattern, "a*500z");
        let elsewhere = (0..1_000).map(|number| rule(&format!("user_{number:03}*x*y"), UnixMs::new(number)));
        searched = 0;
        let found = OverrideRules::new(elsewhere.collect()).find_counting("user_500 x y", &mut searched);
        assert_eq!((found.expect("there is one").created_at, searched), (UnixMs::new(500), 1));
    }
}
