//! Command lines and the bodies they become, on the operations of the catalogue.

use std::io::Cursor;

use keyrack_core::catalogue::{Operation, Visitor, request_schema};

use super::*;

fn inputs(stdin: &str) -> Inputs {
    Inputs::new(Box::new(Cursor::new(stdin.to_owned())), false)
}

/// The body of a command line; `Err` is what the command says against it.
fn body_of(line: &[&str], stdin: &str) -> Result<Value, String> {
    let arguments = ["api"].into_iter().chain(line.iter().copied());
    let matches = command().try_get_matches_from(arguments).map_err(|error| error.to_string())?;
    let (namespace, matches) = matches.subcommand().unwrap();
    let (action, matches) = matches.subcommand().unwrap();
    let operations = commands();
    let operation =
        operations.iter().find(|known| known.namespace == namespace && known.action == action).unwrap();
    body::body(operation, matches, &mut inputs(stdin)).map_err(|failure| match failure {
        Failure::Usage(text) => text,
        other => panic!("{other:?}"),
    })
}

fn update_key(flags: &[&str]) -> Value {
    body_of(&[&["keys", "update-key", "--key-id", "key_1"], flags].concat(), "").unwrap()
}

#[test]
fn the_tree_is_sound_and_no_flag_has_two_meanings() {
    command().debug_assert();
    command().build();
}

#[test]
fn every_member_of_every_request_has_a_flag() {
    for operation in commands() {
        assert!(!operation.action.is_empty(), "{}", operation.about.name);
        let command = operation.command();
        for flag in &operation.flags {
            assert!(command.get_arguments().any(|argument| argument.get_id() == flag.member));
        }
    }
}

#[test]
fn what_is_not_given_is_not_sent() {
    assert_eq!(update_key(&[]), json!({ "keyId": "key_1" }));
}

#[test]
fn zero_and_empty_values_are_values() {
    let body = body_of(&["keys", "create-key", "--api-id", "", "--expires", "0", "--name="], "").unwrap();
    assert_eq!(body, json!({ "apiId": "", "name": "", "expires": 0 }));
    assert_eq!(update_key(&["--expires", "-1"])["expires"], -1);
}

#[test]
fn booleans_are_set_by_naming_them() {
    assert_eq!(update_key(&["--enabled"])["enabled"], true);
    assert_eq!(update_key(&["--enabled=false"])["enabled"], false);
    assert!(body_of(&["keys", "update-key", "--key-id", "k", "--enabled", "false"], "").is_err());
}

#[test]
fn lists_are_repeated_flags_and_objects_are_json() {
    let body = update_key(&[
        "--roles",
        "a",
        "--roles",
        "b,c",
        "--credits-json",
        r#"{"remaining":0}"#,
        "--ratelimits-json",
        r#"[{"name":"rpm","limit":1,"duration":60000}]"#,
    ]);
    assert_eq!(body["roles"], json!(["a", "b,c"]));
    assert_eq!(body["credits"], json!({ "remaining": 0 }));
    assert_eq!(body["ratelimits"][0]["duration"], 60000);
    let error = body_of(&["keys", "update-key", "--key-id", "k", "--meta-json", "{"], "").unwrap_err();
    assert!(error.starts_with("--meta-json is not JSON"), "{error}");
}

#[test]
fn clearing_sends_null_or_an_empty_list() {
    let body = update_key(&["--clear", "name", "--clear", "external-id", "--clear", "roles"]);
    assert_eq!(body, json!({ "keyId": "key_1", "name": null, "externalId": null, "roles": [] }));
    let error = body_of(&["keys", "update-key", "--key-id", "k", "--clear", "key-id"], "").unwrap_err();
    assert!(error.contains("possible values") && error.contains("external-id"), "{error}");
    let both = ["keys", "update-key", "--key-id", "k", "--name", "a", "--clear", "name"];
    assert_eq!(body_of(&both, "").unwrap_err(), "--name and --clear name exclude each other");
}

#[test]
fn a_whole_body_needs_no_other_flags_and_flags_win_over_it() {
    let body = body_of(&["keys", "create-key", "--json", r#"{"apiId":"api_1","name":"a"}"#], "").unwrap();
    assert_eq!(body, json!({ "apiId": "api_1", "name": "a" }));
    let body =
        body_of(&["keys", "create-key", "--json", "-", "--name", "b"], r#"{"apiId":"api_1","x":1}"#).unwrap();
    assert_eq!(body, json!({ "apiId": "api_1", "x": 1, "name": "b" }));
    assert!(body_of(&["keys", "create-key", "--json", "[]"], "").unwrap_err().contains("not a JSON object"));
}

#[test]
fn a_required_member_that_is_missing_is_named() {
    let error = body_of(&["keys", "create-key", "--name", "a"], "").unwrap_err();
    assert!(error.contains("--api-id <TEXT>"), "{error}");
}

#[test]
fn secrets_come_from_standard_input_or_files_and_never_from_arguments() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "sk_file\n").unwrap();
    let path = file.path().to_str().unwrap();
    let key = |line: &[&str]| body_of(line, "sk_stdin\n").unwrap()["key"].clone();
    assert_eq!(key(&["keys", "verify-key"]), "sk_stdin");
    assert_eq!(key(&["keys", "verify-key", "--key-file", "-"]), "sk_stdin");
    assert_eq!(key(&["keys", "whoami", "--key-file", path]), "sk_file");
    assert_eq!(body_of(&["keys", "whoami", "--json", "-"], r#"{"key":"sk_1"}"#).unwrap()["key"], "sk_1");
    let error = body_of(&["keys", "whoami", "--json", r#"{"key":"sk_planted"}"#], "").unwrap_err();
    assert!(!error.contains("sk_planted") && error.contains("@FILE"), "{error}");
    assert!(body_of(&["keys", "whoami", "--key", "sk_planted"], "").is_err());
}

/// The secrets of requests, by operation.
#[derive(Default)]
struct Secrets(Vec<(&'static str, String)>);

impl Visitor for Secrets {
    fn operation<O: Operation>(&mut self) {
        let members = request_schema::<O>().secrets().pointers();
        self.0.extend(members.map(|pointer| (O::ABOUT.name, pointer.split('/').nth(1).unwrap().to_owned())));
    }
}

#[test]
fn secret_members_have_no_flag_that_takes_their_value() {
    let mut secrets = Secrets::default();
    keyrack_core::each(&mut secrets);
    assert!(secrets.0.len() >= 2, "{:?}", secrets.0);
    let commands = commands();
    for (name, member) in secrets.0 {
        let command = commands.iter().find(|command| command.about.name == name).unwrap();
        let flag = command.flags.iter().find(|flag| flag.member == member).unwrap();
        assert!(flag.is_secret(), "{name} {member}");
    }
}

#[test]
fn only_lists_have_pages() {
    let takes_all = |line: &[&str]| command().try_get_matches_from(line).is_ok();
    assert!(takes_all(&["api", "apis", "list-apis", "--all"]));
    assert!(!takes_all(&["api", "apis", "get-api", "--api-id", "api_1", "--all"]));
}

#[test]
fn help_teaches_what_a_command_takes() {
    let mut api = command();
    api.build();
    let keys = api.find_subcommand_mut("keys").unwrap();
    let help = keys.find_subcommand_mut("verify-key").unwrap().render_long_help().to_string();
    assert!(help.contains("--key-file <PATH>") && !help.contains("--key <"), "{help}");
    assert!(help.contains("Example:\n  keyrack api keys verify-key --key-file key.txt"), "{help}");
}
