//! Agreement before what destroys, cuts off or hands out power: in both eras, with forms and without, and held.

use std::sync::{Arc, Mutex};

use keyrack_core::confirmations;
use keyrack_mcp_server::{Confirm, KeyrackMcp, Policy, Wish, Wishes};
use rmcp::model::{
    CallToolRequestParams, CallToolResult, ClientCapabilities, ClientConfig, ElicitRequestParams, ElicitResult,
    ElicitationAction, ElicitationCapability, Implementation, ProtocolVersion,
};
use rmcp::service::{ClientLifecycleMode, ClientServiceExt as _, RequestContext, RoleClient, RunningService};
use rmcp::{ClientHandler, ErrorData, ServiceExt as _};
use serde_json::{Value, json};

use crate::client::{ERAS, Era};
use crate::world::{World, catalogue, secret};

/// Somebody who answers forms, and what they were asked.
#[derive(Clone)]
struct Person {
    says: Arc<Mutex<Says>>,
    asked: Arc<Mutex<Vec<String>>>,
    has_forms: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Says {
    Yes,
    Types(&'static str),
    Declines,
    Closes,
}

impl ClientHandler for Person {
    fn get_info(&self) -> ClientConfig {
        let mut capabilities = ClientCapabilities::default();
        capabilities.elicitation = self.has_forms.then(ElicitationCapability::new);
        ClientConfig::new(capabilities, Implementation::new("test", "1"))
    }

    async fn create_elicitation(
        &self,
        request: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        let ElicitRequestParams::FormElicitationParams { message, .. } = request else { panic!("no form") };
        self.asked.lock().unwrap().push(message);
        let accepted = |content: Value| ElicitResult::new(ElicitationAction::Accept).with_content(content);
        Ok(match *self.says.lock().unwrap() {
            Says::Yes => accepted(json!({ "confirm": true })),
            Says::Types(text) => accepted(json!({ "confirm": text })),
            Says::Declines => ElicitResult::new(ElicitationAction::Decline),
            Says::Closes => ElicitResult::new(ElicitationAction::Cancel),
        })
    }
}

struct Talk {
    running: RunningService<RoleClient, Person>,
    person: Person,
}

impl Talk {
    async fn begin(world: &World, era: Era, root_key: &str, has_forms: bool, confirm: Confirm) -> Talk {
        let (server_end, client_end) = tokio::io::duplex(1 << 20);
        let mut wishes = Wishes::default();
        wishes.add(Wish::Toolsets, "all", catalogue()).unwrap();
        let policy = Policy { confirm, ..Policy::default() };
        let (keyrack, catalogue) = (world.keyrack.clone(), catalogue().clone());
        let server = KeyrackMcp::for_root_key(keyrack, catalogue, policy, secret(root_key), wishes).unwrap();
        tokio::spawn(async move { server.serve(server_end).await.unwrap().waiting().await.unwrap() });
        let says = Arc::new(Mutex::new(Says::Yes));
        let person = Person { says, asked: Arc::default(), has_forms };
        let running = match era {
            Era::Handshake => person.clone().serve(client_end).await.unwrap(),
            Era::Discover => {
                let preferred_versions = vec![ProtocolVersion::V_2026_07_28];
                let mode = ClientLifecycleMode::Discover { preferred_versions };
                person.clone().serve_with_lifecycle(client_end, mode).await.unwrap()
            }
        };
        Talk { running, person }
    }

    /// With a client of today that shows no forms.
    async fn without_forms(world: &World) -> Talk {
        Talk::begin(world, Era::Discover, &world.root_key(&["*"]).await, false, Confirm::Ask).await
    }

    fn says(&self, says: Says) {
        *self.person.says.lock().unwrap() = says;
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.person.asked.lock().unwrap())
    }

    async fn result(&self, tool: &str, arguments: Value) -> CallToolResult {
        let arguments = arguments.as_object().unwrap().clone();
        self.running
            .call_tool(CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments))
            .await
            .unwrap()
    }

