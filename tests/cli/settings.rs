//! A setting that can have no effect is refused or said: asked of every setting that the help names.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use keyrack_test_harness::{ended, program_under_test};
use serde_json::Value;

use crate::{Done, Shell};

const MASTER_KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const NUMBERS: [&str; 5] = ["soon", "-1", "1.5", "1_000", "99999999999999999999"];

/// What no setting can mean, and the words that say why.
fn meaningless() -> Vec<(String, &'static str)> {
    vec![
        (String::new(), "is empty"),
        (" \t ".to_owned(), "is empty"),
        ("1\0".to_owned(), "U+0000"),
        ("\u{feff}1".to_owned(), "U+FEFF"),
        ("1\u{200b}".to_owned(), "U+200B"),
        ("\u{202e}1".to_owned(), "U+202E"),
        ("1\n2".to_owned(), "U+000A"),
        ("x".repeat(20_000), "is longer than"),
    ]
}

/// Files that hold no secret.
fn no_secrets() -> Vec<(Vec<u8>, &'static str)> {
    vec![
        (b"".to_vec(), "is empty"),
        (b" \r\n".to_vec(), "is empty"),
        (format!("\u{feff}{MASTER_KEY}").into_bytes(), "byte-order mark"),
        (b"\xff\xfeA\0Q\0".to_vec(), "UTF-16"),
        (format!("{MASTER_KEY}\n{MASTER_KEY}").into_bytes(), "more than one line"),
        (format!("{MASTER_KEY}\0").into_bytes(), "a NUL"),
        (format!("planted {MASTER_KEY}").into_bytes(), "a space"),
        (format!("plantéd{MASTER_KEY}").into_bytes(), "outside ASCII"),
        (b"x".repeat(70_000), "larger than"),
    ]
}

