//! Chance against what reads texts from outside: request bodies, permission queries, override patterns.

use keyrack_test_harness::fuzz::{Chance, corpus, rounds};
use serde_json::Value;

use crate::Code;
use crate::calendar::UnixMs;
use crate::catalogue::{Operation, Visitor, body_schema, read_body, request_schema};
use crate::json;
use crate::keys::address_list::AddressList;
use crate::operations;
use crate::operations::keys::VerifyKey;
use crate::operations::ratelimit::Limit;
use crate::ratelimit::override_rules::{OverrideRule, OverrideRules};
use crate::rbac::query::Query;
use crate::schema::ADDRESS_OR_NETWORK;

/// An operation as fuzzing sees it.
struct Target {
    name: &'static str,
    /// The schema of its body.
    schema: &'static Value,
    /// The schema as a library reads it.
    oracle: jsonschema::Validator,
    /// Whether a body is read; otherwise the code of the refusal.
    read: fn(&str) -> Result<(), Code>,
    /// Whether a value has no faults.
    accepts: fn(&Value) -> bool,
}

struct Targets(Vec<Target>);

impl Visitor for Targets {
    fn operation<O: Operation>(&mut self) {
        let schema = body_schema::<O>().as_value();
        let is_address = |text: &str| AddressList::is_entry(text);
        let options = jsonschema::options().should_validate_formats(true);
        let oracle = options.with_format(ADDRESS_OR_NETWORK, is_address).build(schema).unwrap();
        self.0.push(Target {
            name: O::ABOUT.name,
            schema,
            oracle,
            read: |text| read_body::<O>(text).map(|_| ()).map_err(|error| error.code()),
            accepts: |value| body_schema::<O>().faults(value).is_empty(),
        });
    }
}

fn targets() -> Vec<Target> {
    let mut targets = Targets(Vec::new());
    operations::each(&mut targets);
    targets.0
}

impl Target {
    /// Ours refuses more than JSON Schema does: what no type can hold, or no client reads back.
    fn check_value(&self, value: &Value) {
        let ours = (self.accepts)(value);
        assert_eq!(ours, self.oracle.is_valid(value), "{}: {value}", self.name);
        let read = (self.read)(&value.to_string());
        assert_eq!(read.is_ok(), ours, "{}: {read:?}: {value}", self.name);
        assert!(read.is_ok() || read == Err(Code::InvalidInput), "{}: {read:?}: {value}", self.name);
    }

    /// Any text is read, invalid or unreadable; schema and type never disagree.
    fn check_text(&self, text: &str) {
        let read = (self.read)(text);
        assert!(
            matches!(read, Ok(()) | Err(Code::InvalidInput | Code::RequestBodyUnreadable)),
            "{}: {read:?}: {text}",
            self.name
        );
        if read.is_ok() {
            let value = json::read(text.as_bytes()).unwrap();
            assert!((self.accepts)(&value), "{}: {text}", self.name);
        }
    }
}

#[test]
fn what_ever_failed_in_a_body_does_not_fail_again() {
    let targets = targets();
    for (file, bytes) in corpus("bodies") {
        let text = String::from_utf8_lossy(&bytes);
        for target in &targets {
            target.check_text(&text);
        }
        assert!(targets.iter().any(|target| file.starts_with(target.name)), "{file} names no operation");
    }
}

#[test]
fn schemas_and_types_accept_the_same_bodies_as_a_library_does() {
    let targets = targets();
    for mut chance in rounds("bodies") {
        for target in &targets {
            let value = chance.request(target.schema);
            target.check_value(&value);
            let mut text = value.to_string().into_bytes();
            chance.damage(&mut text);
            target.check_text(&String::from_utf8_lossy(&text));
        }
    }
}

/// What the type of a hot operation reads the schema accepts, and the other way round; but for integers written as
/// `1.0`.
fn hot<O: Operation>(is_plain: fn(&str) -> bool, text: &str) {
    let typed = is_plain(text);
    let read = read_body::<O>(text);
    let has_fraction = text.contains(['.', 'e', 'E']);
    assert!(typed == read.is_ok() || (!typed && has_fraction), "{}: {text}", O::ABOUT.name);
}

#[test]
fn the_hot_paths_accept_the_same_bodies_as_their_schemas() {
    let (verify, limit) =
        (request_schema::<VerifyKey>().as_value().clone(), request_schema::<Limit>().as_value().clone());
    for mut chance in rounds("hot bodies") {
        let verify_key: fn(&str) = |text| hot::<VerifyKey>(VerifyKey::is_plain, text);
        let check_limit: fn(&str) = |text| hot::<Limit>(Limit::is_plain, text);
        for (schema, check) in [(&verify, verify_key), (&limit, check_limit)] {
            let mut text = chance.request(schema).to_string();
            if chance.once_in(3) {
                let mut bytes = text.into_bytes();
                chance.damage(&mut bytes);
                text = String::from_utf8_lossy(&bytes).into_owned();
            }
            check(&text);
        }
    }
}

#[test]
fn a_permission_query_is_read_or_refused_at_a_place_of_its_text() {
    let pieces = ["a", "b.c", " ", "AND", "and", "OR", "(", ")", "*", "/", "é", "\0", "\u{202e}", "NOT", ","];
    for mut chance in rounds("permission queries") {
        let text = chance.text(&pieces, 40);
        match Query::parse(&text) {
            Ok(query) => {
                // There is no NOT: who holds everything satisfies every query, who holds nothing none.
                assert!(query.is_satisfied_by(|_| true), "{text}");
                assert!(!query.is_satisfied_by(|_| false), "{text}");
            }
            Err(error) => assert!(error.position() <= text.len() && !error.message().is_empty(), "{text}"),
        }
    }
}

/// Whether a pattern matches, by trying: `*` is any text.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], text) => text.is_empty(),
        ([b'*', rest @ ..], text) => (0..=text.len()).any(|from| matches(rest, &text[from..])),
        ([first, pattern @ ..], [letter, text @ ..]) => first == letter && matches(pattern, text),
        _ => false,
    }
}

fn rule(chance: &mut Chance, at: usize) -> OverrideRule {
    OverrideRule {
        id: format!("rlor_{at}").as_str().into(),
        pattern: chance.text(&["a", "b", "*", "ab"], 5).as_str().into(),
        limit: 1,
        duration_ms: 1000,
        created_at: UnixMs::new(0),
    }
}

#[test]
fn an_override_is_found_exactly_when_its_pattern_matches() {
    for mut chance in rounds("override patterns") {
        let rules: Vec<_> = (0..1 + chance.below(5)).map(|at| rule(&mut chance, at)).collect();
        let identifier = chance.text(&["a", "b"], 8);
        let patterns: Vec<String> = rules.iter().map(|rule| rule.pattern.to_string()).collect();
        let found = OverrideRules::new(rules).find(&identifier).map(|rule| rule.pattern.to_string());
        let matching: Vec<_> =
            patterns.iter().filter(|pattern| matches(pattern.as_bytes(), identifier.as_bytes())).collect();
        match &found {
            Some(pattern) => assert!(matching.contains(&pattern), "{patterns:?} {identifier}: {pattern}"),
            None => assert!(matching.is_empty(), "{patterns:?} {identifier}: none found"),
        }
        let exact = patterns.iter().any(|pattern| **pattern == identifier);
        assert!(
            !exact || found.as_deref() == Some(&*identifier),
            "exact beats wildcard: {patterns:?} {identifier}"
        );
    }
}
