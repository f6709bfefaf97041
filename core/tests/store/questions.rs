//! What a person is asked before an operation destroys or cuts off: it is made of what is stored, and those who would
//! be refused are refused.

use std::pin::Pin;

use keyrack_core::caller::{Origin, Via};
use keyrack_core::catalogue::{self, Effect, Fact, Operation, Question, Visitor};
use keyrack_core::keys::imported::Algorithm;
use keyrack_core::operations::workspace::{CreateWorkspace, GetOverview, UpdateWorkspace};
use keyrack_core::operations::{apis, identities, keys, permissions, ratelimit, root_keys};
use keyrack_core::{Caller, Code, Error, Keyrack, operations, setup};
use serde_json::{Value, json};

use crate::{Database, Instance, on_both_engines};

on_both_engines!(
    whatever_destroys_is_asked_about_with_what_is_stored,
    what_cuts_off_or_hands_out_is_asked_about_and_the_rest_is_not,
    who_would_be_refused_is_not_asked,
    a_question_refuses_what_the_operation_refuses,
    no_more_keys_are_counted_than_people_want_to_know_of,
);

fn caller(instance: &Instance, key: &str) -> Caller {
    instance.keyrack.authenticate(key, Origin::local(Via::Http)).unwrap()
}

async fn asked<O: Operation>(instance: &Instance, request: Value) -> Option<Question> {
    catalogue::question::<O>(&instance.keyrack, &caller(instance, &instance.root_key), request).await.unwrap()
}

fn text(data: &Value, member: &str) -> String {
    data[member].as_str().unwrap_or_else(|| panic!("no {member} in {data}")).to_owned()
}

async fn new_migration(instance: &Instance) -> String {
    let made = setup::create_key_migration(&instance.keyrack, &instance.workspace_id, Algorithm::Sha256).await;
    made.unwrap()
}

/// A workspace with one thing of each kind.
struct Things {
    api: String,
    key: String,
    root_key: String,
}

impl Things {
    async fn made(instance: &Instance) -> Things {
        let api = text(&instance.run::<apis::CreateApi>(json!({ "name": "payments" })).await.unwrap(), "apiId");
        let identity = json!({ "externalId": "user_42" });
        instance.run::<identities::CreateIdentity>(identity).await.unwrap();
        let role = json!({ "name": "reader" });
        instance.run::<permissions::CreateRole>(role).await.unwrap();
        let key = json!({
            "apiId": api, "name": "Mobile", "externalId": "user_42",
            "permissions": ["documents.read"], "roles": ["reader"],
        });
        let key = text(&instance.run::<keys::CreateKey>(key).await.unwrap(), "keyId");
        let held = json!({ "role": "reader", "permissions": ["documents.read"] });
        instance.run::<permissions::SetRolePermissions>(held).await.unwrap();
        let limit = json!({ "namespace": "emails", "identifier": "*@x", "limit": 5, "duration": 60_000 });
        instance.run::<ratelimit::Limit>(limit.clone()).await.unwrap();
        instance.run::<ratelimit::SetOverride>(limit).await.unwrap();
        let root_key = json!({ "name": "gateway", "permissions": ["api.*.read_api"] });
        let root_key = text(&instance.run::<root_keys::CreateKey>(root_key).await.unwrap(), "keyId");
        Things { api, key, root_key }
    }

    /// A request of an operation that destroys one of them.
    fn request(&self, operation: &str) -> Value {
        match operation {
            "apis.deleteApi" => json!({ "apiId": self.api }),
            "identities.deleteIdentity" => json!({ "identity": "user_42" }),
            "keys.deleteKey" => json!({ "keyId": self.key }),
            "permissions.deletePermission" => json!({ "permission": "documents.read" }),
            "permissions.deleteRole" => json!({ "role": "reader" }),
            "ratelimit.deleteNamespace" => json!({ "namespace": "emails" }),
            "ratelimit.deleteOverride" => json!({ "namespace": "emails", "identifier": "*@x" }),
            "rootKeys.deleteKey" => json!({ "keyId": self.root_key }),
            other => panic!("{other} destroys, and has no request here"),
        }
    }