/// What this setting cannot mean, with the words that say why or what to write.
#[expect(clippy::too_many_lines, reason = "a table, a row per setting")]
fn refused(setting: &str) -> &'static [(&'static str, &'static str)] {
    match setting {
        "log" => &[("info,keyrack=loud", "is no filter"), ("a=b=c", "is no filter")],
        "log-format" => &[("xml", "`text` or `json`"), ("JSON", "`text` or `json`")],
        "database-url" => &[
            ("mysql://127.0.0.1/keyrack", "unknown kind"),
            ("/var/lib/keyrack.db", "unknown kind"),
            ("sqlite://", "is a file"),
            ("sqlite::memory:", "is a file"),
            ("postgres://planted:planted@127.0.0.1:99999/keyrack", "is no URL"),
            ("postgres://u:plan#ted@127.0.0.1/keyrack", "is no URL"),
            ("postgres://127.0.0.1/keyrack?sslmod=require", "`sslmod`"),
        ],
        "listen" => &[
            ("here", "an address and a port"),
            ("127.0.0.1", "an address and a port"),
            ("8080", "an address and a port"),
            ("127.0.0.1:65536", "an address and a port"),
            ("http://127.0.0.1:8080", "an address and a port"),
        ],
        "metrics-listen" => &[("9090", "an address and a port"), ("off", "or empty")],
        "public-url" => &[
            ("keys.example.com", "such as https://"),
            ("ftp://keys.example.com", "such as https://"),
            ("https://", "such as https://"),
            ("https://keys.example.com:99999", "such as https://"),
            ("https://*.example.com", "such as https://"),
            ("https://me:planted@keys.example.com", "no user"),
            ("https://keys.example.com/?a=b", "must end with"),
            ("https://keys.example.com/#a", "must end with"),
        ],
        "allowed-hosts" => &[
            ("keys.example.com:8443", "write `keys.example.com`"),
            ("https://keys.example.com", "write `keys.example.com`"),
            ("keys.example.com/keyrack", "write `keys.example.com`"),
            ("good.example.com, *.example.com", "write every name out"),
            ("*", "write every name out"),
            (",", "names no host"),
            ("keys example com", "is no host name"),
        ],
        "trusted-proxies" => &[
            (",", "names no address"),
            ("*", "`*` is neither"),
            ("proxy.example.com", "is neither"),
            ("10.0.0.0/33", "is neither"),
            ("10.0.0.1:8080", "is neither"),
        ],
        "max-body-bytes" => &[("0", "from 1024 to"), ("1023", "from 1024 to"), ("10MB", "from 1024 to")],
        "max-connections" => &[("0", "from 1 to"), ("many", "from 1 to")],
        "idle-seconds" => &[("0", "from 1 to 86400"), ("2m", "from 1 to 86400")],
        "shutdown-delay-seconds" => &[("3601", "from 0 to 3600"), ("1s", "from 0 to 3600")],
        "drain-seconds" => &[("3601", "from 0 to 3600"), ("30s", "from 0 to 3600")],
        "event-log-bytes" => &[("1", "must be 0 or"), ("16383", "must be 0 or")],
        "bootstrap-root-key" => &[
            ("only-thirty-one-characters-long", "has 31"),
            ("a root key with spaces, which no header has", "a space"),
            ("a-root-key-with-an-é-which-no-header-can-carry", "outside ASCII"),
        ],
        "credits-durability" => &[("fast", "`full` or `normal`"), ("FULL", "`full` or `normal`")],
        "mcp-secrets" => &[("link", "`inline`, `claim` or `file`"), ("FILE", "`inline`, `claim` or `file`")],
        "mcp-allow-decrypt" => &[("maybe", "`false` or `true`")],
        "mcp-calls-per-minute" => &[("4294967296", "from 0 to 4294967295")],
        "mcp-prompts" => &[("/nowhere/at/all", "the folder of prompts cannot be read")],
        "ratelimit-cells" => &[("999", "from 1000 to"), ("0", "from 1000 to")],
        "master-key" => &[("c2hvcnQ=", "base64 of 32 bytes"), ("!", "base64 of 32 bytes")],
        "master-key-previous" => &[("c2hvcnQ=", "base64 of 32 bytes"), (MASTER_KEY, "without a master key")],
        "deleted-retention-days" | "expired-retention-days" => &[("0", "from 1 to 36500"), ("36501", "from 1 to")],
        "root-key" => &[("a root key", "a space")],
        "url" => &[
            ("127.0.0.1:8080", "is not a URL"),
            ("ftp://keys.example.com", "must start with"),
            ("https://me:planted@keys.example.com", "a user or a password"),
            ("https://keys.example.com/?a=b", "must end with"),
        ],
        "output" => &[("xml", "`table` or `json`"), ("JSON", "`table` or `json`")],
        _ => &[],
    }
}

/// What has less effect than whoever set it may think, or more, with the words that say so.
fn said(setting: &str) -> &'static [(&'static str, &'static str)] {
    match setting {
        "log" => &[
            ("debgu", "`debgu` is no level"),
            ("info,trcae", "`trcae` is no level"),
            ("info,rmcp=debug", "no more than `rmcp=info`"),
            ("opentelemetry::sdk=TRACE", "no more than `opentelemetry::sdk=info`"),
        ],
        "max-body-bytes" => &[("10485760", "no effect, because no operation takes more than 4194304")],
        "public-url" => &[("http://0.0.0.0:8080", "no client reaches"), ("http://[::]:80", "no client reaches")],
        "listen" => &[("0.0.0.0:0", "unencrypted"), ("[::]:0", "unencrypted")],
        "mcp-allow-decrypt" => &[("true", "no effect, because without KEYRACK_MASTER_KEY")],
        "trusted-proxies" => &[
            ("0.0.0.0/0", "nearly everybody"),
            ("10.0.0.1, ::/0", "nearly everybody"),
            ("0.0.0.0", "of nobody"),
            ("10.0.0.1,::", "of nobody"),
        ],
        _ => &[],
    }
}

