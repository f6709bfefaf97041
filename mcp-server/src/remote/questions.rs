//! What people are told of what a request is about: what a read of the server answers.

use keyrack_core::calendar::UnixMs;
use keyrack_core::catalogue::{Effect, Fact, Pin};
use serde_json::{Value, json};

use crate::catalogue::Offer;

/// Members of answers that say what something is, and what they are called in a question.
const TEXTS: [(&str, &str); 8] = [
    ("/name", "name"),
    ("/slug", "slug"),
    ("/start", "start"),
    ("/externalId", "external id"),
    ("/identity/externalId", "customer"),
    ("/identifier", "identifier"),
    ("/limit", "limit"),
    ("/duration", "window in ms"),
];

/// What begins the names of actions that change one thing.
const CHANGES: [&str; 4] = ["delete", "update", "reroll", "set"];

/// The read of what a request is about, where there is one.
pub(super) fn about(offer: &Offer, request: &Value) -> Option<(&'static str, Value)> {
    let named = |members: &[&str]| -> Option<Value> {
        let member = |name: &&str| Some(((*name).to_owned(), request.get(*name)?.clone()));
        members.iter().map(member).collect::<Option<serde_json::Map<_, _>>>().map(Value::Object)
    };
    match offer.about.assistants.pinned_by {
        Some(Pin::Api(member)) => return Some(("apis.getApi", json!({ "apiId": request.get(member)? }))),
        Some(Pin::KeyId(member)) => return Some(("keys.getKey", json!({ "keyId": request.get(member)? }))),
        _ => {}
    }
    let thing = CHANGES.into_iter().find_map(|change| offer.about.action().strip_prefix(change))?;
    match (offer.about.namespace(), thing) {
        ("identities", "Identity") => Some(("identities.getIdentity", named(&["identity"])?)),
        ("permissions", "Permission") => Some(("permissions.getPermission", named(&["permission"])?)),
        ("permissions", "Role" | "RolePermissions") => Some(("permissions.getRole", named(&["role"])?)),
        ("ratelimit", "Override") if offer.about.action() == "deleteOverride" => {
            Some(("ratelimit.getOverride", named(&["namespace", "identifier"])?))
        }
        _ => None,
    }
}

/// What the request itself says, as far as it fits on a line each: texts and numbers, how long other lists are, and the
/// names of what is within objects.
pub(super) fn sent(request: &Value) -> Vec<(&'static str, Fact)> {
    let shown = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
        }
        // What is in a list may be secret, such as imported keys.
        Value::Array(items) => format!("{} items", items.len()),
        Value::Object(members) => members.keys().cloned().collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    };
    let members = request.as_object().into_iter().flatten();
    members.map(|(name, value)| ("sent", Fact::Text(format!("{name} = {}", shown(value))))).collect()
}

/// What is typed to agree to the end of an API: its name.
pub(super) fn typed(read: &str, offer: &Offer, answer: &Value) -> Option<String> {
    let ends_an_api = read == "apis.getApi" && offer.about.effect == Effect::Destroy;
    answer["name"].as_str().filter(|_| ends_an_api).map(str::to_owned)
}

/// What an answer says of what it is about.
pub(super) fn facts(answer: &Value) -> Vec<(&'static str, Fact)> {
    let text = |pointer: &str| match answer.pointer(pointer)? {
        Value::String(text) => Some(Fact::Text(text.clone())),
        Value::Number(number) => Some(Fact::Text(number.to_string())),
        _ => None,
    };
    let texts = TEXTS.into_iter().filter_map(|(pointer, name)| Some((name, text(pointer)?)));
    let last_use = answer["lastUsedAt"].as_i64().map(|at| ("last use", Fact::Time(UnixMs::new(at))));
    texts.chain(last_use).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::tests::CATALOGUE;

    #[test]
    fn what_asks_has_a_read_that_says_what_it_is_about() {
        let request = json!({
            "apiId": "a", "keyId": "k", "identity": "i", "permission": "p", "role": "r", "namespace": "n", "identifier": "x",
        });
        // Of these nothing says more than the request, or only an operator could ask.
        let without = ["ratelimit.deleteNamespace", "ratelimit.setOverride", "workspace.updateWorkspace"];
        for offer in
            CATALOGUE.offers().iter().filter(|offer| offer.asks() && offer.about.namespace() != "rootKeys")
        {
            let read = about(offer, &request).map(|(operation, _)| operation);
            assert_eq!(read.is_none(), without.contains(&offer.about.name), "{}: {read:?}", offer.about.name);
            assert!(read.is_none_or(|read| CATALOGUE.offers().iter().any(|offer| offer.about.name == read)));
        }
        let key = json!({ "keyId": "k", "name": "mobile", "identity": { "externalId": "ann" }, "lastUsedAt": 5 });
        assert_eq!(
            facts(&key),
            [
                ("name", Fact::Text("mobile".to_owned())),
                ("customer", Fact::Text("ann".to_owned())),
                ("last use", Fact::Time(UnixMs::new(5)))
            ]
        );
    }
}
