//! Checking a request against its schema while it is read.
//!
//! The schema is compiled into [`Node`]s, and a request goes by them once, whatever it is read from. Nothing of
//! it is kept: what an array has too many of is counted and not looked at, and after as many faults as a report takes
//! nothing is looked at any more, so that a body full of faults costs no more than its own bytes.

use std::fmt;

use regex::Regex;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

use super::describe;
use super::report::{Place, Report, SHOWN_NAME, Step, sent_twice};
use super::secrets::Places;
use crate::error::Fault;
use crate::json::{self, Ignored, MAX_DEPTH, Name, Names};
use crate::keys::address_list::AddressList;

/// Texts up to this many characters may be shown in a fault; no issued key is that short.
const SHOWN_CHARACTERS: usize = 15;
/// The `format` of texts that are an address or a network.
pub(crate) const ADDRESS_OR_NETWORK: &str = "address-or-network";

/// One place of a schema.
#[derive(Debug)]
pub(super) struct Node {
    kinds: Vec<Kind>,
    /// What is allowed, in words.
    expected: String,
    /// Whether values are never shown.
    is_secret: bool,
    /// The texts that are allowed, if only some are.
    options: Option<Vec<Value>>,
    pattern: Option<Regex>,
    is_address: bool,
    characters: Bounds,
    least: Option<Number>,
    most: Option<Number>,
    items: Option<Box<Node>>,
    item_count: Bounds,
    members: Vec<Member>,
    /// Whether members that are not named are refused.
    is_closed: bool,
    member_count: Bounds,
    /// Members of which exactly one is sent.
    choice: Vec<String>,
}

/// A place in what people attach.
static ANYTHING: Node = Node {
    kinds: Vec::new(),
    expected: String::new(),
    is_secret: false,
    options: None,
    pattern: None,
    is_address: false,
    characters: Bounds::NONE,
    least: None,
    most: None,
    items: None,
    item_count: Bounds::NONE,
    members: Vec::new(),
    is_closed: false,
    member_count: Bounds::NONE,
    choice: Vec::new(),
};

#[derive(Debug)]
struct Member {
    name: String,
    node: Node,
    is_required: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Null,
    Boolean,
    Integer,
    Number,
    Text,
    Array,
    Object,
}

/// How many of something there may be.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    least: usize,
    most: usize,
}

impl Bounds {
    const NONE: Bounds = Bounds { least: 0, most: usize::MAX };

    fn of(schema: &Value, least: &str, most: &str) -> Self {
        let bound =
            |name: &str| schema.get(name).and_then(Value::as_u64).and_then(|bound| usize::try_from(bound).ok());
        Bounds { least: bound(least).unwrap_or(0), most: bound(most).unwrap_or(usize::MAX) }
    }

    fn hold(self, count: usize) -> bool {
        (self.least..=self.most).contains(&count)
    }
}

/// What schemas of requests are made of; another keyword would be in the documents and not be checked.
const KEYWORDS: &[&str] = &[
    "type",
    "enum",
    "pattern",
    "format",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "items",
    "minItems",
    "maxItems",
    "properties",
    "required",
    "additionalProperties",
    "minProperties",
    "maxProperties",
    "oneOf",
    "description",
    "default",
    "deprecated",
];

/// What a member has to be, in words. Who sends a date or seconds is told what times are.
fn expected(schema: &Value) -> String {
    let is_time = schema["description"].as_str().is_some_and(|text| text.contains("Unix ms"));
    let unit = if is_time && schema["type"] != "string" { ", in Unix ms" } else { "" };
    format!("{}{unit}", describe(schema))
}

