//! Profiles of the settings file: which server is called, with which root key, and that no root key goes astray.

use std::fs;
use std::path::PathBuf;

use keyrack_test_harness::{Server, free_port};

use crate::settings::write_private;
use crate::{Done, Shell, keyrack, program};

const LIST: [&str; 3] = ["api", "apis", "list-apis"];
const PLANTED: &str = "planted_0123456789_0123456789_0123456789";

/// Commands with a settings file, on a machine that knows nothing else.
struct Desk {
    folder: tempfile::TempDir,
    shell: Shell,
}

impl Desk {
    fn new(file: &str) -> Desk {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keyrack.toml");
        write_private(&path, file);
        let shell = Shell::alone().with("KEYRACK_CONFIG", path.to_str().expect("text"));
        Desk { folder, shell }
    }

    /// The same beside the data folder of a server, where its root-key file is.
    fn beside(server: &Server, file: &str) -> Desk {
        let desk = Desk::new(file);
        let shell = Shell { program: server.program().clone(), ..desk.shell };
        Desk { shell, ..desk }
    }

    fn with(mut self, name: &str, value: &str) -> Desk {
        self.shell = self.shell.with(name, value);
        self
    }

    fn run(&self, line: &[&str]) -> Done {
        self.shell.run(line)
    }

    fn list(&self, flags: &[&str]) -> Done {
        self.run(&[&LIST[..], flags].concat())
    }
}

fn root_key(server: &Server) -> String {
    fs::read_to_string(root_key_file(server)).expect("the root key").trim().to_owned()
}

fn root_key_file(server: &Server) -> PathBuf {
    server.data_dir().join("root-key")
}

/// A server that is on no machine.
fn nowhere() -> String {
    format!("http://127.0.0.1:{}", free_port())
}

#[tokio::test]
async fn a_profile_says_which_server_which_root_key_and_which_output() {
    let server = keyrack().await;
    let (base, key, file) = (server.base(), root_key(&server), root_key_file(&server));
    let text = format!(
        "output = 'table'\n[profiles.text]\nurl = '{base}'\nroot_key = '{key}'\noutput = 'json'\n\
         [profiles.file]\nurl = '{base}'\nroot_key_file = '{}'\n",
        file.display()
    );
    let desk = Desk::new(&text);
    assert!(desk.list(&["--profile", "text"]).expect(0).json()["meta"]["requestId"].is_string());
    assert_eq!(desk.list(&["--profile", "file"]).expect(0).stdout, "");
    let desk = desk.with("KEYRACK_PROFILE", "text");
    desk.list(&[]).expect(0).json();
    // The flag beats the variable, and what was said for this command beats the profile.
    assert_eq!(desk.list(&["--profile", "file"]).expect(0).stdout, "");
    assert_eq!(desk.list(&["--output", "table"]).expect(0).stdout, "");
    let desk = desk.with("KEYRACK_OUTPUT", "table");
    assert_eq!(desk.list(&[]).expect(0).stdout, "");
}

#[tokio::test]
async fn what_stands_higher_beats_what_stands_lower() {
    let server = keyrack().await;
    let (base, key) = (server.base(), root_key(&server));
    let [top, profile, variable, flag] = [(); 4].map(|()| nowhere());
    let text = format!("url = '{top}'\n[profiles.work]\nurl = '{profile}'\n[profiles.key]\nroot_key = '{key}'\n");
    let desk = Desk::new(&text).with("KEYRACK_ROOT_KEY", PLANTED);
    let called = |desk: &Desk, flags: &[&str]| desk.list(flags).expect(1).stderr;
    assert!(called(&desk, &[]).contains(&top));
    assert!(called(&desk, &["--profile", "work"]).contains(&profile));
    // A profile without a url leaves that of the top level.
    assert!(called(&desk, &["--profile", "key"]).contains(&top));
    let desk = desk.with("KEYRACK_PROFILE", "work").with("KEYRACK_URL", &variable);
    assert!(called(&desk, &[]).contains(&variable));
    assert!(called(&desk, &["--url", &flag]).contains(&flag));
    // The root key of a profile beats that of the top level, in either form, and loses to the environment.
    let refused = Desk::new(&format!("root_key = '{PLANTED}'\n[profiles.work]\nroot_key = '{key}'\n"));
    refused.list(&["--url", base]).expect(3);
    refused.list(&["--url", base, "--profile", "work"]).expect(0);
    let named = format!(
        "root_key = '{PLANTED}'\n[profiles.work]\nroot_key_file = '{}'\n",
        root_key_file(&server).display()
    );
    Desk::new(&named).list(&["--url", base, "--profile", "work"]).expect(0);
    refused.with("KEYRACK_ROOT_KEY", PLANTED).list(&["--url", base, "--profile", "work"]).expect(3);
    let planted = Desk::new(&format!("[profiles.work]\nroot_key = '{PLANTED}'\n"));
    let planted = planted.with("KEYRACK_ROOT_KEY_FILE", root_key_file(&server).to_str().expect("text"));
    planted.list(&["--url", base, "--profile", "work"]).expect(0);
}