/// Settings and the kind of their values, as `doctor --help` names them.
fn all_settings() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let help = Shell::alone().run(&["doctor", "--help"]).expect(0).stdout;
    for line in help.lines().map(str::trim) {
        if let Some((name, kind)) = line.strip_prefix("--").and_then(|line| line.split_once(" <")) {
            let kind = kind.split_once('>').expect("the kind of a value").0;
            found.insert(name.to_owned(), kind.to_owned());
        } else if let Some((name, _)) = line.strip_prefix("KEYRACK_").and_then(|line| line.split_once("  ")) {
            found.insert(name.to_ascii_lowercase().replace('_', "-"), "SECRET".to_owned());
        }
    }
    assert!(found.len() > 30 && found["root-key"] == "SECRET", "the help is read wrongly: {found:?}");
    found
}

/// Those that may be in the settings file.
fn settings() -> BTreeMap<String, String> {
    let mut settings = all_settings();
    settings.retain(|name, _| !["config", "profile"].contains(&name.as_str()));
    settings
}

/// Commands with a settings file of one entry, and an environment that says nothing of its own.
struct Told {
    folder: tempfile::TempDir,
    environment: Vec<(String, String)>,
}

impl Told {
    fn new(setting: &str, value: &str) -> Told {
        let folder = tempfile::tempdir().expect("a folder");
        let text = format!("{} = {}\n", entry(setting), Value::from(value));
        write_private(&folder.path().join("keyrack.toml"), &text);
        Told { folder, environment: Vec::new() }
    }

    fn with(mut self, name: &str, value: &str) -> Told {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    fn run(&self, line: &[&str]) -> Done {
        let mut command = Command::new(program_under_test());
        command.args(line).env_clear().current_dir(self.folder.path()).stdin(Stdio::null());
        command.env("HOME", self.folder.path()).env("KEYRACK_CONFIG", self.folder.path().join("keyrack.toml"));
        command
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("it runs");
        let started = Instant::now();
        while child.try_wait().expect("a child").is_none() && started.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(2));
        }
        // A server that did not refuse would run for ever.
        let _ = child.kill();
        let output = child.wait_with_output().expect("it ends");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().unwrap_or(-1);
        Done { code, stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    fn made(&self) -> usize {
        fs::read_dir(self.folder.path()).expect("a folder").count() - 1
    }
}

/// Writes a file that nobody else can read.
pub(crate) fn write_private(path: &Path, text: &str) {
    fs::write(path, text).expect("a file");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("chmod");
    }
}

fn entry(setting: &str) -> String {
    setting.replace('-', "_")
}

fn variable(setting: &str) -> String {
    format!("KEYRACK_{}", entry(setting).to_ascii_uppercase())
}

#[track_caller]
fn assert_line(done: &Done, finding: &str, setting: &str, words: &str) {
    let name = format!("`{}`", entry(setting));
    let mut lines = done.stdout.lines().filter(|line| line.starts_with(&format!("{finding:<5} settings")));
    let said = lines.any(|line| line.contains(&name) && line.contains(words));
    assert!(said, "no {finding} about {name} with {words:?}: {done:#?}");
    assert!(!done.stdout.contains("plan"), "a secret is shown: {done:#?}");
}

#[test]
fn a_value_that_can_have_no_effect_is_refused_with_the_name_of_its_setting() {
    for (setting, kind) in settings() {
        let numbers = matches!(kind.as_str(), "NUMBER" | "BYTES" | "SECONDS" | "DAYS");
        let numbers = NUMBERS.iter().filter(|_| numbers).map(|text| ((*text).to_owned(), "must be"));
        let own = refused(&setting).iter().map(|(text, words)| ((*text).to_owned(), *words));
        let all = meaningless().into_iter().chain(numbers).chain(own);
        // An empty address of the metrics means: nowhere.
        for (value, words) in all.filter(|(_, words)| setting != "metrics-listen" || *words != "is empty") {
            let done = Told::new(&setting, &value).run(&["doctor"]);
            assert_eq!(done.code, 1, "{setting} = {value:?}: {done:#?}");
            assert_line(&done, "fail", &setting, words);
        }
    }
}

