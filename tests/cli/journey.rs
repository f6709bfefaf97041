//! From an API to a deleted key, as somebody at a terminal does it.

use serde_json::{Value, json};

use crate::{Shell, database, keyrack, text};

#[tokio::test]
async fn a_key_is_created_verified_listed_changed_and_deleted() {
    let server = keyrack().await;
    let shell = Shell::beside(&server);
    let api = text(&shell.data(&["apis", "create-api", "--name", "payments"]), "apiId");
    let created = shell.run(&["api", "keys", "create-key", "--api-id", &api, "--name", "Mobile"]).expect(0);
    assert!(created.stderr.contains("shown this once"), "{created:?}");
    let line = |name: &str| {
        let line = created.stdout.lines().find(|line| line.starts_with(name)).expect("a line of name and value");
        line.split_whitespace().last().expect("a value").to_owned()
    };
    let (key_id, key) = (line("keyId"), line("key "));
    assert!(key_id.starts_with("key_"), "{created:?}");

    let verified = shell.data_with_stdin(&["keys", "verify-key"], &format!("{key}\n"));
    assert_eq!((&verified["valid"], &verified["name"]), (&json!(true), &json!("Mobile")));
    let seen = shell.data_with_stdin(&["keys", "whoami", "--key-file", "-"], &key);
    assert_eq!(seen["keyId"], key_id.as_str());

    let changed = shell.run(&["api", "keys", "update-key", "--key-id", &key_id, "--clear", "name"]).expect(0);
    assert_eq!((changed.stdout.as_str(), changed.stderr.as_str()), ("", "done\n"));
    assert_eq!(shell.data(&["keys", "get-key", "--key-id", &key_id]).get("name"), None);

    shell.run(&["api", "keys", "delete-key", "--key-id", &key_id]).expect(0);
    let verified = shell.data_with_stdin(&["keys", "verify-key"], &key);
    assert_eq!(verified["code"], "NOT_FOUND");
}

#[tokio::test]
async fn all_pages_of_a_list_are_read() {
    let server = keyrack().await;
    let shell = Shell::beside(&server);
    let api = text(&shell.data(&["apis", "create-api", "--name", "payments"]), "apiId");
    for _ in 0..7 {
        shell.data(&["keys", "create-key", "--api-id", &api]);
    }
    let ids = |data: &Value| {
        let keys = data.as_array().expect("a list").iter();
        keys.map(|key| text(key, "keyId")).collect::<std::collections::BTreeSet<_>>()
    };
    let all = shell.data(&["apis", "list-keys", "--api-id", &api, "--limit", "3", "--all"]);
    assert_eq!(ids(&all).len(), 7);

    let first = shell.run(&["api", "apis", "list-keys", "--api-id", &api, "--limit", "3"]).expect(0);
    assert_eq!(first.stdout.lines().count(), 4, "a header and three keys: {first:?}");
    let (_, cursor) = first.stderr.split_once("--cursor ").expect("the cursor is named");
    let cursor = cursor.split(',').next().expect("a cursor");
    let rest = shell.data(&["apis", "list-keys", "--api-id", &api, "--cursor", cursor, "--all"]);
    assert_eq!(ids(&rest).len(), 4);
    assert!(ids(&rest).is_subset(&ids(&all)));
}

#[tokio::test]
async fn zero_is_sent_as_zero() {
    let server = keyrack().await;
    let shell = Shell::beside(&server);
    let limit = |cost: &str| {
        let line = ["ratelimit", "limit", "--namespace", "emails", "--identifier", "ada", "--limit", "10"];
        shell.data(&[&line[..], &["--duration", "2592000000", "--cost", cost]].concat())
    };
    assert_eq!(limit("0")["remaining"], 10);
    assert_eq!(limit("3")["remaining"], 7);
    let api = text(&shell.data(&["apis", "create-api", "--name", "payments"]), "apiId");
    let spent = shell.data(&["keys", "create-key", "--api-id", &api, "--credits-json", r#"{"remaining":0}"#]);
    assert_eq!(shell.data_with_stdin(&["keys", "verify-key"], &text(&spent, "key"))["code"], "USAGE_EXCEEDED");
    let asleep = shell.data(&["keys", "create-key", "--api-id", &api, "--enabled=false"]);
    assert_eq!(shell.data_with_stdin(&["keys", "verify-key"], &text(&asleep, "key"))["code"], "DISABLED");
}

#[tokio::test]
async fn a_whole_body_may_be_piped_in() {
    let server = keyrack().await;
    let shell = Shell::beside(&server);
    let data = shell.data_with_stdin(&["apis", "create-api", "--json", "-"], r#"{"name":"payments"}"#);
    let api = text(&data, "apiId");
    let read = shell.run(&["api", "apis", "get-api", "--api-id", &api]).expect(0);
    assert!(read.stdout.contains("payments"), "{read:?}");
    let envelope = shell.run(&["api", "apis", "get-api", "--api-id", &api, "--output", "json"]).expect(0).json();
    assert!(envelope["meta"]["requestId"].is_string(), "{envelope}");
}

#[tokio::test]
async fn the_audit_log_says_that_the_command_line_did_it() {
    let server = keyrack().await;
    Shell::beside(&server).data(&["apis", "create-api", "--name", "payments"]);
    let mut connection = database(&server).await;
    let select = "SELECT actor FROM audit_logs WHERE event = 'api.create'";
    let actor: String = sqlx::query_scalar(select).fetch_one(&mut connection).await.expect("an event");
    assert!(actor.contains(r#""via":"cli""#), "{actor}");
}