    async fn data(&self, tool: &str, arguments: Value) -> Value {
        let result = self.result(tool, arguments).await;
        assert_eq!(result.is_error, Some(false), "{tool}: {:?}", result.content);
        result.structured_content.unwrap()["data"].take()
    }

    async fn refused(&self, tool: &str, arguments: Value) -> String {
        let result = self.result(tool, arguments).await;
        assert_eq!(result.is_error, Some(true), "{tool}: {:?}", result.structured_content);
        result.content[0].as_text().unwrap().text.clone()
    }

    /// An API with a key.
    async fn api(&self, name: &str) -> (Value, Value) {
        let api = self.data("apis_createApi", json!({ "name": name })).await["apiId"].clone();
        let key = self.data("keys_createKey", json!({ "apiId": api, "name": "mobile" })).await["keyId"].clone();
        (api, key)
    }

    async fn is_there(&self, key: &Value) -> bool {
        self.result("keys_getKey", json!({ "keyId": key })).await.is_error == Some(false)
    }
}

fn token(refusal: &str) -> String {
    let (_, rest) = refusal.split_once("`confirmToken`: \"").unwrap_or_else(|| panic!("no token in {refusal}"));
    rest.split_once('"').unwrap().0.to_owned()
}

#[tokio::test]
async fn a_form_asks_in_both_eras_and_only_a_yes_is_acted_on() {
    let world = World::new().await;
    let root_key = world.root_key(&["*"]).await;
    for era in ERAS {
        let talk = Talk::begin(&world, era, &root_key, true, Confirm::Ask).await;
        let (api, key) = talk.api("payments").await;
        assert!(talk.asked().is_empty(), "nobody is asked about what creates");
        for (says, expected) in [
            (Says::Declines, "the user declined"),
            (Says::Closes, "without an answer"),
            (Says::Types("yes"), "did not agree"),
        ] {
            talk.says(says.clone());
            let refused = talk.refused("keys_deleteKey", json!({ "keyId": key })).await;
            assert!(refused.contains("Nothing was changed") && refused.contains(expected), "{era:?}: {refused}");
            assert!(!refused.contains("confirmToken"), "who declined is not asked by other means: {refused}");
            assert!(talk.is_there(&key).await, "{era:?} {says:?}");
            assert_eq!(talk.asked().len(), 1);
        }
        talk.says(Says::Yes);
        talk.data("keys_deleteKey", json!({ "keyId": key })).await;
        assert!(!talk.is_there(&key).await);
        let asked = talk.asked();
        assert!(asked[0].contains("mobile"), "what is asked is made of what is stored: {asked:?}");
        // An API has to be named.
        for (says, is_gone) in
            [(Says::Yes, false), (Says::Types("letters"), false), (Says::Types("payments"), true)]
        {
            talk.says(says.clone());
            let result = talk.result("apis_deleteApi", json!({ "apiId": api })).await;
            assert_eq!(result.is_error, Some(!is_gone), "{era:?} {says:?}: {:?}", result.content);
        }
        // What would be refused anyway is, and nobody is asked about it.
        talk.asked();
        let refused = talk.refused("apis_deleteApi", json!({ "apiId": api })).await;
        assert!(refused.starts_with("404 ") && talk.asked().is_empty(), "{refused}");
    }
}

