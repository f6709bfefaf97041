//! `keyrack root-key create`: offline, and valid in a running server at once.

use serde_json::json;

use crate::{Shell, program};

#[tokio::test]
async fn a_root_key_made_offline_is_valid_in_a_running_server_at_once() {
    let server = program().start().await;
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
    let server = program().start().await;
    let guesses = (0..200).map(|number| {
        let client = server.with_key(&format!("keyrack_guessed_{number:032}"));
        async move { client.call("workspace.getOverview", json!({})).await.status }
    });
    let answers = futures_util::future::join_all(guesses).await;
    assert!(answers.iter().all(|status| *status == 401), "{answers:?}");
}
