//! Completion: what may stand where somebody types, by what the caller may see.

use keyrack_mcp_server::{Policy, Wish, Wishes};
use rmcp::model::{CompletionInfo, Reference};
use rmcp::service::ServiceError;
use serde_json::{Value, json};

use crate::client::{Client, ERAS, Era};
use crate::world::{World, catalogue};

async fn with_wishes(world: &World, permissions: &[&str], said: &[(Wish, &str)]) -> Client {
    let mut wishes = Wishes::default();
    said.iter().for_each(|(wish, text)| wishes.add(*wish, text, catalogue()).unwrap());
    let root_key = world.root_key(permissions).await;
    Client::with_wishes(world, Era::Discover, &root_key, Policy::default(), wishes).await
}

fn prompt(name: &str) -> Reference {
    Reference::for_prompt(name)
}

fn resource(path: &str) -> Reference {
    Reference::for_resource(format!("keyrack://{path}"))
}

async fn values(client: &Client, reference: Reference, name: &str, typed: &str) -> Vec<String> {
    client.complete(reference, name, typed, &[]).await.unwrap().values
}

fn refusal(result: Result<CompletionInfo, ServiceError>) -> String {
    match result {
        Err(ServiceError::McpError(error)) if error.code.0 == -32602 => error.message.into_owned(),
        other => panic!("{other:?}"),
    }
}