#[tokio::test]
async fn without_forms_an_agreement_is_good_for_one_call_while_nothing_changed() {
    let world = World::new().await;
    let root_key = world.root_key(&["*"]).await;
    for era in ERAS {
        let talk = Talk::begin(&world, era, &root_key, false, Confirm::Ask).await;
        let (api, key) = talk.api("payments").await;
        let other = talk.data("keys_createKey", json!({ "apiId": api })).await["keyId"].clone();
        let refused = talk.refused("keys_deleteKey", json!({ "keyId": key })).await;
        assert!(refused.starts_with("412 ") && refused.contains("mobile"), "{refused}");
        let agreed = token(&refused);
        assert!(talk.is_there(&key).await);
        let with = |key: &Value, token: &str| json!({ "keyId": key, "confirmToken": token });
        // Of another call, of another caller, one that nobody gave.
        let refused = talk.refused("keys_deleteKey", with(&other, &agreed)).await;
        assert!(refused.contains("another call"), "{refused}");
        let stranger = world.root_key(&["*"]).await;
        let strangers = Talk::begin(&world, era, &stranger, false, Confirm::Ask).await;
        let refused = strangers.refused("keys_deleteKey", with(&key, &agreed)).await;
        assert!(refused.contains("another call"), "{refused}");
        let refused = talk.refused("keys_deleteKey", with(&key, "ask_made_up")).await;
        assert!(refused.contains("never asked for"), "{refused}");
        // What it is about changes.
        talk.data("keys_updateKey", json!({ "keyId": key, "name": "desktop" })).await;
        let refused = talk.refused("keys_deleteKey", with(&key, &agreed)).await;
        assert!(refused.contains("has changed since"), "{refused}");
        assert!(talk.is_there(&key).await && talk.is_there(&other).await);
        // Asked anew, it counts once, in whatever order members come.
        let agreed = token(&talk.refused("keys_deleteKey", json!({ "keyId": key, "permanent": false })).await);
        let call = json!({ "permanent": false, "confirmToken": agreed, "keyId": key });
        talk.data("keys_deleteKey", call.clone()).await;
        assert!(!talk.is_there(&key).await);
        let refused = talk.refused("keys_deleteKey", call).await;
        assert!(refused.starts_with("404 "), "{refused}");
        // The same text for something that is still there.
        let spent = token(&talk.refused("apis_deleteApi", json!({ "apiId": api })).await);
        talk.data("apis_deleteApi", json!({ "apiId": api, "confirmToken": spent })).await;
    }
}

#[tokio::test]
async fn of_two_calls_with_one_agreement_one_is_acted_on() {
    let world = World::new().await;
    let root_key = world.root_key(&["*"]).await;
    let talk = Talk::begin(&world, Era::Discover, &root_key, false, Confirm::Ask).await;
    let (_, key) = talk.api("payments").await;
    let reroll = json!({ "keyId": key, "expiration": 0 });
    let mut call = reroll.clone();
    call["confirmToken"] = token(&talk.refused("keys_rerollKey", reroll).await).into();
    let calls = futures_util::future::join_all((0..4).map(|_| talk.result("keys_rerollKey", call.clone()))).await;
    let done = calls.iter().filter(|result| result.is_error == Some(false)).count();
    assert_eq!(done, 1, "{calls:?}");
}

#[tokio::test]
async fn a_held_call_waits_for_the_operator_and_is_made_once() {
    let world = World::new().await;
    let root_key = world.root_key(&["*"]).await;
    let talk = Talk::begin(&world, Era::Handshake, &root_key, true, Confirm::Held).await;
    let (api, key) = talk.api("payments").await;
    let other = talk.data("keys_createKey", json!({ "apiId": api })).await["keyId"].clone();
    let refused = talk.refused("keys_deleteKey", json!({ "keyId": key })).await;
    assert!(refused.contains("keyrack approvals approve appr_"), "{refused}");
    assert!(talk.asked().is_empty(), "the client is not trusted with it");
    // It is the same one however often the model tries.
    assert_eq!(
        talk.refused("keys_deleteKey", json!({ "keyId": key })).await.lines().nth(1),
        refused.lines().nth(1)
    );
    let waiting = confirmations::approvals(&world.keyrack).await.unwrap();
    assert_eq!(waiting.len(), 1);
    assert!(waiting[0].question.as_ref().unwrap().contains("mobile"), "{waiting:?}");
    assert!(confirmations::decide(&world.keyrack, "appr_unknown", true).await.unwrap().is_none());
    assert!(confirmations::decide(&world.keyrack, &waiting[0].id, true).await.unwrap().is_some());
    assert!(
        confirmations::decide(&world.keyrack, &waiting[0].id, false).await.unwrap().is_none(),
        "decided is decided"
    );
    assert!(
        talk.refused("keys_deleteKey", json!({ "keyId": other })).await.contains("approve"),
        "of this call alone"
    );
    talk.data("keys_deleteKey", json!({ "keyId": key })).await;
    assert!(!talk.is_there(&key).await);
    let waits = confirmations::approvals(&world.keyrack).await.unwrap();
    let second = waits.iter().find(|waits| waits.state.name() == "held").unwrap();
    confirmations::decide(&world.keyrack, &second.id, false).await.unwrap();
    assert!(talk.refused("keys_deleteKey", json!({ "keyId": other })).await.contains("operator refused"));
    assert!(talk.is_there(&other).await);
}

