//! Root keys over HTTP: where they may be, and what clients read when they are not there or wrong.

use serde_json::{Value, json};

use crate::raw_http::{ABSENT, Answer, Server};

const NONE: (&str, &str) = ("authorization", ABSENT);

async fn list(server: &Server, headers: &[(&str, &str)]) -> Answer {
    server.post(headers, &json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" })).await
}

fn count(answer: &Answer) -> usize {
    answer.json()["result"]["tools"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_root_key_is_read_from_four_headers_with_or_without_the_scheme() {
    let server = Server::start().await;
    let key = server.root_key.clone();
    let bearer = format!("Bearer {key}");
    for name in ["authorization", "x-keyrack-root-key", "mcp-unkey-bearer-auth", "mcp-unkey-v2-root-key"] {
        for value in [&key, &bearer] {
            let headers = if name == "authorization" { vec![(name, &**value)] } else { vec![NONE, (name, value)] };
            assert_eq!(list(&server, &headers).await.status, 200, "{name}");
        }
    }
    let same_twice = [("authorization", bearer.as_str()), ("mcp-unkey-bearer-auth", key.as_str())];
    assert_eq!(list(&server, &same_twice).await.status, 200);
}

#[tokio::test]
async fn each_root_key_has_its_own_list() {
    let server = Server::start().await;
    let few = server.world.root_key(&["api.*.read_api"]).await;
    assert_eq!(count(&list(&server, &[NONE, ("x-keyrack-root-key", &few)]).await), 4);
    assert!(count(&list(&server, &[]).await) > 15);
}

#[tokio::test]
async fn without_a_root_key_the_answer_names_the_headers() {
    let server = Server::start().await;
    for headers in [&[NONE][..], &[("authorization", "Basic dTpw")], &[NONE, ("x-keyrack-root-key", "")]] {
        let answer = list(&server, headers).await;
        assert_eq!(answer.status, 401);
        assert_eq!(answer.header("www-authenticate"), r#"Bearer realm="keyrack""#);
        let refusal = answer.refusal();
        for name in
            ["Authorization: Bearer", "X-Keyrack-Root-Key", "MCP-UNKEY-BEARER-AUTH", "MCP-UNKEY-V2-ROOT-KEY"]
        {
            assert!(refusal.contains(name), "{refusal}");
        }
    }
}

#[tokio::test]
async fn a_wrong_bearer_is_401_and_a_wrong_key_in_a_header_of_ours_is_403() {
    let server = Server::start().await;
    let bearer = list(&server, &[("authorization", "Bearer wrong-key-planted")]).await;
    assert_eq!(bearer.status, 401);
    assert_eq!(bearer.header("www-authenticate"), r#"Bearer realm="keyrack", error="invalid_token""#);
    for name in ["x-keyrack-root-key", "mcp-unkey-bearer-auth", "mcp-unkey-v2-root-key"] {
        let own = list(&server, &[NONE, (name, "wrong-key-planted")]).await;
        assert_eq!((own.status, own.header("www-authenticate")), (403, ""), "{name}");
        assert_eq!(own.refusal(), bearer.refusal());
    }
    assert!(bearer.refusal().starts_with("The provided root key is invalid."), "{bearer:?}");
    assert!(!bearer.text.contains("planted"));
    let unexpanded = list(&server, &[NONE, ("mcp-unkey-bearer-auth", "${KEYRACK_ROOT_KEY}")]).await;
    assert!(unexpanded.refusal().contains("the name of a variable"), "{unexpanded:?}");
}

#[tokio::test]
async fn a_discovery_with_a_wrong_key_in_a_header_of_ours_is_400_so_that_clients_fall_back_and_show_why() {
    let server = Server::start().await;
    let discover = json!({ "jsonrpc": "2.0", "id": 0, "method": "server/discover", "params": {} });
    let newer = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "server/discover")];
    let refused = list(&server, &[NONE, ("x-keyrack-root-key", "wrong-key-planted")]).await;
    for name in ["x-keyrack-root-key", "mcp-unkey-bearer-auth", "mcp-unkey-v2-root-key"] {
        let headers = [&newer[..], &[NONE, (name, "wrong-key-planted")]].concat();
        let answer = server.post(&headers, &discover).await;
        assert_eq!(answer.status, 400, "{name}: {answer:?}");
        assert_eq!(answer.json(), refused.json(), "{name}");
        // What the client asks then.
        let initialize = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {} });
        assert_eq!(server.post(&[NONE, (name, "wrong-key-planted")], &initialize).await.status, 403, "{name}");
    }
    let bearer = [&newer[..], &[("authorization", "Bearer wrong-key-planted")]].concat();
    assert_eq!(server.post(&bearer, &discover).await.status, 401);
}

#[tokio::test]
async fn an_ordinary_key_is_no_root_key() {
    let server = Server::start().await;
    let call = |tool: &str, arguments: Value| {
        let params = json!({ "name": tool, "arguments": arguments });
        json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params })
    };
    let data = |answer: Answer| answer.json()["result"]["structuredContent"]["data"].clone();
    let api = data(server.post(&[], &call("apis_createApi", json!({ "name": "payments" }))).await);
    let key = data(server.post(&[], &call("keys_createKey", json!({ "apiId": api["apiId"] }))).await);
    let answer = list(&server, &[NONE, ("x-keyrack-root-key", key["key"].as_str().unwrap())]).await;
    assert_eq!(answer.status, 403);
}

#[tokio::test]
async fn two_different_root_keys_are_refused_even_if_both_are_good() {
    let server = Server::start().await;
    let other = server.world.root_key(&["*"]).await;
    let answer = list(&server, &[("x-keyrack-root-key", &other)]).await;
    assert_eq!(answer.status, 400);
    assert!(answer.refusal().contains("Two different root keys"), "{answer:?}");
}

#[tokio::test]
async fn clients_that_try_oauth_are_told_what_to_do_instead() {
    let server = Server::start().await;
    let answer = server.send("POST", "/register", &[NONE], "{}").await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["error"], "invalid_client_metadata");
    assert!(answer.json()["error_description"].as_str().unwrap().contains("root keys, not OAuth; pass --header"));
    for path in [
        "/.well-known/oauth-authorization-server",
        "/.well-known/oauth-protected-resource/mcp/v2",
        "/.well-known/openid-configuration",
        "/mcp/.well-known/openid-configuration",
    ] {
        let answer = server.send("GET", path, &[NONE], "").await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.json()["error"], "not_found");
    }
}
