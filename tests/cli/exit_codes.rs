//! Scripts tell the classes of failure apart; people read what to do; nobody reads a secret.

use keyrack_test_harness::{Program, free_port, program_under_test};

use crate::{Shell, database, keyrack};

const PLANTED: &str = "planted_0123456789_0123456789_0123456789";

#[tokio::test]
async fn usage_authentication_and_not_found_have_their_own_codes() {
    let server = keyrack().await;
    let shell = Shell::beside(&server);
    shell.run(&["api", "apis", "get-api"]).expect(2);
    shell.run(&["api", "apis", "get-api", "--api-ident", "api_1"]).expect(2);
    shell.run(&["api", "apis", "fetch-api"]).expect(2);
    shell.run(&["api", "keys", "create-key", "--api-id", "api_1", "--expires", "soon"]).expect(2);
    let missing = shell.run(&["api", "apis", "get-api", "--api-id", "api_12345678"]).expect(4);
    assert!(missing.stderr.starts_with("error: Not Found: ") && missing.stderr.contains("request id: req_"));
    assert_eq!(missing.stdout, "");
    shell.clone().with("KEYRACK_ROOT_KEY", PLANTED).run(&["api", "apis", "list-apis"]).expect(3);
}

#[tokio::test]
async fn a_workspace_beyond_its_limit_is_told_to_slow_down() {
    let server = keyrack().await;
    let mut connection = database(&server).await;
    let limited = sqlx::query("UPDATE workspaces SET requests_per_minute = 0").execute(&mut connection).await;
    assert_eq!(limited.expect("the workspace").rows_affected(), 1);
    let server = server.kill_and_restart().await;
    let refused = Shell::beside(&server).run(&["api", "apis", "list-apis"]).expect(5);
    assert!(refused.stderr.starts_with("error: Too Many Requests: "), "{refused:?}");
}

#[tokio::test]
async fn every_fault_of_a_request_is_told_with_its_fix() {
    let server = keyrack().await;
    let line = ["api", "keys", "create-key", "--api-id", "a", "--byte-length", "7"];
    let refused = Shell::beside(&server).run(&line).expect(1);
    for part in ["error: Bad Request: ", "\n  body.apiId: ", "\n  body.byteLength: must be", "\n  fix: Send "] {
        assert!(refused.stderr.contains(part), "no {part:?} in {refused:#?}");
    }
}

#[test]
fn without_a_server_its_url_and_the_way_to_start_it_are_named() {
    let url = format!("http://127.0.0.1:{}", free_port());
    let shell = Shell::alone().with("KEYRACK_ROOT_KEY", PLANTED).with("KEYRACK_URL", &url);
    let failed = shell.run_with_stdin(&["api", "keys", "verify-key"], "sk_planted").expect(1);
    assert!(failed.stderr.contains(&url) && failed.stderr.contains("keyrack serve"), "{failed:?}");
    assert!(!failed.stderr.contains("planted"), "{failed:?}");
}

#[test]
fn without_a_root_key_the_ways_to_give_one_are_named() {
    let failed = Shell::alone().run(&["api", "apis", "list-apis"]).expect(3);
    assert!(failed.stderr.contains("--root-key-file") && failed.stderr.contains("KEYRACK_ROOT_KEY"), "{failed:?}");
    let remote = Shell::alone().with("KEYRACK_URL", "https://keys.example.com");
    assert!(remote.run(&["api", "apis", "list-apis"]).expect(3).stderr.contains("not on this machine"));
}

#[tokio::test]
async fn secrets_are_no_arguments_and_are_in_no_error() {
    let server = keyrack().await;
    let shell = Shell::beside(&server);
    let body = format!(r#"{{"key":"{PLANTED}"}}"#);
    let refused = shell.run(&["api", "keys", "verify-key", "--json", &body]).expect(2);
    assert!(!refused.stderr.contains(PLANTED), "{refused:?}");
    let long = PLANTED.repeat(20);
    let refused = shell.run_with_stdin(&["api", "keys", "verify-key"], &long).expect(1);
    assert!(refused.stderr.contains("body.key") && !refused.stderr.contains(PLANTED), "{refused:?}");
    let refused = shell.with("KEYRACK_ROOT_KEY", PLANTED).run(&["api", "workspace", "get-overview"]).expect(3);
    assert!(!refused.stderr.contains(PLANTED), "{refused:?}");
}

#[tokio::test]
async fn a_root_key_file_that_is_named_beats_the_environment() {
    let server = keyrack().await;
    let file = server.data_dir().join("root-key");
    let shell = Shell::beside(&server).with("KEYRACK_ROOT_KEY", PLANTED);
    let file = file.to_str().expect("a path");
    shell.run(&["api", "apis", "list-apis", "--root-key-file", file]).expect(0);
    let root_key = std::fs::read_to_string(file).expect("the root key");
    shell.run_with_stdin(&["api", "apis", "list-apis", "--root-key-file", "-"], &root_key).expect(0);
    let sdk = Shell { program: Program::new(program_under_test()), environment: Vec::new() };
    let sdk = sdk.with("KEYRACK_URL", server.base()).with("UNKEY_ROOT_KEY", root_key.trim());
    sdk.run(&["api", "apis", "list-apis"]).expect(0);
}