async fn id(client: &Client, tool: &str, arguments: Value, member: &str) -> String {
    client.call(tool, arguments).await["data"][member].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn ids_are_found_by_names_and_names_by_their_beginning() {
    let world = World::new().await;
    let admin = Client::with_permissions(&world, Era::Handshake, &["*"]).await;
    let payments = id(&admin, "apis_createApi", json!({ "name": "payments" }), "apiId").await;
    let letters = id(&admin, "apis_createApi", json!({ "name": "letters" }), "apiId").await;
    let key = json!({ "apiId": payments, "name": "Mobile app", "externalId": "acme/eu" });
    let mobile = id(&admin, "keys_createKey", key, "keyId").await;
    let other = id(&admin, "keys_createKey", json!({ "apiId": letters, "name": "Mobile two" }), "keyId").await;
    admin.call("identities_createIdentity", json!({ "externalId": "acme\u{202e}evil" })).await;
    admin.call("ratelimit_createNamespace", json!({ "name": "emails" })).await;
    let role = json!({ "name": "editor", "permissions": ["documents.write"] });
    admin.call("permissions_createRole", role).await;

    for era in ERAS {
        let client = Client::with_permissions(&world, era, &["*"]).await;
        let both = |mut values: Vec<String>| {
            values.sort_unstable();
            values
        };
        let mut keys = vec![mobile.clone(), other.clone()];
        keys.sort_unstable();
        assert_eq!(values(&client, resource("apis/{apiId}"), "apiId", "pay").await, [payments.as_str()]);
        assert_eq!(values(&client, prompt("create_key"), "api", "letters").await, [letters.as_str()]);
        assert_eq!(values(&client, prompt("create_key"), "api", "").await.len(), 2);
        assert_eq!(both(values(&client, resource("keys/{keyId}"), "keyId", "mobile").await), keys);
        assert_eq!(values(&client, prompt("rotate_key"), "key_id", &mobile).await, [mobile.as_str()]);
        let chosen = [("api", payments.as_str())];
        let of_api = client.complete(prompt("debug_verification"), "key_or_id", "mob", &chosen).await.unwrap();
        assert_eq!(of_api.values, [mobile.as_str()], "those of the API that was chosen");
        assert_eq!(
            values(&client, resource("identities/{externalId}"), "externalId", "acme").await,
            ["acme/eu"],
            "what cannot be sent back as it is, is not suggested"
        );
        assert_eq!(values(&client, resource("limits/{namespace}"), "namespace", "em").await, ["emails"]);
        assert_eq!(values(&client, prompt("review_permissions"), "role", "ed").await, ["editor"]);
        assert_eq!(values(&client, prompt("usage_report"), "period", "this").await, ["this month"]);
        assert_eq!(values(&client, prompt("add_verification"), "language", "ru").await, ["Rust"]);
        assert_eq!(values(&client, resource("errors/{code}"), "code", "api_not").await, ["api_not_found"]);
        assert_eq!(
            values(&client, resource("schemas/{operation}"), "operation", "keys_getK").await,
            ["keys_getKey"]
        );
        let pages = values(&client, resource("docs/{page}"), "page", "verify-").await;
        assert_eq!(pages, ["verify-in-your-service"]);
        assert!(values(&client, prompt("create_key"), "name", "a").await.is_empty(), "nobody knows it");
        for long in ["x".repeat(101), "x".repeat(100_000)] {
            assert!(values(&client, resource("keys/{keyId}"), "keyId", &long).await.is_empty());
        }
    }
}

#[tokio::test]
async fn at_most_twenty_are_suggested_and_more_are_said() {
    let world = World::new().await;
    let admin = Client::with_permissions(&world, Era::Handshake, &["*"]).await;
    for number in 0..25 {
        admin.call("apis_createApi", json!({ "name": format!("payments {number}") })).await;
    }
    let client = Client::with_permissions(&world, Era::Discover, &["*"]).await;
    for reference in [("apis/{apiId}", "apiId", "pay"), ("errors/{code}", "code", ""), ("docs/{page}", "page", "")]
    {
        let (template, name, typed) = reference;
        let info = client.complete(resource(template), name, typed, &[]).await.unwrap();
        assert_eq!((info.values.len(), info.has_more), (20, Some(true)), "{template}");
    }
}

#[tokio::test]
async fn what_a_caller_may_not_see_is_not_suggested() {
    let world = World::new().await;
    let admin = Client::with_permissions(&world, Era::Handshake, &["*"]).await;
    let payments = id(&admin, "apis_createApi", json!({ "name": "payments" }), "apiId").await;
    let letters = id(&admin, "apis_createApi", json!({ "name": "letters" }), "apiId").await;
    admin.call("permissions_createRole", json!({ "name": "editor" })).await;

    let of_one = with_wishes(&world, &[&format!("api.{payments}.read_api")], &[]).await;
    assert_eq!(values(&of_one, resource("apis/{apiId}"), "apiId", "").await, [payments.as_str()]);
    let operations = values(&of_one, resource("schemas/{operation}"), "operation", "keys_").await;
    assert!(!operations.contains(&"keys_createKey".to_owned()), "{operations:?}");

    let elsewhere = world.root_key_elsewhere().await;
    let stranger = Client::connect(&world, Era::Discover, &elsewhere, 0).await;
    assert!(values(&stranger, resource("apis/{apiId}"), "apiId", "").await.is_empty());

    let pinned = with_wishes(&world, &["*"], &[(Wish::Api, &letters)]).await;
    assert_eq!(values(&pinned, resource("apis/{apiId}"), "apiId", "").await, [letters.as_str()]);
    assert!(values(&pinned, resource("apis/{apiId}"), "apiId", &payments).await.is_empty());
    assert!(values(&pinned, resource("keys/{keyId}"), "keyId", "").await.is_empty());

    // Roles are of a toolset that is not there by default.
    let by_default = with_wishes(&world, &["*"], &[]).await;
    assert!(values(&by_default, prompt("review_permissions"), "role", "ed").await.is_empty());
}

#[tokio::test]
async fn what_is_not_there_has_no_completion() {
    let world = World::new().await;
    let client = with_wishes(&world, &["*"], &[(Wish::ExcludeTools, "keys_getKey")]).await;
    for (reference, name) in [
        (prompt("nothing\u{202e}"), "name"),
        (prompt("create_key"), "nothing"),
        (prompt("design_roles"), "resources"),
        (resource("nothing/{x}"), "x"),
        (resource("apis/{apiId}"), "keyId"),
        (resource("apis/api_1"), "apiId"),
        (resource("errors"), "code"),
        (resource("keys/{keyId}"), "keyId"),
        (Reference::for_resource("apis/{apiId}"), "apiId"),
    ] {
        let why = refusal(client.complete(reference, name, "", &[]).await);
        assert!(why.contains("no ") && !why.contains('\u{202e}'), "{why}");
    }
}

#[tokio::test]
async fn completion_counts_as_calls() {
    let world = World::new().await;
    let root_key = world.root_key(&["*"]).await;
    let client = Client::connect(&world, Era::Handshake, &root_key, 2).await;
    for _ in 0..2 {
        values(&client, resource("apis/{apiId}"), "apiId", "").await;
    }
    let refused = client.complete(resource("apis/{apiId}"), "apiId", "", &[]).await;
    assert!(
        matches!(&refused, Err(ServiceError::McpError(error)) if error.message.contains("2 requests")),
        "{refused:?}"
    );
    assert_eq!(values(&client, resource("errors/{code}"), "code", "api_not").await, ["api_not_found"]);
}
