//! `keyrack root-key create`: offline, and valid in a running server at once.

use keyrack_test_harness::ROOT_KEY;
use serde_json::json;

use crate::{Shell, keyrack, program};

#[tokio::test]
async fn beside_a_bootstrap_root_key_a_first_start_makes_no_other_and_commands_act_with_it() {
    let server = program().env("KEYRACK_BOOTSTRAP_ROOT_KEY", ROOT_KEY).start().await;
    let root_keys = server.call("rootKeys.listKeys", json!({})).await.expect(200);
    let names: Vec<_> = root_keys.data().as_array().expect("a list").iter().map(|key| &key["name"]).collect();
    assert_eq!(names, ["bootstrap"]);
    assert!(!server.data_dir().join("root-key").exists());
    let log = server.log();
    assert!(log.contains("Root key  the bootstrap root key of the settings"), "{log}");
    assert!(log.contains("the bootstrap root key has full access") && !log.contains(ROOT_KEY), "{log}");
    let shell = Shell::beside(&server);
    shell.data(&["apis", "create-api", "--name", "payments"]);
    let done = shell.run(&["doctor"]);
    assert!(done.stdout.contains("the database knows the bootstrap root key of the settings"), "{done:?}");
    let done = shell.run(&["mcp-config", "claude"]).expect(0);
    assert!(done.stderr.contains("KEYRACK_ROOT_KEY") && !done.stderr.contains("first start"), "{done:?}");
    let without = Shell { program: server.program().clone().without_env("KEYRACK_BOOTSTRAP_ROOT_KEY"), ..shell };
    let refused = without.run(&["api", "apis", "list-apis"]).expect(3);
    assert!(refused.stderr.contains("unless a bootstrap root key is set"), "{refused:?}");
}

#[tokio::test]
async fn the_root_key_of_a_command_is_deleted_by_it_only_if_that_is_confirmed() {
    let server = keyrack().await;
    let made = server.call("rootKeys.createKey", json!({ "permissions": ["*"], "name": "own" })).await.expect(200);
    let (id, other) =
        (made.text_of("keyId"), server.call("rootKeys.createKey", json!({ "permissions": [] })).await);
    let shell = Shell::beside(&server).with("KEYRACK_ROOT_KEY", &made.text_of("key"));
    let delete = ["api", "root-keys", "delete-key", "--key-id"];
    shell.run(&[&delete[..], &[&other.expect(200).text_of("keyId")]].concat()).expect(0);
    // No answer on standard input counts that nobody typed.
    let refused = shell.run_with_stdin(&[&delete[..], &[&id]].concat(), "y\n").expect(2);
    assert!(refused.stderr.contains("acts with") && refused.stderr.contains("--yes"), "{refused:?}");
    shell.run(&["api", "apis", "list-apis"]).expect(0);
    shell.run(&[&delete[..], &[&id, "--yes"]].concat()).expect(0);
    shell.run(&["api", "apis", "list-apis"]).expect(3);
    let help = shell.run(&["api", "root-keys", "delete-key", "--help"]).expect(0);
    assert!(help.stdout.contains("--yes") && help.stdout.contains("Without a terminal"), "{help:?}");
}

#[test]
fn a_command_that_sets_up_the_database_says_which_root_key_is_the_first() {
    let shell = Shell::alone();
    let made = shell.run(&["root-key", "create"]).expect(0);
    assert!(made.stderr.contains("its first root key is in "), "{made:?}");
    let shell = Shell::alone().with("KEYRACK_BOOTSTRAP_ROOT_KEY", ROOT_KEY);
    let made = shell.run(&["root-key", "create"]).expect(0);
    assert!(made.stderr.contains("its first root key is the bootstrap root key"), "{made:?}");
    assert!(!shell.program.data_dir().join("root-key").exists());
}

#[tokio::test]
async fn a_root_key_made_offline_is_valid_in_a_running_server_at_once() {
    let server = keyrack().await;
    let shell = Shell::beside(&server);
    let made = shell.run(&["root-key", "create", "--name", "ci", "--expires-in", "30d"]).expect(0);
    assert_eq!(made.stdout.lines().count(), 1, "{made:?}");
    let root_key = made.stdout.trim();
    assert!(root_key.starts_with("keyrack_") && !made.stderr.contains(root_key), "{made:?}");
    assert!(made.stderr.contains("operator") && made.stderr.contains("expires at"), "{made:?}");
    let client = server.with_key(root_key);
    let overview = client.call("workspace.getOverview", json!({})).await.expect(200);
    assert_eq!(overview.data()["rootKey"]["operator"], true);
    assert_eq!(overview.data()["rootKey"]["permissions"], json!(["*"]));
    assert_eq!(overview.data()["rootKey"]["name"], "ci");
    assert!(!server.log().contains("refused"), "it was known in the end: {}", server.log());
}

#[tokio::test]
async fn permissions_narrow_it_and_it_is_no_operator_then() {
    // Without a server: the command sets up the empty database itself.
    let shell = Shell::alone();
    let line = ["root-key", "create", "--permission", "api.*.read_api", "--permission", "api.*.verify_key"];
    let root_key = shell.run(&line).expect(0).stdout;
    let server = shell.program.start().await;
    let client = server.with_key(root_key.trim());
    let overview = client.call("workspace.getOverview", json!({})).await.expect(200);
    assert_eq!(overview.data()["rootKey"]["operator"], false);
    assert_eq!(overview.data()["rootKey"]["permissions"], json!(["api.*.read_api", "api.*.verify_key"]));
    client.call("apis.createApi", json!({ "name": "payments" })).await.expect(403);
}

#[test]
fn what_cannot_be_granted_is_refused_with_a_fix() {
    let refused = Shell::alone().run(&["root-key", "create", "--permission", "api.*.fly"]).expect(2);
    assert!(refused.stderr.contains("`api.*.fly`") && refused.stderr.contains("fix: "), "{refused:?}");
    assert_eq!(refused.stdout, "");
    Shell::alone().run(&["root-key", "create", "--expires-in", "soon"]).expect(2);
    Shell::alone().run(&["root-key", "create", "--workspace", "ws_unknown"]).expect(2);
}

#[tokio::test]
async fn root_keys_that_are_guessed_are_refused_and_one_that_is_made_meanwhile_is_not() {
    let server = keyrack().await;
    let guesses = (0..200).map(|number| {
        let client = server.with_key(&format!("keyrack_guessed_{number:032}"));
        async move { client.call("workspace.getOverview", json!({})).await.status }
    });
    let answers = futures_util::future::join_all(guesses).await;
    assert!(answers.iter().all(|status| *status == 401), "{answers:?}");
}
