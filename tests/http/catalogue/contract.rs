//! The server's description of itself agrees with the contract.

use keyrack_test_harness::operations;
use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::catalogue::facts::{Operation, facts};
use crate::catalogue::openapi::{Depth, Difference, compare, resolve};
use crate::catalogue::responses;
use crate::program;

/// Namespaces of the contract that do not exist yet.
const LATER: [&str; 1] = ["portal."];

async fn openapi() -> Value {
    let server = program().start().await;
    server.get("/openapi.json").await.expect(200).body
}

/// Every operation that the server describes and the contract knows. `liveness`, which needs no key, is no operation
/// in this sense.
fn shared_operations(document: &Value) -> BTreeMap<String, Operation> {
    let paths = document["paths"].as_object().expect("paths");
    paths
        .keys()
        .filter_map(|path| path.strip_prefix("/v2/"))
        .filter(|name| name.contains('.'))
        .filter_map(|name| Some((name.to_owned(), facts().operation(name)?)))
        .collect()
}

fn response_data(described: &Value) -> Value {
    let content = &described["responses"]["200"]["content"]["application/json"]["schema"];
    content["properties"]["data"].clone()
}

fn differences(document: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    for (name, operation) in shared_operations(document) {
        let described = &document["paths"][&operation.path][operation.method.to_lowercase()];
        assert!(described.is_object(), "{name} is not {} {}", operation.method, operation.path);
        let described = resolve(described, document);
        let request = &described["requestBody"]["content"]["application/json"]["schema"];
        compare(&format!("{name} request"), &operation.request, request, Depth::Everything, &mut found);
        let data = response_data(&described);
        if let Some(schema) = &operation.data {
            compare(&format!("{name} data"), schema, &data, Depth::NamesAndTypes, &mut found);
        }
    }
    found
}

#[tokio::test]
async fn every_operation_is_described_and_in_the_contract() {
    let server = program().start().await;
    let document = server.get("/openapi.json").await.expect(200).body;
    let shared = shared_operations(&document);
    for name in operations(&server).await {
        assert!(shared.contains_key(name), "{name} is missing in the contract");
    }
    assert_eq!(document["openapi"].as_str().map(|version| &version[..3]), Some("3.1"));
}

#[tokio::test]
async fn every_operation_of_the_contract_exists() {
    let offered = operations(&program().start().await).await;
    let is_later = |name: &str| LATER.iter().any(|later| name.starts_with(later));
    for name in facts().operations().into_iter().filter(|name| name.contains('.') && !is_later(name)) {
        assert!(offered.contains(&name), "the contract's {name} does not exist");
    }
}

#[tokio::test]
async fn every_operation_asks_for_a_root_key_and_has_its_own_operation_id() {
    let document = openapi().await;
    for (name, operation) in shared_operations(&document) {
        let described = &document["paths"][&operation.path]["post"];
        assert_eq!(described["operationId"], json!(name));
        let security = described.get("security").unwrap_or(&document["security"]);
        let scheme = security[0].as_object().and_then(|schemes| schemes.keys().next()).cloned();
        let scheme = scheme.unwrap_or_else(|| panic!("{name} names no security scheme"));
        let scheme = &document["components"]["securitySchemes"][&scheme];
        assert_eq!((&scheme["type"], &scheme["scheme"]), (&json!("http"), &json!("bearer")), "{name}");
    }
}

#[tokio::test]
async fn the_description_differs_from_the_contract_exactly_where_listed() {
    let listed: Vec<Difference> = facts().deviations["openapi"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|line| {
            assert!(line["ruling"].is_string(), "no ruling: {line}");
            Difference {
                path: line["path"].as_str().expect("a path").to_owned(),
                contract: line["contract"].clone(),
                keyrack: line["keyrack"].clone(),
            }
        })
        .collect();
    let found = differences(&openapi().await);
    let unlisted: Vec<_> = found.iter().filter(|difference| !listed.contains(difference)).collect();
    let stale: Vec<_> = listed.iter().filter(|difference| !found.contains(difference)).collect();
    assert!(
        unlisted.is_empty() && stale.is_empty(),
        "differences not in deviations.json: {unlisted:#?}\nlisted but no longer different: {stale:#?}"
    );
}

#[tokio::test]
async fn every_declared_error_status_of_the_contract_is_described() {
    let document = openapi().await;
    for name in shared_operations(&document).keys() {
        let described = &document["paths"][format!("/v2/{name}")]["post"]["responses"];
        for status in ["400", "401", "403", "429", "500"] {
            assert!(described.get(status).is_some(), "{name} does not describe {status}");
        }
        let limited = &described["429"];
        let limited = resolve(limited, &document);
        assert!(limited["content"]["application/problem+json"].is_object(), "{name}: R8 on 429");
    }
}

#[test]
fn every_error_deviation_still_deviates() {
    for line in facts().deviations["errors"].as_array().expect("a list") {
        let path = line["path"].as_str().expect("a path");
        let (code, _) = path.rsplit_once('/').expect("code and member");
        assert!(responses::status_and_title(code).is_some(), "{path}");
        assert_ne!(line["contract"], line["keyrack"], "{path}");
        assert!(line["ruling"].is_string(), "{path} has no ruling");
    }
}