impl Node {
    /// Compiles the schema of the place `pointer`; the values of `secrets` are never shown.
    ///
    /// # Panics
    /// When the schema uses what this module does not check, which a test over all operations excludes.
    #[expect(clippy::expect_used, reason = "schemas are generated, and all of them are compiled by a test")]
    pub(super) fn compile(schema: &Value, pointer: &str, secrets: &Places) -> Node {
        let keywords = schema.as_object().expect("a schema is an object");
        for keyword in keywords.keys() {
            assert!(KEYWORDS.contains(&keyword.as_str()), "{pointer}: requests are not checked for `{keyword}`");
        }
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let member = |(name, schema): (&String, &Value)| Member {
            node: Node::compile(schema, &format!("{pointer}/{name}"), secrets),
            is_required: required.contains(&name.as_str()),
            name: name.clone(),
        };
        let members: Vec<_> = schema["properties"].as_object().into_iter().flatten().map(member).collect();
        assert!(members.len() <= 64, "{pointer}: which members were seen is kept in 64 bits");
        let alternatives = schema["oneOf"].as_array().into_iter().flatten();
        let pattern = schema["pattern"].as_str();
        Node {
            kinds: kinds(schema),
            expected: expected(schema),
            is_secret: secrets.has(pointer),
            options: schema["enum"].as_array().cloned(),
            pattern: pattern.map(|pattern| Regex::new(pattern).expect("a pattern is a regular expression")),
            is_address: schema["format"] == ADDRESS_OR_NETWORK,
            characters: Bounds::of(schema, "minLength", "maxLength"),
            least: schema["minimum"].as_number().cloned(),
            most: schema["maximum"].as_number().cloned(),
            items: schema
                .get("items")
                .map(|items| Box::new(Node::compile(items, &format!("{pointer}/*"), secrets))),
            item_count: Bounds::of(schema, "minItems", "maxItems"),
            members,
            is_closed: schema["additionalProperties"] == false,
            member_count: Bounds::of(schema, "minProperties", "maxProperties"),
            choice: alternatives
                .map(|alternative| {
                    alternative["required"][0].as_str().expect("a choice between members").to_owned()
                })
                .collect(),
        }
    }

    /// Checks what a deserializer reads.
    ///
    /// # Errors
    /// When it cannot be read to its end. It is not read to its end when the report is full.
    pub(super) fn check<'de, D: Deserializer<'de>>(
        &self,
        deserializer: D,
        report: &mut Report,
    ) -> Result<(), D::Error> {
        Check { node: self, place: &Place::BODY, report }.deserialize(deserializer)
    }

    /// Whether this is a place in what people attach, which no schema describes.
    fn is_anything(&self) -> bool {
        self.kinds.is_empty()
    }

    /// Whether its members are not looked at by name.
    fn is_free(&self) -> bool {
        self.members.is_empty() && !self.is_closed
    }

    fn takes(&self, kind: Kind) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&kind)
    }

    /// Whether a whole number is within the bounds.
    fn admits(&self, number: &Number) -> bool {
        let is_at_most = |one: &Number, other: &Number| match (one.as_i128(), other.as_i128()) {
            (Some(one), Some(other)) => one <= other,
            _ => one.as_f64() <= other.as_f64(),
        };
        self.least.as_ref().is_none_or(|least| is_at_most(least, number))
            && self.most.as_ref().is_none_or(|most| is_at_most(number, most))
    }

    fn unexpected(&self, got: &str) -> (String, String) {
        (format!("must be {}; got {got}", self.expected), format!("Send {}.", self.expected))
    }

    /// What is wrong with a text: what was expected, and what is to be sent.
    fn text_fault(&self, text: &str) -> Option<(String, String)> {
        // What people attach is stored as JSON, which escapes it; PostgreSQL stores no other text with it.
        if text.contains('\0') && !self.is_anything() {
            let message = "must not hold the character U+0000";
            return Some((message.to_owned(), "Remove it.".to_owned()));
        }
        let is_option = |options: &Vec<Value>| options.iter().any(|option| option.as_str() == Some(text));
        let fits = self.takes(Kind::Text)
            && self.options.as_ref().is_none_or(is_option)
            // No text has more code points than bytes.
            && (text.len() <= self.characters.most && self.characters.least == 0
                || self.characters.hold(text.chars().count()))
            && self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(text))
            && (!self.is_address || AddressList::is_entry(text));
        (!fits).then(|| self.unexpected(&self.shown_text(text)))
    }

    fn shown_text(&self, text: &str) -> String {
        let length = text.chars().count();
        if self.is_secret || length > SHOWN_CHARACTERS {
            format!("a string of {}", count(length, "character"))
        } else {
            Value::from(text).to_string()
        }
    }

    fn unknown_member(&self, name: &str) -> Fault {
        let known: Vec<&str> = self.members.iter().map(|member| member.name.as_str()).collect();
        let nearest = known
            .iter()
            .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
            .filter(|(distance, candidate)| *distance <= candidate.len().div_ceil(3))
            .min();
        let fix = match nearest {
            Some((_, nearest)) => format!("Remove it, or did you mean `{nearest}`?"),
            None if known.is_empty() => "Send an empty object.".to_owned(),
            None => format!("Remove it; known here: {}.", known.join(", ")),
        };
        Fault { location: String::new(), message: "is not a known member".to_owned(), fix: Some(fix) }
    }

    /// The fault of an object that has none, or several, of the members of which it must have one.
    fn choice_fault(&self, sent: u64) -> Option<(&str, String, String)> {
        let was_sent = |name: &&String| {
            self.members.iter().zip(0..).any(|(member, bit)| member.name == **name && sent & (1 << bit) != 0)
        };
        let either = self.choice.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ");
        let mut chosen = self.choice.iter().filter(was_sent);
        let (name, message) = match (chosen.next(), chosen.next()) {
            (Some(_), None) => return None,
            (Some(first), Some(second)) => (second, format!("must not be sent together with `{first}`")),
            (None, _) => (self.choice.first()?, format!("is required and was not sent: {either}")),
        };
        Some((name, message, format!("Send one of {either}.")))
    }
}