#[test]
fn a_file_that_holds_no_secret_is_refused_with_the_name_of_its_setting() {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("secret");
    let files: Vec<String> = settings().into_keys().filter(|name| name.ends_with("-file")).collect();
    assert!(files.len() >= 4, "{files:?}");
    for setting in files {
        for (content, words) in no_secrets() {
            fs::write(&secret, content).expect("a file");
            let shell = Told::new(&setting, secret.to_str().expect("text"));
            assert_line(&shell.run(&["doctor"]).expect(1), "fail", &setting, words);
        }
        for path in [folder.path().join("missing"), folder.path().to_owned(), PathBuf::from("x".repeat(5000))] {
            let shell = Told::new(&setting, path.to_str().expect("text"));
            assert_line(&shell.run(&["doctor"]).expect(1), "fail", &setting, "");
        }
    }
}

#[test]
fn what_means_more_or_less_than_it_seems_is_said() {
    for setting in settings().into_keys() {
        for (value, words) in said(&setting) {
            let done = Told::new(&setting, value).run(&["doctor"]);
            assert_line(&done, "warn", &setting, words);
        }
    }
    let shell = Told::new("master-key-file", "missing").with("KEYRACK_MASTER_KEY", MASTER_KEY);
    assert_line(
        &shell.run(&["doctor"]),
        "warn",
        "master-key-file",
        "no effect, because KEYRACK_MASTER_KEY is set",
    );
    let shell = Told::new("master-key", MASTER_KEY).with("KEYRACK_MASTER_KEY_PREVIOUS", MASTER_KEY);
    let done = shell.run(&["doctor"]);
    assert!(done.stdout.contains("KEYRACK_MASTER_KEY_PREVIOUS: has no effect"), "{done:#?}");
    // A proxy that is named, or a public URL, says that somebody thought of TLS.
    for (name, value) in
        [("KEYRACK_TRUSTED_PROXIES", "10.0.0.1"), ("KEYRACK_PUBLIC_URL", "https://keys.example.com")]
    {
        let done = Told::new("listen", "0.0.0.0:0").with(name, value).run(&["doctor"]);
        assert!(!done.stdout.contains("unencrypted"), "{done:#?}");
    }
}

#[test]
fn a_start_refuses_what_doctor_refuses_in_the_same_words_and_makes_nothing() {
    for setting in settings().into_keys() {
        let (value, words) = refused(&setting).first().copied().unwrap_or(("1\0", "U+0000"));
        let shell = Told::new(&setting, value);
        let is_of_clients = setting.starts_with("root-key") || ["url", "output"].contains(&setting.as_str());
        let command: &[&str] = if is_of_clients { &["api", "apis", "list-apis"] } else { &["serve"] };
        let done = shell.run(command).expect(2);
        assert!(done.stderr.contains(&entry(&setting)) && done.stderr.contains(words), "{setting}: {done:#?}");
        let doctor = shell.run(&["doctor"]).expect(1).stdout;
        let reason = done.stderr.lines().next().expect("a line").trim_start_matches("error: ");
        assert!(doctor.contains(reason), "{reason:?} is not in {doctor}");
        assert_eq!(shell.made(), 0, "{setting}: something was made");
    }
}

/// A value that this setting cannot mean, whose fault says where it is from.
fn wrong(setting: &str, kind: &str) -> String {
    let own = refused(setting).first().map(|(value, _)| (*value).to_owned());
    own.unwrap_or_else(|| match kind {
        "NUMBER" | "BYTES" | "SECONDS" | "DAYS" => "soon".to_owned(),
        "FOLDER" => "x".repeat(5000),
        _ => "missing".to_owned(),
    })
}

#[test]
fn every_setting_counts_as_a_flag_before_the_environment_before_the_file() {
    for (setting, kind) in all_settings() {
        let value = wrong(&setting, &kind);
        let is_in_file = settings().contains_key(&setting);
        let (flag, variable) = (format!("--{setting}"), variable(&setting));
        let from = |told: &Told, line: &[&str], source: &str| {
            let done = told.run(&[&["doctor"], line].concat()).expect(1);
            let mut lines = done.stdout.lines().filter(|line| line.starts_with("fail  settings")).peekable();
            assert!(lines.peek().is_some(), "{setting}: {done:#?}");
            assert!(lines.all(|line| line.contains(&format!(" {source}"))), "{setting} from {source}: {done:#?}");
        };
        let mut told = if is_in_file { Told::new(&setting, &value) } else { Told::new("log", "info") };
        if is_in_file {
            from(&told, &[], &format!("`{}` in ", entry(&setting)));
        }
        told = told.with(&variable, &value);
        from(&told, &[], &format!("{variable}: "));
        if kind != "SECRET" {
            from(&told, &[&flag, &value], &format!("{flag}: "));
        }
    }
}