#[tokio::test]
async fn a_file_that_the_environment_names_beats_a_root_key_of_the_settings_file() {
    let server = keyrack().await;
    let (base, right) = (server.base(), root_key_file(&server));
    for beside in [String::new(), format!("url = '{}'\n", nowhere())] {
        let desk = Desk::new(&format!("{beside}root_key = '{PLANTED}'\n"));
        let desk = desk.with("KEYRACK_ROOT_KEY_FILE", right.to_str().expect("text"));
        desk.list(&["--url", base]).expect(0);
    }
}

#[test]
fn a_configuration_for_a_client_shows_no_root_key_that_belongs_to_another_server() {
    let desk = Desk::new(&format!("url = 'https://one.example.com'\nroot_key = '{PLANTED}'\n"));
    let shown = |url: &str| desk.run(&["mcp-config", "cursor", "--http", url, "--show-root-key"]);
    for own in ["https://one.example.com", "https://one.example.com/mcp"] {
        assert!(shown(own).expect(0).stdout.contains(PLANTED), "{own}");
    }
    let refused = shown("https://two.example.com").expect(1);
    assert!(!format!("{}{}", refused.stdout, refused.stderr).contains(PLANTED), "{}", refused.stderr);
    assert!(refused.stderr.contains("--http names another server"), "{}", refused.stderr);
}

#[test]
fn what_only_clients_act_with_stops_nobody_else() {
    for (name, value) in [("KEYRACK_URL", "http://h\u{200b}"), ("KEYRACK_OUTPUT", "x\u{200b}")] {
        let desk = Desk::new("url = ''\n").with(name, value);
        desk.run(&["mcp-config", "cursor"]).expect(0);
        let refused = desk.list(&[]).expect(2);
        assert!(refused.stderr.contains(name) || refused.stderr.contains("`url`"), "{}", refused.stderr);
    }
}

#[test]
fn an_unknown_profile_is_refused_with_those_that_are_there() {
    let desk = Desk::new("[profiles.staging]\n[profiles.production]\n");
    for line in [&LIST[..], &["mcp"], &["doctor"]] {
        let done = desk.run(&[line, &["--profile", "stagin"]].concat());
        let told = format!("{}{}", done.stdout, done.stderr);
        assert!(done.code == if line == ["doctor"] { 1 } else { 2 }, "{done:#?}");
        assert!(told.contains("--profile: there is no profile `stagin` in "), "{told}");
        assert!(told.contains("it has `production`, `staging`"), "{told}");
    }
    let none = Desk::new("log = 'info'\n").with("KEYRACK_PROFILE", "work").list(&[]).expect(2);
    assert!(none.stderr.contains("KEYRACK_PROFILE: there is no profile `work`"), "{none:?}");
    let alone = Shell::alone().run(&[&LIST[..], &["--profile", "work"]].concat()).expect(2);
    assert!(alone.stderr.contains("--profile: there is no settings file"), "{alone:?}");
    // Those that call no server have no use for a profile.
    Desk::new("").with("KEYRACK_PROFILE", "work").run(&["mcp-config", "claude"]).expect(0);
}

#[test]
fn the_settings_file_of_the_readme_is_one() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).expect("the README");
    let (_, file) = readme.split_once("```toml\n").expect("a settings file");
    let desk = Desk::new(file.split("```").next().expect("its end"));
    desk.run(&["mcp-config", "claude"]).expect(0);
    let done = desk.run(&["mcp", "--profile", "staging"]).expect(2);
    assert!(done.stderr.contains("`root_key_file` of profile `staging` in "), "{done:?}");
}