#[tokio::test]
async fn automation_is_not_asked() {
    let world = World::new().await;
    let root_key = world.root_key(&["*"]).await;
    let talk = Talk::begin(&world, Era::Handshake, &root_key, true, Confirm::Off).await;
    let (api, _) = talk.api("payments").await;
    talk.data("apis_deleteApi", json!({ "apiId": api })).await;
    assert!(talk.asked().is_empty());
}

#[tokio::test]
async fn what_is_asked_about_can_name_no_order_that_nobody_sees() {
    let world = World::new().await;
    let root_key = world.root_key(&["*"]).await;
    let talk = Talk::begin(&world, Era::Discover, &root_key, true, Confirm::Ask).await;
    let api = talk.data("apis_createApi", json!({ "name": "payments" })).await["apiId"].clone();
    let name = "ok\u{202e}\u{e0041}\nI agree: yes";
    let key = talk.data("keys_createKey", json!({ "apiId": api, "name": name })).await["keyId"].clone();
    talk.data("keys_deleteKey", json!({ "keyId": key })).await;
    let asked = talk.asked().remove(0);
    assert!(!asked.contains(['\u{202e}', '\u{e0041}']), "{asked}");
    assert!(!asked.lines().any(|line| line.trim_start_matches("- ").starts_with("I agree")), "{asked}");
}

/// An API, and a key that has all that can be taken from it.
async fn full_key(talk: &Talk) -> (Value, Value) {
    let api = talk.data("apis_createApi", json!({ "name": "payments" })).await["apiId"].clone();
    talk.data("permissions_createRole", json!({ "name": "editor" })).await;
    talk.data("ratelimit_createNamespace", json!({ "name": "emails" })).await;
    let new = json!({
        "apiId": api, "name": "mobile", "permissions": ["documents.read", "documents.list"], "roles": ["editor"],
        "credits": { "remaining": 5 },
    });
    let key = talk.data("keys_createKey", new).await["keyId"].clone();
    (api, key)
}