    /// What the question about it has to name.
    fn facts(&self, operation: &str) -> Vec<(&'static str, Fact)> {
        let named = |name, text: &str| (name, Fact::Text(text.to_owned()));
        let one = |name| (name, Fact::Count(1));
        match operation {
            "apis.deleteApi" => vec![named("API", "payments"), named("id", &self.api), one("keys")],
            "identities.deleteIdentity" => vec![named("external id", "user_42"), one("keys")],
            "keys.deleteKey" => vec![named("name", "Mobile"), named("id", &self.key), named("API", "payments")],
            "permissions.deletePermission" => {
                vec![named("permission", "documents.read"), one("keys"), one("roles")]
            }
            "permissions.deleteRole" => vec![named("role", "reader"), one("keys")],
            "ratelimit.deleteNamespace" => vec![named("namespace", "emails"), one("overrides")],
            "ratelimit.deleteOverride" => vec![named("identifier", "*@x"), named("namespace", "emails")],
            "rootKeys.deleteKey" => vec![named("name", "gateway"), named("id", &self.root_key)],
            _ => Vec::new(),
        }
    }
}

type Asking<'a> = Pin<Box<dyn Future<Output = Result<Option<Question>, Error>> + 'a>>;

/// Asks about every operation that destroys.
struct Destroying<'a> {
    keyrack: &'a Keyrack,
    caller: &'a Caller,
    things: &'a Things,
    asking: Vec<(&'static str, Asking<'a>)>,
}

impl Visitor for Destroying<'_> {
    fn operation<O: Operation>(&mut self) {
        if O::ABOUT.effect == Effect::Destroy {
            let request = self.things.request(O::ABOUT.name);
            let asking = Box::pin(catalogue::question::<O>(self.keyrack, self.caller, request));
            self.asking.push((O::ABOUT.name, asking));
        }
    }
}

async fn whatever_destroys_is_asked_about_with_what_is_stored(database: Database) {
    let instance = database.set_up().await;
    let things = Things::made(&instance).await;
    let caller = caller(&instance, &instance.root_key);
    let mut all = Destroying { keyrack: &instance.keyrack, caller: &caller, things: &things, asking: Vec::new() };
    operations::each(&mut all);
    assert_eq!(all.asking.len(), 8);
    for (name, asking) in all.asking {
        let question = asking.await.unwrap().unwrap_or_else(|| panic!("nobody is asked about {name}"));
        for fact in things.facts(name) {
            assert!(question.facts.contains(&fact), "{name}: {fact:?} is not in {question:?}");
        }
        let typed = ["apis.deleteApi", "ratelimit.deleteNamespace"].contains(&name);
        assert_eq!(question.typed.is_some(), typed, "{name}: {question:?}");
    }
}

