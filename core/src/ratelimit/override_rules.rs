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
    pub created_at: i64,
}

impl OverrideRule {
    /// What the rules are sorted by; the smallest that matches applies. Ids make it total.
    fn rank(&self) -> impl Ord + use<> {
        let literals = self.pattern.bytes().filter(|byte| *byte != b'*').count();
        let prefix = self.pattern.bytes().position(|byte| byte == b'*');
        let prefix = prefix.unwrap_or(self.pattern.len());
        (Reverse(prefix), Reverse(literals), self.created_at, Arc::clone(&self.id))
    }

    fn is_wildcard(&self) -> bool {
        self.pattern.contains('*')
    }
}

/// The overrides of one namespace, prepared for finding. The default has none.
#[derive(Debug, Clone, Default)]
pub struct OverrideRules {
    by_pattern: HashMap<Arc<str>, OverrideRule>,
    /// Those with a `*`, in the order of precedence.
    wildcards: Vec<OverrideRule>,
}

impl OverrideRules {
    /// Prepares the rules, whose order does not matter. Of rules with equal patterns, which the
    /// store does not allow, the oldest counts.
    #[must_use]
    pub fn new(mut rules: Vec<OverrideRule>) -> Self {
        rules.sort_by_cached_key(OverrideRule::rank);
        let mut by_pattern = HashMap::with_capacity(rules.len());
        for rule in &rules {
            by_pattern.entry(Arc::clone(&rule.pattern)).or_insert_with(|| rule.clone());
        }
        rules.retain(OverrideRule::is_wildcard);
        Self { by_pattern, wildcards: rules }
    }

    /// The rule that applies to the identifier, if any does.
    #[must_use]
    pub fn find(&self, identifier: &str) -> Option<&OverrideRule> {
        let fits = |rule: &&OverrideRule| matches(&rule.pattern, identifier);
        self.by_pattern.get(identifier).or_else(|| self.wildcards.iter().find(fits))
    }

    /// Whether there is no rule at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_pattern.is_empty()
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

    fn rule(pattern: &str, created_at: i64) -> OverrideRule {
        OverrideRule {
            id: format!("rlor_{created_at}").into(),
            pattern: pattern.into(),
            limit: 10,
            duration_ms: 60_000,
            created_at,
        }
    }

    /// The pattern that applies when the given ones were set one after the other.
    fn applied(patterns: &[&str], identifier: &str) -> Option<String> {
        let rules = patterns.iter().zip(0..).map(|(pattern, time)| rule(pattern, time)).collect();
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
        let forward = vec![rule("*a", 2), rule("*n*", 1), rule("*", 3), rule("*a", 0)];
        let backward = forward.iter().rev().cloned().collect();
        let found = [forward, backward].map(|rules| OverrideRules::new(rules).find("banana").cloned());
        assert_eq!(found, [Some(rule("*a", 0)), Some(rule("*a", 0))]);
    }

    #[test]
    fn an_empty_set_of_rules_says_so() {
        assert!(OverrideRules::default().is_empty());
        assert!(!OverrideRules::new(vec![rule("a", 0)]).is_empty());
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
            let rules: Vec<_> = patterns.iter().map(|(pattern, time)| rule(pattern, *time)).collect();
            let matching = rules.iter().filter(|rule| matches(&rule.pattern, &identifier));
            let best = matching.min_by_key(|rule| (*rule.pattern != *identifier, rule.rank()));
            let compiled = OverrideRules::new(rules.clone());
            let found = compiled.find(&identifier);
            // Equal in all that ranks: such rules are not told apart by anything here.
            prop_assert!(found.map(OverrideRule::rank) == best.map(OverrideRule::rank));
            prop_assert!(found.is_none_or(|rule| matches(&rule.pattern, &identifier)));
        }
    }
}
