//! Whether what operations declare of themselves is true of their requests and answers.

use serde_json::Value;

use super::{About, Effect, Operation, Pin, Tool, Toolset, Visitor, request_schema};
use crate::docs::{PLACEHOLDERS, origins};
use crate::operations::each;
use crate::schema::response_schema;

/// An operation with its schemas.
struct Declared {
    about: &'static About,
    request: &'static Value,
    /// Of an item where the answer is a list.
    response: Value,
}

fn declared() -> Vec<Declared> {
    struct All(Vec<Declared>);
    impl Visitor for All {
        fn operation<O: Operation>(&mut self) {
            let about = const { &O::ABOUT };
            let mut response = response_schema::<O::Response>();
            if about.list.is_some() {
                response = response["items"].take();
            }
            self.0.push(Declared { about, request: request_schema::<O>().as_value(), response });
        }
    }
    let mut all = All(Vec::new());
    each(&mut all);
    all.0
}

impl Declared {
    fn takes(&self, member: &str) -> bool {
        self.request["properties"].get(member).is_some()
    }

    /// Whether the answer, or an item of it, has this member; members of items are named as those of objects.
    fn answers(&self, path: &str) -> bool {
        path.split('.')
            .try_fold(&self.response, |schema, name| {
                schema.get("items").unwrap_or(schema).get("properties").and_then(|members| members.get(name))
            })
            .is_some()
    }
}

#[test]
fn what_is_declared_of_members_is_about_members_that_there_are() {
    for operation in declared() {
        let About { name, assistants, list, .. } = operation.about;
        for member in assistants.hidden {
            assert!(operation.takes(member), "{name} hides {member}, which it does not take");
        }
        for path in assistants.concise {
            assert!(operation.answers(path), "{name} has no {path} to be concise with");
        }
        if let Some(pin) = assistants.pinned_by {
            assert!(operation.takes(pin.member()), "{name} is pinned by {pin:?}, which it does not take");
        }
        assert_eq!(list.is_some(), operation.takes("cursor"), "{name}: a list is what takes a cursor");
        if let Some(id) = list.and_then(|list| list.id) {
            assert!(operation.answers(id), "an item of {name} has no {id}");
        }
    }
}

#[test]
fn what_can_be_read_at_an_address_is_a_read_that_one_thing_names() {
    let mut paths = Vec::new();
    for operation in declared() {
        let About { name, assistants, effect, example, .. } = operation.about;
        let Some(resource) = assistants.resource else { continue };
        assert_eq!((*effect, assistants.tool), (Effect::Read, Tool::Offered), "{name}");
        assert!(
            origins(operation.about).len() == example.matches("\"<").count(),
            "{name}: nothing shows its things"
        );
        assert!(origins(operation.about).len() <= 1, "{name} needs more than an address says");
        assert!(resource.path.bytes().all(|byte| byte.is_ascii_lowercase()), "{name}: {}", resource.path);
        paths.push(resource.path);
    }
    paths.sort_unstable();
    assert_eq!(paths, ["apis", "identities", "keys", "limits", "workspace"]);
}

#[test]
fn what_a_placeholder_stands_for_is_a_member_of_what_shows_it() {
    let operations = declared();
    for placeholder in PLACEHOLDERS {
        let Some(shown_by) = placeholder.shown_by else { continue };
        let operation = operations.iter().find(|operation| operation.about.name == shown_by);
        let operation = operation.unwrap_or_else(|| panic!("{} is shown by nothing", placeholder.mark));
        assert!(operation.about.list.is_some() && operation.answers(placeholder.member), "{}", placeholder.mark);
    }
}

#[test]
fn what_assistants_read_of_every_operation_is_short() {
    for operation in declared() {
        let About { name, summary, assistants, .. } = operation.about;
        assert!((1..=160).contains(&summary.chars().count()), "{name}: {summary}");
        assert!(assistants.hint.chars().count() <= 140, "{name}: {}", assistants.hint);
    }
}

/// Operations that take an API or a key and are not on one API.
const NOT_PINNED: [(&str, &str); 5] = [
    ("apis.createApi", "it makes another API"),
    ("apis.listApis", "it looks through all of them"),
    ("rootKeys.deleteKey", "its key is a root key"),
    ("rootKeys.rerollKey", "its key is a root key"),
    ("rootKeys.updateKey", "its key is a root key"),
];

#[test]
fn what_is_on_one_api_says_what_names_it() {
    for operation in declared() {
        let About { name, assistants, rule, .. } = operation.about;
        let members = [("apiId", Pin::Api("apiId")), ("keyId", Pin::KeyId("keyId")), ("key", Pin::Key("key"))];
        let expected = members.into_iter().find(|(member, _)| operation.takes(member)).map(|(_, pin)| pin);
        let is_excepted = NOT_PINNED.iter().any(|(excepted, _)| excepted == name);
        assert_eq!(assistants.pinned_by, expected.filter(|_| !is_excepted), "{name}");
        // Analytics are of all APIs that the caller may see.
        let is_of_one = assistants.pinned_by.is_some() || name.starts_with("apis.");
        let asks_for_api = format!("{:?}", rule.main).contains("api.");
        assert_eq!(asks_for_api, is_of_one || *name == "analytics.getVerifications", "{name}");
    }
}

#[test]
fn toolsets_that_nobody_asked_for_have_no_operation_that_is_for_permissions_or_administration() {
    let named = |toolset: Toolset| declared().into_iter().filter(move |one| one.about.toolset() == toolset);
    for toolset in Toolset::ALL {
        assert!(named(toolset).count() > 0, "{} has no tool", toolset.name());
    }
    for operation in declared().iter().filter(|one| one.about.toolset().is_default()) {
        let about = operation.about;
        let changes = about.effect != Effect::Read;
        let is_administration = ["permissions", "audit", "rootKeys"].contains(&about.namespace())
            || ["Permissions", "Roles"].iter().any(|noun| about.action().ends_with(noun))
            || (about.namespace() == "workspace" && changes);
        assert!(!is_administration, "{} is offered to everybody", about.name);
    }
}

#[test]
fn what_only_keyrack_has_is_what_the_contract_of_its_own_lists() {
    let contract: Value = serde_json::from_str(include_str!("../../../tests/contract/keyrack.json")).unwrap();
    let listed = contract["operations"].as_object().unwrap();
    for Declared { about, .. } in declared() {
        assert_eq!(about.is_own, listed.contains_key(about.name), "{}", about.name);
    }
}