#[test]
fn white_space_around_a_value_does_not_belong_to_it() {
    for (setting, value) in [
        ("listen", " 127.0.0.1:0\t"),
        ("drain-seconds", "7 \r"),
        ("master-key", "\nAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE= "),
    ] {
        let done = Told::new(setting, value).run(&["doctor"]).expect(0);
        assert!(done.stdout.contains("ok    settings     all readable"), "{setting}: {done:#?}");
    }
}

#[test]
fn a_variable_without_a_value_counts_as_not_set_and_is_said() {
    let done =
        Shell::alone().with("KEYRACK_LISTEN", "").with("KEYRACK_MASTER_KEY", " ").run(&["doctor"]).expect(0);
    for name in ["KEYRACK_LISTEN", "KEYRACK_MASTER_KEY"] {
        assert!(done.stdout.contains(&format!("{name} is empty and counts as not set")), "{done:#?}");
    }
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_no_text_is_refused_and_one_of_others_is_left_alone() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    let run = |name: &str| {
        let shell = Shell::alone();
        let mut command = shell.program.command(&["doctor"]);
        let output = ended(command.env(name, OsStr::from_bytes(b"plan\xffted")));
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, report) = run("KEYRACK_DATA_DIR");
    assert!(code == Some(1) && report.contains("KEYRACK_DATA_DIR: is not text"), "{report}");
    let (code, report) = run("SOMEBODY_ELSES");
    assert!(code == Some(0), "{report}");
}

#[test]
fn a_settings_file_that_cannot_be_read_is_named_with_the_line_and_never_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("keyrack.toml");
    let shell = Shell::alone().with("KEYRACK_CONFIG", file.to_str().expect("text"));
    shell.run(&["doctor"]).expect(1);
    for (text, words) in [
        ("listen = '127.0.0.1:0'\nmaster_key = \"planted", "line 2: "),
        ("# one\n# two\nroot_key = planted\n", "line 3: "),
        ("root_key = 'planted'\nroot_key = 'planted'\n", "line 2: "),
        ("root_key = 'plan\u{0}ted'\n", "line 1: "),
        ("root_key = ['planted']\n", "`root_key` must be a text"),
        ("drain_seconds = 1.5\n", "`drain_seconds` must be"),
        ("config = 'x'\n", "unknown entry `config`"),
    ] {
        fs::write(&file, text).expect("a file");
        for command in ["doctor", "serve"] {
            let done = shell.run(&[command]);
            let told = format!("{}{}", done.stdout, done.stderr);
            assert!(done.code != 0 && told.contains(words), "{text:?}: {done:#?}");
            assert!(told.contains("keyrack.toml") && !told.contains("plan"), "{text:?}: {done:#?}");
        }
    }
    fs::write(&file, "\u{feff}drain_seconds = 7\n").expect("a file");
    shell.run(&["doctor"]).expect(0);
    fs::write(&file, b"drain_seconds = \"\xff\"\n").expect("a file");
    shell.run(&["doctor"]).expect(1);
    shell.with("KEYRACK_CONFIG", folder.path().to_str().expect("text")).run(&["doctor"]).expect(1);
}

#[test]
fn what_the_command_line_quotes_cannot_command_the_terminal() {
    for line in [
        &["api", "apis", "get-api", "--api\u{1b}[2Jid"][..],
        &["ser\u{202e}ve"],
        &["serve", "--listen", "a\u{7}b"],
    ] {
        let done = Shell::alone().run(line).expect(2);
        let raw = done.stderr.chars().find(|odd| (odd.is_control() && *odd != '\n') || *odd == '\u{202e}');
        assert_eq!(raw, None, "{done:?}");
    }
}
