//! The permission query: what satisfies it, and what is said about a broken one.

use serde_json::json;

use crate::fixture::{new_api, new_key, verify, verify_answer};
use crate::keyrack;

#[tokio::test]
async fn and_binds_tighter_than_or_and_operators_have_no_case() {
    let server = keyrack().await;
    let held = json!({"permissions": ["a", "b", "ANDROID", "or.read", "documents.*"]});
    let key = new_key(&server, &new_api(&server).await, held).await;
    for (query, valid) in [
        ("a", true),
        ("A", false),
        ("c", false),
        ("a AND b", true),
        ("a and b", true),
        ("a aNd c", false),
        ("c Or b", true),
        ("a OR b AND c", true),
        ("(a OR b) AND c", false),
        ("c AND c OR a", true),
        ("c AND (c OR a)", false),
        ("((a))\tAND\n( b )\r", true),
        ("ANDROID", true),
        ("or.read", true),
        ("documents.read", false),
        ("documents.*", true),
        ("*", false),
        ("a/b:c-d_e.f", false),
    ] {
        let data = verify(&server, &key, json!({"permissions": query})).await;
        let code = if valid { "VALID" } else { "INSUFFICIENT_PERMISSIONS" };
        assert_eq!(data["code"], code, "{query:?}");
    }
}

#[tokio::test]
async fn a_broken_query_is_explained_by_token_and_position() {
    let server = keyrack().await;
    let key = new_key(&server, &new_api(&server).await, json!({"enabled": false})).await;
    let operand = "Expected a permission identifier or opening parenthesis.";
    let extra = "The query appears to have extra content after a valid expression.";
    let inside = "Parentheses must contain at least one permission or expression.";
    let closing = "Every opening parenthesis must have a matching closing parenthesis.";
    for (query, detail) in [
        (" \t ", "Unexpected end of input. Please provide a valid permission query.".to_owned()),
        ("p AND", format!("Unexpected end of query. {operand}")),
        ("AND p", format!("Unexpected token 'AND' at position 0. {operand}")),
        ("p OR )", format!("Unexpected token ')' at position 5. {operand}")),
        ("p AND ()", format!("Empty parentheses found at position 7. {inside}")),
        ("(p AND q", format!("Missing closing parenthesis ')' at position 8. {closing}")),
        ("p q", format!("Unexpected token 'q' at position 2. {extra}")),
        ("p)", format!("Unexpected token ')' at position 1. {extra}")),
        ("a(b)", format!("Unexpected token '(' at position 1. {extra}")),
    ] {
        let answer = verify_answer(&server, &key.key, json!({"permissions": query})).await;
        let answer = answer.expect_error(400, "user/bad_request/permissions_query_syntax_error");
        assert!(answer.detail().contains(&detail), "{query:?}: {}", answer.detail());
        assert_eq!(answer.locations(), ["body.permissions"], "{query:?}");
    }
}

#[tokio::test]
async fn an_illegal_character_is_named_with_its_position_wherever_it_stands() {
    let server = keyrack().await;
    let key = new_key(&server, &new_api(&server).await, json!({"permissions": ["a"]})).await;
    for (query, character, position) in [
        ("$", "$", 0),
        ("a AND $b", "$", 6),
        ("a $", "$", 2),
        ("(a AND a&", "&", 8),
        ("a\u{1}", "\\u{1}", 1),
        ("é", "é", 0),
    ] {
        let answer = verify_answer(&server, &key.key, json!({"permissions": query})).await;
        let answer = answer.expect_error(400, "user/bad_request/permissions_query_syntax_error");
        let detail = answer.detail();
        assert!(detail.contains(&format!("position {position}")), "{query:?}: {detail}");
        assert!(character == "\\u{1}" || detail.contains(character), "{query:?}: {detail}");
    }
}

#[tokio::test]
async fn permissions_that_come_through_a_role_count() {
    let server = keyrack().await;
    let role = json!({"name": "reader", "permissions": ["docs.read", "docs.list"]});
    server.call("permissions.createRole", role).await.expect(200);
    let held = json!({"roles": ["reader"], "permissions": ["own", "docs.read"]});
    let key = new_key(&server, &new_api(&server).await, held).await;
    let data = verify(&server, &key, json!({"permissions": "docs.read AND docs.list AND own"})).await;
    assert_eq!(data["code"], "VALID");
    assert_eq!(data["permissions"], json!(["docs.list", "docs.read", "own"]));
    assert_eq!(data["roles"], json!(["reader"]));
}