async fn what_cuts_off_or_hands_out_is_asked_about_and_the_rest_is_not(database: Database) {
    let instance = database.set_up().await;
    let Things { api, key, root_key } = Things::made(&instance).await;
    let reroll = |grace: Value| json!({ "keyId": key, "expiration": grace });
    assert!(asked::<keys::RerollKey>(&instance, reroll(json!(0))).await.is_some());
    assert!(asked::<keys::RerollKey>(&instance, reroll(Value::Null)).await.is_none(), "the old key stays");
    let permissions = |slugs: Value| json!({ "keyId": key, "permissions": slugs });
    assert!(asked::<keys::SetPermissions>(&instance, permissions(json!([]))).await.is_some());
    assert!(asked::<keys::SetPermissions>(&instance, permissions(json!(["other"]))).await.is_none());
    let roles = |names: Value| json!({ "keyId": key, "roles": names });
    assert!(asked::<keys::SetRoles>(&instance, roles(json!([]))).await.is_some());
    assert!(asked::<keys::SetRoles>(&instance, roles(json!(["reader"]))).await.is_none());
    let of_role = |slugs: Value| json!({ "role": "reader", "permissions": slugs });
    assert!(asked::<permissions::SetRolePermissions>(&instance, of_role(json!([]))).await.is_some());
    assert!(asked::<permissions::SetRolePermissions>(&instance, of_role(json!(["x.y"]))).await.is_none());
    let migration = new_migration(&instance).await;
    let import = |count: usize| {
        let keys: Vec<Value> = (0..count).map(|at| json!({ "hash": format!("{at:064x}") })).collect();
        json!({ "apiId": api, "migrationId": migration, "keys": keys })
    };
    assert!(asked::<keys::MigrateKeys>(&instance, import(101)).await.is_some());
    assert!(asked::<keys::MigrateKeys>(&instance, import(100)).await.is_none());
    let root = |member: &str, value: Value| json!({ "keyId": root_key, member: value });
    let wider = json!(["api.*.read_api", "api.*.create_key"]);
    let question = asked::<root_keys::UpdateKey>(&instance, root("permissions", wider)).await.unwrap();
    assert!(question.facts.contains(&("gains", Fact::Text("api.*.create_key".to_owned()))), "{question:?}");
    let many = json!({ "permissions": ["api.a.read_api", "api.b.read_api", "api.*.create_key"], "name": "ci" });
    let question = asked::<root_keys::CreateKey>(&instance, many).await.unwrap();
    let may = Fact::Text("3 things: api.*.create_key, api.a.read_api, api.b.read_api".to_owned());
    assert!(question.facts.contains(&("may", may)), "what is wide stands first: {question:?}");
    let all = json!({ "permissions": ["api.*.read_api", "*"] });
    let question = asked::<root_keys::CreateKey>(&instance, all).await.unwrap();
    assert!(
        question.facts.contains(&("may", Fact::Text("everything in the workspace".to_owned()))),
        "{question:?}"
    );
    assert!(asked::<root_keys::CreateKey>(&instance, json!({ "permissions": [] })).await.is_none());
    assert!(asked::<root_keys::UpdateKey>(&instance, root("enabled", json!(false))).await.is_some());
    assert!(asked::<root_keys::UpdateKey>(&instance, root("permissions", json!([]))).await.is_some());
    // One that is covered by what it holds already is nothing new.
    let narrower = root("permissions", json!([format!("api.{api}.read_api")]));
    for less in [narrower, root("name", json!("renamed")), root("enabled", json!(true))] {
        assert!(asked::<root_keys::UpdateKey>(&instance, less).await.is_none());
    }
    let update = |member: &str, value: Value| json!({ "keyId": key, member: value });
    for cut in [("enabled", json!(false)), ("permissions", json!([])), ("roles", json!([]))] {
        assert!(asked::<keys::UpdateKey>(&instance, update(cut.0, cut.1)).await.is_some(), "{}", cut.0);
    }
    assert!(asked::<keys::UpdateKey>(&instance, update("name", Value::Null)).await.is_none());
    let other = instance.run::<CreateWorkspace>(json!({ "name": "staging" })).await.unwrap();
    let workspace = |enabled: bool| json!({ "workspaceId": other["workspaceId"], "enabled": enabled });
    assert!(asked::<UpdateWorkspace>(&instance, workspace(false)).await.is_some());
    assert!(asked::<UpdateWorkspace>(&instance, workspace(true)).await.is_none());
    assert!(asked::<root_keys::RerollKey>(&instance, root("expiration", json!(0))).await.is_some());
    let another =
        asked::<root_keys::RerollKey>(&instance, root("expiration", Value::Null)).await.expect("a second one");
    assert_eq!(another.consequences, ["Makes another root key that may do the same. The old one goes on."]);
    assert!(asked::<keys::GetKey>(&instance, json!({ "keyId": key })).await.is_none());
}

async fn who_would_be_refused_is_not_asked(database: Database) {
    let instance = database.set_up().await;
    let things = Things::made(&instance).await;
    let small = json!({ "permissions": ["api.*.read_api"] });
    let small = instance.run::<root_keys::CreateKey>(small).await.unwrap();
    let small = caller(&instance, &text(&small, "key"));
    let mut all = Destroying { keyrack: &instance.keyrack, caller: &small, things: &things, asking: Vec::new() };
    operations::each(&mut all);
    for (name, asking) in all.asking {
        let refusal = asking.await.expect_err(name);
        assert_eq!(refusal.code(), Code::InsufficientPermissions, "{name}");
    }
    let full = caller(&instance, &instance.root_key);
    let unknown = json!({ "apiId": "api_unknown1" });
    let refusal = catalogue::question::<apis::DeleteApi>(&instance.keyrack, &full, unknown).await.unwrap_err();
    assert_eq!(refusal.code(), Code::ApiNotFound);
    let protected = json!({ "apiId": things.api, "deleteProtection": true });
    instance.run::<apis::UpdateApi>(protected).await.unwrap();
    let request = json!({ "apiId": things.api });
    let refusal = catalogue::question::<apis::DeleteApi>(&instance.keyrack, &full, request).await.unwrap_err();
    assert_eq!(refusal.code(), Code::ProtectedResource);
    let wrong = catalogue::question::<apis::DeleteApi>(&instance.keyrack, &full, json!({ "apiId": 7 })).await;
    assert_eq!(wrong.unwrap_err().code(), Code::InvalidInput);
}

/// What is refused, the code being that of the operation.
async fn refused<O: Operation>(instance: &Instance, key: &str, request: Value) -> Code {
    let asked = catalogue::question::<O>(&instance.keyrack, &caller(instance, key), request.clone()).await;
    let done = catalogue::run::<O>(&instance.keyrack, caller(instance, key), request).await;
    let codes = (asked.err().map(|error| error.code()), done.err().map(|error| error.code()));
    assert_eq!(codes.0, codes.1, "{}", O::ABOUT.name);
    codes.0.unwrap_or_else(|| panic!("{} is not refused", O::ABOUT.name))
}

