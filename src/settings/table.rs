//! Every setting there is, and the flags that commands make of them.

use clap::{Arg, Command};

/// Which commands have a setting as a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum For {
    /// Everything that opens the database.
    Data,
    /// `keyrack serve`.
    Serve,
    /// What runs until it is stopped: `keyrack serve` and `keyrack mcp`.
    Running,
    /// Whatever needs a root key.
    RootKey,
    /// Every command.
    All,
}

/// A setting.
pub(super) struct Setting {
    pub(super) name: &'static str,
    value: &'static str,
    used_by: For,
    is_secret: bool,
    /// Another environment variable that counts when the setting's own is not there.
    pub(super) alias: Option<&'static str>,
    /// Whether an empty value says something, instead of being no value.
    pub(super) may_be_empty: bool,
    help: &'static str,
}

const fn setting(name: &'static str, value: &'static str, used_by: For, help: &'static str) -> Setting {
    Setting { name, value, used_by, is_secret: false, alias: None, may_be_empty: false, help }
}

const fn secret(name: &'static str, used_by: For, alias: Option<&'static str>, help: &'static str) -> Setting {
    Setting { name, value: "VALUE", used_by, is_secret: true, alias, may_be_empty: false, help }
}

pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "config",
        "FILE",
        For::All,
        "Settings file [default: keyrack/keyrack.toml in your configuration folder, if it is there]",
    ),
    setting(
        "log",
        "FILTER",
        For::All,
        "What to log, such as `debug` or `info,keyrack_core=trace` [default: info]",
    ),
    setting("log-format", "text|json", For::All, "How to write the log [default: text]"),
    setting(
        "data-dir",
        "FOLDER",
        For::Data,
        "Where the database and the root-key file are [default: your data folder, ~/.local/share/keyrack on Linux]",
    ),
    setting(
        "database-url",
        "URL",
        For::Data,
        "sqlite://PATH or postgres://USER@HOST/NAME [default: keyrack.db in the data folder]",
    ),
    setting("listen", "ADDRESS:PORT", For::Serve, "Where to listen [default: 127.0.0.1:8080]"),
    Setting {
        may_be_empty: true,
        ..setting(
            "metrics-listen",
            "ADDRESS:PORT",
            For::Serve,
            "Where to serve /metrics for Prometheus; empty: nowhere [default: 127.0.0.1:9090]",
        )
    },
    setting("public-url", "URL", For::Serve, "Where clients reach the server [default: http://<listen>]"),
    setting("allowed-hosts", "NAMES", For::Serve, "More names that a Host header may have, comma-separated"),
    setting(
        "trusted-proxies",
        "ADDRESSES",
        For::Serve,
        "Proxies whose X-Forwarded-For counts: addresses and CIDR ranges, comma-separated [default: none]",
    ),
    setting(
        "max-body-bytes",
        "BYTES",
        For::Serve,
        "Ceiling of the operations' own limits on request bodies [default: 10485760]",
    ),
    setting(
        "max-connections",
        "NUMBER",
        For::Serve,
        "Connections at the same time; beyond, the longest idle one goes [default: 16384, or what the limit of open files allows]",
    ),
    setting(
        "idle-seconds",
        "SECONDS",
        For::Serve,
        "How long a connection may do nothing before it is closed [default: 120]",
    ),
    setting(
        "shutdown-delay-seconds",
        "SECONDS",
        For::Serve,
        "How long to go on after SIGTERM with readiness 503, so that no more requests are sent here [default: 1]",
    ),
    setting(
        "drain-seconds",
        "SECONDS",
        For::Serve,
        "How long requests in flight may take after SIGTERM [default: 30]",
    ),
    setting(
        "stale-seconds",
        "SECONDS",
        For::Data,
        "How long to answer from memory while the changes of other processes cannot be read, 1 to 86400 [default: 10]",
    ),
    setting(
        "event-log-bytes",
        "BYTES",
        For::Data,
        "Size of the log of events in the data folder, whose oldest files then go; 0: no log [default: 1073741824]",
    ),
    secret(
        "bootstrap-root-key",
        For::Data,
        None,
        "A root key of your own choice, at least 32 characters, that exists after the start",
    ),
    setting("bootstrap-root-key-file", "FILE", For::Data, "File with that root key"),
    setting(
        "credits-durability",
        "full|normal",
        For::Running,
        "When spent credits are acknowledged: full: on disk; normal: faster, a power cut may lose the last [default: full]",
    ),
    setting(
        "mcp-calls-per-minute",
        "NUMBER",
        For::Running,
        "Tool calls per root key and minute; 0: no limit [default: 300]",
    ),
    setting(
        "ratelimit-cells",
        "NUMBER",
        For::Running,
        "Rate-limit counts kept at most, 75 bytes of memory each; then the workspace with most pays [default: 1000000]",
    ),
    secret(
        "master-key",
        For::Data,
        None,
        "Base64 of 32 bytes that recoverable keys are encrypted under; `openssl rand -base64 32` makes one",
    ),
    setting("master-key-file", "FILE", For::Data, "File with the master key"),
    secret("master-key-previous", For::Data, None, "The master key before, while its data keys are sealed anew"),
    setting("master-key-previous-file", "FILE", For::Data, "File with the master key before"),
    setting(
        "deleted-retention-days",
        "DAYS",
        For::Running,
        "Days after which what was deleted is removed from the database [default: never]",
    ),
    setting(
        "expired-retention-days",
        "DAYS",
        For::Running,
        "Days after which keys that expired are deleted for good [default: never]",
    ),
    secret("root-key", For::RootKey, Some("UNKEY_ROOT_KEY"), "The root key to act with"),
    setting(
        "root-key-file",
        "FILE",
        For::RootKey,
        "File with the root key [default: root-key in the data folder]",
    ),
];

/// Environment variables that other parts of the program read.
pub(super) const OTHER_VARIABLES: &[&str] = &["KEYRACK_URL", "KEYRACK_OUTPUT"];
/// Variables of this project's own tests.
pub(super) const TEST_VARIABLES: &str = "KEYRACK_TEST_";

/// A group of settings that a command takes as flags.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Flags {
    /// `keyrack serve`
    Serve,
    /// `keyrack mcp`
    Mcp,
    /// Commands that only open the database.
    Data,
}

impl Flags {
    fn include(self, used_by: For) -> bool {
        match (self, used_by) {
            (_, For::All | For::Data) => true,
            (Flags::Serve, For::Serve | For::Running) | (Flags::Mcp, For::Running | For::RootKey) => true,
            (Flags::Serve, For::RootKey) | (Flags::Mcp, For::Serve) | (Flags::Data, _) => false,
        }
    }
}

/// Adds the flags of a group to a command. What has no flag is named in its help.
pub(crate) fn add_flags(command: Command, flags: Flags) -> Command {
    let group = SETTINGS.iter().filter(|setting| flags.include(setting.used_by));
    let mut secrets = String::new();
    let mut command = command;
    for setting in group {
        if setting.is_secret {
            secrets.push_str(&format!("\n  {}  {}", variable(setting.name), setting.help));
        } else {
            let help = format!("{} [env: {}]", setting.help, variable(setting.name));
            command = command.arg(Arg::new(setting.name).long(setting.name).value_name(setting.value).help(help));
        }
    }
    if secrets.is_empty() {
        command
    } else {
        command.after_help(format!("Secrets, from the environment only:{secrets}"))
    }
}

/// `drain-seconds` as `KEYRACK_DRAIN_SECONDS`.
pub(super) fn variable(name: &str) -> String {
    format!("KEYRACK_{}", name.replace('-', "_").to_ascii_uppercase())
}
