//! What people read first.

use crate::Shell;

#[test]
fn the_program_says_what_it_can_do() {
    insta::assert_snapshot!(Shell::alone().run(&["--help"]).expect(0).stdout);
}

#[test]
fn a_command_says_what_it_takes() {
    insta::assert_snapshot!(Shell::alone().run(&["api", "keys", "create-key", "--help"]).expect(0).stdout);
}

#[test]
fn a_command_with_a_secret_says_where_it_comes_from() {
    insta::assert_snapshot!(Shell::alone().run(&["api", "keys", "whoami", "-h"]).expect(0).stdout);
}

#[test]
fn values_of_the_environment_are_not_in_the_help() {
    let shell = Shell::alone().with("KEYRACK_URL", "http://planted").with("KEYRACK_ROOT_KEY", "planted");
    for line in [&["api", "--help"][..], &["api", "apis", "list-apis", "--help"], &["mcp-config", "--help"]] {
        assert!(!shell.run(line).expect(0).stdout.contains("planted"), "{line:?}");
    }
}