async fn a_question_refuses_what_the_operation_refuses(database: Database) {
    let instance = database.set_up().await;
    let things = Things::made(&instance).await;
    let full = instance.root_key.clone();
    let own = instance.run::<GetOverview>(json!({})).await.unwrap();
    let own_key = text(&own["rootKey"], "keyId");
    // The last way into the workspace stays.
    let last = json!({ "keyId": own_key });
    assert_eq!(refused::<root_keys::DeleteKey>(&instance, &full, last).await, Code::ProtectedResource);
    let last = json!({ "keyId": own_key, "permissions": ["api.*.read_api"] });
    assert_eq!(refused::<root_keys::UpdateKey>(&instance, &full, last).await, Code::ProtectedResource);
    let out = json!({ "workspaceId": instance.workspace_id, "enabled": false });
    assert_eq!(refused::<UpdateWorkspace>(&instance, &full, out).await, Code::ProtectedResource);
    // One that expires handles none that outlives it.
    let soon = instance.keyrack.clock().now().plus(60_000).get();
    let short = json!({ "permissions": ["*"], "expires": soon });
    let short = text(&instance.run::<root_keys::CreateKey>(short).await.unwrap(), "key");
    // Nobody gives more than they hold, nor for longer.
    let outliving = json!({ "permissions": ["api.*.read_api"] });
    assert_eq!(refused::<root_keys::CreateKey>(&instance, &short, outliving).await, Code::InsufficientPermissions);
    let write = format!("unkey:v1:{}:rootKeys/*#write", instance.workspace_id);
    let narrow = json!({ "permissions": [write, "api.*.read_api"] });
    let narrow = text(&instance.run::<root_keys::CreateKey>(narrow).await.unwrap(), "key");
    for more in ["*", "api.*.create_key"] {
        let more = json!({ "permissions": [more] });
        assert_eq!(refused::<root_keys::CreateKey>(&instance, &narrow, more).await, Code::InsufficientPermissions);
    }
    let request = json!({ "keyId": things.root_key, "enabled": false });
    assert_eq!(refused::<root_keys::UpdateKey>(&instance, &short, request).await, Code::InsufficientPermissions);
    let request = json!({ "keyId": things.root_key, "expiration": 0 });
    assert_eq!(refused::<root_keys::RerollKey>(&instance, &short, request).await, Code::InsufficientPermissions);
    // What a reroll has ended is not rerolled again.
    let reroll = json!({ "keyId": things.key, "expiration": 0 });
    instance.run::<keys::RerollKey>(reroll.clone()).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    assert_eq!(refused::<keys::RerollKey>(&instance, &full, reroll).await, Code::PreconditionFailed);
    let keys: Vec<Value> = (0..101).map(|at| json!({ "hash": format!("{at:064x}") })).collect();
    let unknown = json!({ "apiId": things.api, "migrationId": "mig_unknown", "keys": keys });
    assert_eq!(refused::<keys::MigrateKeys>(&instance, &full, unknown).await, Code::MigrationNotFound);
    for (role, code) in [("reader", None), ("nobody", Some(Code::RoleNotFound))] {
        let request = json!({ "role": role, "permissions": [] });
        let caller = caller(&instance, &full);
        let asked = catalogue::question::<permissions::SetRolePermissions>(&instance.keyrack, &caller, request);
        assert_eq!(asked.await.err().map(|error| error.code()), code);
    }
}

async fn no_more_keys_are_counted_than_people_want_to_know_of(database: Database) {
    let instance = database.set_up().await;
    let things = Things::made(&instance).await;
    let mut transaction = instance.keyrack.store().write().await.unwrap();
    let text = "INSERT INTO keys (id, workspace_id, api_id, hash, start, enabled, created_at) \
                WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 1500) \
                SELECT 'key_' || n, workspace_id, api_id, 'hash ' || n, 'start', 1, 1 FROM keys, numbers WHERE id = $1";
    sqlx::query(text).bind(things.key.clone()).execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
    let question = asked::<apis::DeleteApi>(&instance, json!({ "apiId": things.api })).await.unwrap();
    assert!(question.facts.contains(&("keys", Fact::AtLeast(1000))), "{question:?}");
    assert!(!question.facts.iter().any(|(name, _)| *name == "last use"), "not all were looked at: {question:?}");
}