#[test]
fn what_is_wrong_in_a_profile_is_wrong_for_everybody() {
    for (file, words) in [
        ("[profiles.work]\nulr = 'planted'\n", "unknown entry `ulr` of profile `work`; did you mean `url`?"),
        ("[profiles.work]\nlisten = 'planted'\n", "`listen` of profile `work`; a profile has `url`, `root_key`, "),
        ("[profiles.work]\nprofile = 'planted'\n", "unknown entry `profile` of profile `work`"),
        ("[profiles.work]\nroot_key = ['planted']\n", "`root_key` of profile `work` must be a text"),
        ("[profiles]\nwork = 'planted'\n", "`profiles.work` must be a table"),
        ("profiles = 'planted'\n", "`profiles` must be a table"),
        ("profile = 'planted'\n", "unknown entry `profile`; did you mean `profiles`?"),
    ] {
        let desk = Desk::new(file);
        for line in [&["serve"][..], &LIST, &["doctor"]] {
            let done = desk.run(line);
            let told = format!("{}{}", done.stdout, done.stderr);
            assert!(done.code != 0 && told.contains(words) && !told.contains("planted"), "{file}: {done:#?}");
        }
    }
    // A value is looked at when it counts.
    let desk = Desk::new("[profiles.work]\nurl = 'nowhere'\noutput = 'xml'\nroot_key = 'two words'\n");
    desk.run(&["doctor"]).expect(0);
    let done = desk.run(&["doctor", "--profile", "work"]).expect(1);
    for (entry, words) in [("url", "is not a URL"), ("output", "`table` or `json`"), ("root_key", "a space")] {
        let place = format!("`{entry}` of profile `work` in ");
        assert!(done.stdout.lines().any(|line| line.contains(&place) && line.contains(words)), "{done:#?}");
    }
}

#[tokio::test]
async fn the_root_key_of_this_machine_goes_to_no_server_of_a_profile() {
    let server = keyrack().await;
    let text = format!(
        "[profiles.local]\nurl = '{}'\n[profiles.away]\nurl = 'https://keys.example.com'\n",
        server.base()
    );
    let desk = Desk::beside(&server, &text);
    for profile in ["local", "away"] {
        let done = desk.list(&["--profile", profile]).expect(3);
        assert!(done.stderr.contains(&format!("profile `{profile}` has a url and no root_key")), "{done:?}");
    }
    // Where this machine's server is unless somebody says otherwise, its root key is at home. Whoever listens there may
    // refuse it.
    let desk = Desk::beside(&server, "[profiles.default]\nurl = 'http://127.0.0.1:8080'\n");
    let done = desk.list(&["--profile", "default"]);
    assert!(!done.stderr.contains("no root key to call with"), "{done:?}");
    // The top level speaks of this machine as a variable does.
    Desk::beside(&server, &format!("url = '{}'\n", server.base())).list(&[]).expect(0);
    let done = Desk::beside(&server, "url = 'https://keys.example.com'\n").list(&[]).expect(3);
    assert!(done.stderr.contains("not on this machine"), "{done:?}");
}