#[tokio::test]
async fn whatever_cuts_off_is_asked_about_and_nothing_else() {
    let world = World::new().await;
    let talk = Talk::without_forms(&world).await;
    let (api, key) = full_key(&talk).await;
    let restrict = |addresses: Value| json!({ "apiId": api, "ipWhitelist": addresses });
    let of_key = |members: Value| {
        let mut request = members;
        request["keyId"] = key.clone();
        request
    };
    let override_of =
        |limit: i64| json!({ "namespace": "emails", "identifier": "ann", "limit": limit, "duration": 60000 });
    let both =
        "Disables the key. It is refused at once, until it is enabled again.\n- Takes all its roles from the key.";
    for (tool, arguments, expected) in [
        ("keys_updateKey", of_key(json!({ "name": "app", "enabled": true, "roles": ["editor"] })), None),
        ("keys_updateKey", of_key(json!({ "enabled": false, "roles": [] })), Some(both)),
        ("keys_updateKey", of_key(json!({ "expires": 1_700_000_000_000_i64 })), Some("a time that is over")),
        ("keys_updateKey", of_key(json!({ "credits": { "remaining": 0 } })), Some("no credits")),
        ("keys_updateCredits", of_key(json!({ "operation": "set", "value": 0 })), Some("no credits")),
        ("keys_updateCredits", of_key(json!({ "operation": "decrement", "value": 5 })), Some("credits: 5")),
        ("keys_updateCredits", of_key(json!({ "operation": "decrement", "value": 4 })), None),
        ("keys_updateCredits", of_key(json!({ "operation": "increment", "value": 4 })), None),
        ("keys_removePermissions", of_key(json!({ "permissions": ["documents.list"] })), None),
        (
            "keys_removePermissions",
            of_key(json!({ "permissions": ["documents.read"] })),
            Some("all its own permissions"),
        ),
        ("keys_setPermissions", of_key(json!({ "permissions": [] })), Some("all its own permissions")),
        ("keys_removeRoles", of_key(json!({ "roles": ["editor"] })), Some("all its roles")),
        ("keys_setRoles", of_key(json!({ "roles": ["editor"] })), None),
        ("apis_updateApi", restrict(json!([])), None),
        ("apis_updateApi", restrict(json!(["203.0.113.0/24", "::1"])), Some("addresses: 203.0.113.0/24, ::1")),
        ("permissions_updatePermission", json!({ "permission": "documents.read", "name": "Read" }), None),
        (
            "permissions_updatePermission",
            json!({ "permission": "documents.read", "slug": "documents.read" }),
            None,
        ),
        (
            "permissions_updatePermission",
            json!({ "permission": "documents.read", "slug": "docs.read" }),
            Some("new slug: docs.read"),
        ),
        ("ratelimit_setOverride", override_of(5), None),
        ("ratelimit_setOverride", override_of(0), Some("override until now: 5 per 60000 ms")),
    ] {
        let result = talk.result(tool, arguments.clone()).await;
        let text = &result.content[0].as_text().unwrap().text;
        assert_eq!(result.is_error, Some(expected.is_some()), "{tool} {arguments}: {text}");
        let Some(expected) = expected else { continue };
        assert!(text.starts_with("412 ") && text.contains(expected), "{tool} {arguments}: {text}");
        if tool == "ratelimit_setOverride" {
            let mut agreed = arguments.clone();
            agreed["confirmToken"] = token(text).into();
            talk.data(tool, agreed).await;
        }
    }
    // What is so already is no consequence.
    talk.data("ratelimit_setOverride", override_of(0)).await;
}

#[tokio::test]
async fn decisions_about_held_calls_and_questions_leave_their_marks() {
    let world = World::new().await;
    let talk = Talk::begin(&world, Era::Handshake, &world.root_key(&["*"]).await, true, Confirm::Held).await;
    let (_, key) = talk.api("payments").await;
    talk.refused("keys_deleteKey", json!({ "keyId": key })).await;
    let waiting = confirmations::approvals(&world.keyrack).await.unwrap();
    assert!(world.actors_of("approval.approve").await.is_empty());
    confirmations::decide(&world.keyrack, &waiting[0].id, true).await.unwrap().unwrap();
    confirmations::decide(&world.keyrack, &waiting[0].id, true).await.unwrap();
    assert_eq!(world.actors_of("approval.approve").await, [json!({ "type": "system", "id": "command line" })]);
    talk.data("keys_deleteKey", json!({ "keyId": key })).await;
    let questions = world.keyrack.metrics().assistant_questions();
    assert_eq!(questions, [(("held", "agreed"), 1), (("held", "asked"), 1)]);
    assert!(world.keyrack.metrics().assistant_bytes.value() > 100);
}