fn kinds(schema: &Value) -> Vec<Kind> {
    let names = match schema.get("type") {
        Some(Value::Array(names)) => names.as_slice(),
        Some(name) => std::slice::from_ref(name),
        None => &[],
    };
    let kind = |name: &Value| match name.as_str() {
        Some("null") => Kind::Null,
        Some("boolean") => Kind::Boolean,
        Some("integer") => Kind::Integer,
        Some("number") => Kind::Number,
        Some("string") => Kind::Text,
        Some("array") => Kind::Array,
        _ => Kind::Object,
    };
    names.iter().map(kind).collect()
}

/// Checks one value.
struct Check<'c> {
    node: &'c Node,
    place: &'c Place<'c>,
    report: &'c mut Report,
}

impl Check<'_> {
    fn fault<E: serde::de::Error>(self, message: String, fix: String) -> Result<(), E> {
        self.report.add(Fault { location: self.place.to_string(), message, fix: Some(fix) })
    }

    fn unexpected<E: serde::de::Error>(self, got: &str) -> Result<(), E> {
        let (message, fix) = self.node.unexpected(got);
        self.fault(message, fix)
    }

    fn number<E: serde::de::Error>(self, number: &Number) -> Result<(), E> {
        let got = if self.node.is_secret { "a number".to_owned() } else { number.to_string() };
        let is_whole = number.as_i128().is_some() || number.as_f64().is_some_and(|float| float.fract() == 0.0);
        let fits = self.node.takes(Kind::Number) || (self.node.takes(Kind::Integer) && is_whole);
        if !fits || !self.node.admits(number) {
            return self.unexpected(&got);
        }
        if !self.node.takes(Kind::Number) && number.as_i64().is_none() {
            if super::whole(number).is_none() {
                let message = "cannot be represented: the value does not fit into a 64-bit integer";
                return self.fault(message.to_owned(), format!("Send an integer of at most {}.", i64::MAX));
            }
            self.report.is_respelled = true;
        }
        Ok(())
    }

    /// Whether what is here lies too deep to be looked at; says so.
    fn is_too_deep<E: serde::de::Error>(&mut self) -> Result<bool, E> {
        if self.place.depth < MAX_DEPTH {
            return Ok(false);
        }
        let fix = "Send data that is flatter, or as a string.".to_owned();
        self.report.add(Fault { location: self.place.to_string(), message: json::too_deep(), fix: Some(fix) })?;
        Ok(true)
    }
}