#[tokio::test]
async fn a_root_key_of_the_file_goes_to_the_url_beside_it() {
    let server = keyrack().await;
    let (base, key) = (server.base(), root_key(&server));
    let away = "https://keys.example.com";
    let assert_kept = |desk: &Desk, flags: &[&str], words: &str| {
        let done = desk.list(flags).expect(3);
        assert!(done.stderr.starts_with("error: no root key to call with: `root_key`"), "{done:?}");
        assert!(done.stderr.contains(words) && !done.stderr.contains(&key), "{done:?}");
    };
    let desk = Desk::new(&format!("[profiles.work]\nurl = '{away}'\nroot_key = '{key}'\n"));
    assert_kept(&desk, &["--profile", "work", "--url", base], "and --url names another server");
    let desk = desk.with("KEYRACK_URL", base);
    assert_kept(&desk, &["--profile", "work"], "and KEYRACK_URL names another server");
    let desk = Desk::new(&format!("url = '{away}'\nroot_key = '{key}'\n[profiles.work]\nurl = '{base}'\n"));
    assert_kept(&desk, &["--url", base], "belongs to `url` in ");
    assert_kept(&desk, &["--profile", "work"], "and `url` of profile `work` in ");
    let desk = Desk::new(&format!("root_key = '{key}'\n[profiles.work]\nurl = '{base}'\n"));
    assert_kept(&desk, &["--profile", "work"], "is not that of profile `work`");
    // Without a url beside it, it is for whichever server is named; and the same url is the same server.
    desk.list(&["--url", base]).expect(0);
    let desk = Desk::new(&format!("[profiles.work]\nurl = '{base}'\nroot_key = '{key}'\n"));
    desk.list(&["--profile", "work", "--url", &format!("{base}/")]).expect(0);
    // A root key that was said for this command goes where this command goes.
    let desk = Desk::new(&format!("[profiles.work]\nurl = '{base}'\n")).with("KEYRACK_ROOT_KEY", &key);
    desk.list(&["--profile", "work"]).expect(0);
    let line = [&LIST[..], &["--profile", "work", "--root-key-file", "-"]].concat();
    Desk::new(&format!("[profiles.work]\nurl = '{base}'\n")).shell.run_with_stdin(&line, &key).expect(0);
}

#[cfg(unix)]
#[test]
fn files_with_secrets_that_others_can_read_are_named_whichever_profile_counts() {
    use std::os::unix::fs::PermissionsExt as _;
    let desk = Desk::new("log = 'info'\n");
    let (file, settings) = (desk.folder.path().join("staging"), desk.folder.path().join("keyrack.toml"));
    write_private(&file, PLANTED);
    let open = |path: &PathBuf, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    let warned = |path: &PathBuf| {
        let done = desk.run(&["doctor"]).expect(0);
        let line = format!("warn  settings     {} holds a secret and can be read by other users", path.display());
        assert!(!done.stdout.contains("planted"), "{done:?}");
        done.stdout.contains(&line)
    };
    write_private(&settings, &format!("[profiles.staging]\nroot_key_file = '{}'\n", file.display()));
    open(&settings, 0o644);
    assert!(!warned(&file) && !warned(&settings), "neither is open");
    open(&file, 0o640);
    assert!(warned(&file) && !warned(&settings));
    for text in [format!("[profiles.staging]\nroot_key = '{PLANTED}'\n"), format!("root_key = '{PLANTED}'\n")] {
        fs::write(&settings, text).expect("a file");
        assert!(warned(&settings));
        open(&settings, 0o600);
        assert!(!warned(&settings));
        open(&settings, 0o604);
    }
}

#[tokio::test]
async fn mcp_acts_on_the_server_of_a_profile_and_of_nothing_else() {
    let server = program().start().await;
    let file = root_key_file(&server);
    let text = format!(
        "url = 'https://keys.example.com'\n[profiles.away]\nurl = 'http://127.0.0.1:1'\nroot_key = '{PLANTED}'\n\
         [profiles.here]\nroot_key_file = '{}'\n[profiles.wrong]\nroot_key = '{PLANTED}'\n",
        file.display()
    );
    let fresh = Desk::new(&text);
    for done in
        [fresh.run(&["mcp", "--profile", "away"]), Desk::new(&text).with("KEYRACK_PROFILE", "away").run(&["mcp"])]
    {
        let done = done.expect(2);
        assert!(done.stdout.is_empty() && done.stderr.lines().count() == 1, "{done:?}");
        for words in ["http://127.0.0.1:1/ cannot be reached", "--root-key-file"] {
            assert!(done.stderr.contains(words), "{words}: {done:?}");
        }
    }
    assert!(!fresh.shell.program.data_dir().exists(), "it opened a database");
    // At the top level a url selects nothing for it, and a profile may name the root key.
    let desk = Desk::beside(&server, &text);
    for line in [&["mcp"][..], &["mcp", "--profile", "here"]] {
        let done = desk.run(line);
        assert!(
            done.stderr.contains("keyrack mcp: SQLite") && done.stderr.contains("; root key key_"),
            "{done:?}"
        );
    }
    let done = desk.run(&["mcp", "--profile", "wrong"]).expect(2);
    assert!(done.stderr.contains("--root-key-file"), "{done:?}");
}