impl<'de> DeserializeSeed<'de> for Check<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Check<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON value")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        if self.node.takes(Kind::Null) { Ok(()) } else { self.unexpected("null") }
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        if self.node.takes(Kind::Boolean) { Ok(()) } else { self.unexpected(if value { "true" } else { "false" }) }
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.number(&value.into())
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.number(&value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        match Number::from_f64(value) {
            Some(number) => self.number(&number),
            None => self.unexpected("no number"),
        }
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        match self.node.text_fault(text) {
            Some((message, fix)) => self.fault(message, fix),
            None => Ok(()),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        let node = self.node;
        if !node.takes(Kind::Array) {
            let number = json::skip_items(&mut items)?;
            return self.unexpected(&format!("an array of {}", count(number, "item")));
        }
        if self.is_too_deep()? {
            return json::skip_items(&mut items).map(|_| ());
        }
        let mut number = 0;
        let item = node.items.as_deref().unwrap_or(&ANYTHING);
        while number < node.item_count.most {
            let place = self.place.inner(Step::Item(number));
            if items.next_element_seed(Check { node: item, place: &place, report: self.report })?.is_none() {
                break;
            }
            number += 1;
        }
        if number == node.item_count.most {
            number += json::skip_items(&mut items)?;
        }
        if node.item_count.hold(number) {
            return Ok(());
        }
        self.unexpected(&format!("an array of {}", count(number, "item")))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        let node = self.node;
        if !node.takes(Kind::Object) {
            let number = json::skip_members(&mut members)?;
            return self.unexpected(&format!("an object of {}", count(number, "member")));
        }
        if self.is_too_deep()? {
            return json::skip_members(&mut members).map(|_| ());
        }
        let number = if node.is_free() { self.free_members(&mut members)? } else { self.members(&mut members)? };
        if node.member_count.hold(number) {
            return Ok(());
        }
        self.unexpected(&format!("an object of {}", count(number, "member")))
    }
}

impl Check<'_> {
    /// The members of an object whose schema names them; returns how many there were.
    fn members<'de, A: MapAccess<'de>>(&mut self, members: &mut A) -> Result<usize, A::Error> {
        let (node, mut sent, mut number) = (self.node, 0_u64, 0);
        while let Some(Name(name)) = members.next_key()? {
            number += 1;
            let place = self.place.inner(Step::Member(&name));
            let known = node.members.iter().zip(0..).find(|(member, _)| *member.name == *name);
            let Some((member, bit)) = known else {
                if node.is_closed {
                    let location = place.to_string();
                    let shown = name.chars().take(SHOWN_NAME).collect::<String>();
                    self.report.add(Fault { location, ..node.unknown_member(&shown) })?;
                }
                members.next_value_seed(Ignored)?;
                continue;
            };
            if sent & (1 << bit) != 0 {
                self.report.add(sent_twice(&place))?;
                members.next_value_seed(Ignored)?;
                continue;
            }
            sent |= 1 << bit;
            members.next_value_seed(Check { node: &member.node, place: &place, report: self.report })?;
        }
        for (member, bit) in node.members.iter().zip(0..) {
            if member.is_required && sent & (1_u64 << bit) == 0 {
                let (name, expected) = (&member.name, &member.node.expected);
                self.report.add(Fault {
                    location: self.place.inner(Step::Member(name)).to_string(),
                    message: format!("is required and was not sent; it must be {expected}"),
                    fix: Some(format!("Send `{name}` as {expected}.")),
                })?;
            }
        }
        if let Some((name, message, fix)) = node.choice_fault(sent) {
            let location = self.place.inner(Step::Member(name)).to_string();
            self.report.add(Fault { location, message, fix: Some(fix) })?;
        }
        Ok(number)
    }

    /// The members of an object that may have any.
    fn free_members<'de, A: MapAccess<'de>>(&mut self, members: &mut A) -> Result<usize, A::Error> {
        let (mut names, mut number) = (Names::default(), 0);
        while let Some(Name(name)) = members.next_key::<Name<'de>>()? {
            number += 1;
            if number > self.node.member_count.most {
                members.next_value_seed(Ignored)?;
                return Ok(number + json::skip_members(members)?);
            }
            let place = self.place.inner(Step::Member(&name));
            if names.has(&name) {
                self.report.add(sent_twice(&place))?;
            }
            members.next_value_seed(Check { node: &ANYTHING, place: &place, report: self.report })?;
            names.add(name);
        }
        Ok(number)
    }
}

fn count(number: usize, unit: &str) -> String {
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}
