//! Every setting there is. What else knows of settings (flags, environment, file, faults, `keyrack doctor`, the README)
//! goes through this list.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use keyrack_core::keys::address_list::AddressList;
use keyrack_core::keys::secret::Secret;
use keyrack_core::store::{Durability, Location};
use keyrack_core::vault::MasterKey;
use keyrack_mcp_server::{Confirm, Prompts, Wish};
use reqwest::Url;
use tracing_subscriber::EnvFilter;

use super::setting::Default::{Is, Means};
use super::setting::{Declared, Facts, For, SecretSetting, Setting, Shown};
use super::{hosts, values};
use crate::assistants::Handing;
use crate::{assistants, remote};

/// With fewer counts of rate limits, ordinary use would lose some.
const MIN_RATELIMIT_CELLS: u64 = 1000;
const MAX_RATELIMIT_CELLS: u64 = 1_000_000_000;
/// Small enough to be refused by mistake, and larger than any body means something.
const MAX_BODY_BYTES_RANGE: std::ops::RangeInclusive<u64> = 1024..=1 << 30;
const LONGEST_DRAIN: u64 = 3600;
const DAY: u64 = 86_400;
/// More than a system could have.
const MOST_CONNECTIONS: u64 = 10_000_000;

/// Declares settings, and the list of all of them in the same order.
macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident: $kind:ty = $setting:expr;)*) => {
        $($(#[$doc])* pub(crate) static $name: $kind = $setting;)*
        pub(super) static SETTINGS: &[&dyn Declared] = &[$(&$name),*];
    };
}

settings! {
    /// The settings file, if it was named.
    CONFIG: Setting<Option<PathBuf>> = Setting::new(
        "config", "FILE", For::All,
        Means("keyrack/keyrack.toml in your configuration folder, if it is there", |_| Ok(None)),
        |text| Ok(Some(PathBuf::from(text))),
        "Settings file",
    ).chooses();
    LOG: Setting<EnvFilter> = Setting::new(
        "log", "FILTER", For::All,
        // rmcp says five lines about each HTTP request at `info`.
        Means("info", |_| Ok(EnvFilter::new("info,rmcp=warn"))),
        |text| EnvFilter::try_new(text).map_err(|error| format!("is no filter of a log: {error}")),
        "What to log, such as `debug` or `info,keyrack_core=trace`",
    );
    /// Whether log lines are JSON.
    LOG_AS_JSON: Setting<bool> = Setting::new(
        "log-format", "text|json", For::All, Is("text"),
        |text| values::either(text, ["text", "json"]),
        "How to write the log: `text` or `json`",
    );
    DATA_DIR: Setting<PathBuf> = Setting::new(
        "data-dir", "FOLDER", For::Data,
        Means("your data folder, ~/.local/share/keyrack on Linux", |_| {
            let folders = project_folders().context("there is no home folder; set --data-dir or KEYRACK_DATA_DIR")?;
            Ok(folders.data_dir().to_owned())
        }),
        values::path,
        "Where the database, the root-key file and, between two runs, rate-limit counters are",
    );
    DATABASE_URL: Setting<Location> = Setting::new(
        "database-url", "URL", For::Data,
        Means("keyrack.db in the data folder", |settings| {
            Ok(Location::Sqlite(settings.get(&DATA_DIR)?.join("keyrack.db")))
        }),
        values::database,
        "sqlite://PATH or postgres://USER@HOST/NAME",
    );
    LISTEN: Setting<SocketAddr> = Setting::new(
        "listen", "ADDRESS:PORT", For::Serve, Is("127.0.0.1:8080"), values::address, "Where to listen",
    );
    METRICS_LISTEN: Setting<Option<SocketAddr>> = Setting::new(
        "metrics-listen", "ADDRESS:PORT", For::Serve, Is("127.0.0.1:9090"), values::metrics_address,
        "Where to serve /metrics for Prometheus; empty: nowhere",
    ).may_be_empty();
    /// Where clients reach the server, without a trailing slash, if that was said.
    PUBLIC_URL: Setting<Option<String>> = Setting::new(
        "public-url", "URL", For::Running, Means("http://<listen>", |_| Ok(None)), values::public_url,
        "Where clients reach the server; for `keyrack mcp`, a server on the same database",
    );
    ALLOWED_HOSTS: Setting<Vec<String>> = Setting::new(
        "allowed-hosts", "NAMES", For::Serve, Means("none", |_| Ok(Vec::new())), hosts::names,
        "More names that a Host header may have, comma-separated: names alone, without port or wildcard",
    );
    TRUSTED_PROXIES: Setting<AddressList> = Setting::new(
        "trusted-proxies", "ADDRESSES", For::Serve, Means("none", |_| Ok(AddressList::default())), values::proxies,
        "Proxies whose X-Forwarded-For counts, for the address lists of APIs: addresses and CIDR ranges, comma-separated",
    );
    MAX_BODY_BYTES: Setting<usize> = Setting::new(
        "max-body-bytes", "BYTES", For::Serve, Is("10485760"),
        |text| values::amount(text, MAX_BODY_BYTES_RANGE),
        "Largest request body, where that is less than an operation allows: 256 KiB, identities 2 MiB, \
         `keys.migrateKeys` 4 MiB; messages to `/mcp` 1 MiB; 64 KiB for a root key without a permission for the \
         operation, or for any tool",
    );
    MAX_CONNECTIONS: Setting<usize> = Setting::new(
        "max-connections", "NUMBER", For::Serve, Is("16384"), |text| values::amount(text, 1..=MOST_CONNECTIONS),
        "Connections at the same time, as far as the limit of open files allows; beyond, the longest idle one goes",
    );
    IDLE_SECONDS: Setting<Duration> = Setting::new(
        "idle-seconds", "SECONDS", For::Serve, Is("120"), |text| values::seconds(text, 1..=DAY),
        "How long a connection may do nothing before it is closed",
    );
    SHUTDOWN_DELAY_SECONDS: Setting<Duration> = Setting::new(
        "shutdown-delay-seconds", "SECONDS", For::Serve, Is("1"), |text| values::seconds(text, 0..=LONGEST_DRAIN),
        "How long to go on after SIGTERM with readiness 503, so that no more requests are sent here; Ctrl-C does not \
         wait",
    );
    DRAIN_SECONDS: Setting<Duration> = Setting::new(
        "drain-seconds", "SECONDS", For::Serve, Is("30"), |text| values::seconds(text, 0..=LONGEST_DRAIN),
        "How long requests in flight may take after SIGTERM",
    );
    STALE_SECONDS: Setting<Duration> = Setting::new(
        "stale-seconds", "SECONDS", For::Data, Is("10"), |text| values::seconds(text, 1..=DAY),
        "How long to answer from memory while the changes of other processes cannot be read, 1 to 86400",
    );
    EVENT_LOG_BYTES: Setting<u64> = Setting::new(
        "event-log-bytes", "BYTES", For::Data, Is("1073741824"), values::event_log_bytes,
        "Size of the log of events in the data folder; beyond, the oldest of the workspace with most of them go; 0: no \
         log",
    );
    ANALYTICS_BYTES: Setting<u64> = Setting::new(
        "analytics-bytes", "BYTES", For::Data, Is("10737418240"), values::analytics_bytes,
        "Size of the stored events in the data folder; beyond, single events go before their time, the oldest of the \
         workspace with most of them first, and never sums per day and month; 0: no analytics",
    );
    ANALYTICS_RAW_DAYS: Setting<u32> = Setting::new(
        "analytics-raw-days", "DAYS", For::Data, Is("90"), values::kept_days,
        "How long single verifications are kept for analytics, and so what is counted from them per minute and hour",
    );
    ANALYTICS_DAY_DAYS: Setting<u32> = Setting::new(
        "analytics-day-days", "DAYS", For::Data, Is("365"), values::kept_days,
        "How long sums of verifications per day are kept",
    );
    ANALYTICS_MONTH_DAYS: Setting<u32> = Setting::new(
        "analytics-month-days", "DAYS", For::Data, Is("1096"), values::kept_days,
        "How long sums per month are kept, of verifications and of rate-limit decisions",
    );
    ANALYTICS_RATELIMIT_RAW_DAYS: Setting<u32> = Setting::new(
        "analytics-ratelimit-raw-days", "DAYS", For::Data, Is("30"), values::kept_days,
        "How long single rate-limit decisions are kept for analytics",
    );
    ANALYTICS_RATELIMIT_DAY_DAYS: Setting<u32> = Setting::new(
        "analytics-ratelimit-day-days", "DAYS", For::Data, Is("100"), values::kept_days,
        "How long sums of rate-limit decisions per day are kept",
    );
    CREDITS_DURABILITY: Setting<Durability> = Setting::new(
        "credits-durability", "full|normal", For::Running, Is("full"), values::durability,
        "When spent credits are acknowledged: `full`: on disk; `normal`: faster, a power cut may lose the last",
    );
    MCP_CALLS_PER_MINUTE: Setting<u32> = Setting::new(
        "mcp-calls-per-minute", "NUMBER", For::Running, Is("300"),
        |text| values::whole(text, 0..=u32::MAX.into()).map(|number| u32::try_from(number).unwrap_or(u32::MAX)),
        "Tool calls per root key and minute; 0: no limit",
    );
    MCP_TOOLSETS: Setting<Option<String>> = Setting::new(
        "mcp-toolsets", "NAMES", For::Running, Means("default", |_| Ok(None)),
        |text| assistants::wish(Wish::Toolsets, text),
        "Groups of tools that assistants may see, separated by commas: `context`, `apis`, `keys`, `identities`, \
         `ratelimit`, `analytics` (these are `default`), `permissions`, `migrations`, `audit`, `admin`; `all`",
    ).wish();
    MCP_TOOLS: Setting<Option<String>> = Setting::new(
        "mcp-tools", "NAMES", For::Running, Means("none", |_| Ok(None)),
        |text| assistants::wish(Wish::Tools, text),
        "Single tools that assistants may see, besides those groups, or alone",
    ).wish();
    MCP_EXCLUDE_TOOLS: Setting<Option<String>> = Setting::new(
        "mcp-exclude-tools", "NAMES", For::Running, Means("none", |_| Ok(None)),
        |text| assistants::wish(Wish::ExcludeTools, text),
        "Tools that no assistant sees, separated by commas",
    ).wish();
    MCP_READ_ONLY: Setting<Option<String>> = Setting::new(
        "mcp-read-only", "true|false", For::Running, Means("false", |_| Ok(None)),
        |text| assistants::wish(Wish::ReadOnly, text),
        "Whether assistants can only read",
    ).wish();
    MCP_API: Setting<Option<String>> = Setting::new(
        "mcp-api", "ID", For::Running, Means("all", |_| Ok(None)),
        |text| assistants::wish(Wish::Api, text),
        "The one API that assistants work on",
    ).wish();
    MCP_VIEW: Setting<Option<String>> = Setting::new(
        "mcp-view", "compact", For::Running, Means("every tool by itself", |_| Ok(None)),
        |text| assistants::wish(Wish::View, text),
        "`compact`: three tools stand for all, for models with little room",
    ).wish();
    MCP_TEXTS: Setting<Option<String>> = Setting::new(
        "mcp-texts", "FILE", For::Running, Means("ours", |_| Ok(None)), |text| assistants::texts(&values::path(text)?).map(Some),
        "Titles and descriptions of tools in place of ours, for translations and rules of the house: JSON such as \
         `{\"keys_createKey\": {\"description\": \"…\"}}`",
    );
    MCP_SESSIONS: Setting<bool> = Setting::new(
        "mcp-sessions", "true|false", For::Serve, Is("false"), |text| values::either(text, ["false", "true"]),
        "Whether older clients get sessions over HTTP, in which forms can ask their users; a session ends with the process",
    );
    MCP_CONFIRM: Setting<Confirm> = Setting::new(
        "mcp-confirm", "ask|held|off", For::Running, Is("ask"),
        |text| match text {
            "ask" => Ok(Confirm::Ask),
            "held" => Ok(Confirm::Held),
            "off" => Ok(Confirm::Off),
            _ => Err("must be `ask`, `held` or `off`".to_owned()),
        },
        "Who agrees before an assistant destroys, cuts off or hands out power: `ask`: whoever talks to it; `held`: somebody \
         at this machine's terminal, with `keyrack approvals`; `off`: nobody, for automation",
    ).wish();
    MCP_SECRETS: Setting<Handing> = Setting::new(
        "mcp-secrets", "inline|claim|file", For::Running, Is("inline"),
        |text| match text {
            "inline" => Ok(Handing::Inline),
            "claim" => Ok(Handing::Claim),
            "file" => Ok(Handing::File),
            _ => Err("must be `inline`, `claim` or `file`".to_owned()),
        },
        "How the text of a key that an assistant makes reaches its user: `inline`: in the answer, where it stays in the \
         conversation; `claim`: by a link that shows it once; `file`: in a file in the data folder, of `keyrack mcp` alone",
    ).wish();
    /// Whether assistants may read stored texts of keys.
    MCP_ALLOW_DECRYPT: Setting<bool> = Setting::new(
        "mcp-allow-decrypt", "true|false", For::Running, Is("false"),
        |text| values::either(text, ["false", "true"]),
        "Whether assistants may read the text of a recoverable key again, with a root key that may",
    ).wish();
    MCP_PROMPTS: Setting<Arc<Prompts>> = Setting::new(
        "mcp-prompts", "FOLDER", For::Running, Means("those of Keyrack alone", |_| Ok(Prompts::built_in())),
        |text| assistants::prompts(&values::path(text)?),
        "Folder of Markdown files: more prompts for assistants, or others of the same name; read at the start",
    ).wish();
    RATELIMIT_CELLS: Setting<usize> = Setting::new(
        "ratelimit-cells", "NUMBER", For::Running, Is("1000000"),
        |text| values::amount(text, MIN_RATELIMIT_CELLS..=MAX_RATELIMIT_CELLS),
        "Rate-limit counts kept at most, about 75 bytes of memory each; beyond, the workspace with most of them loses \
         those that used least of their limit, then the longest unused. One with no more than an equal share loses \
         none, and throttles of workspaces are never lost",
    );
    BOOTSTRAP_ROOT_KEY: SecretSetting<Secret> = SecretSetting::new(
        Facts::new(
            "bootstrap-root-key", "VALUE", For::Data,
            "A root key of your own choice, at least 32 characters, that exists after the start; a first start then \
             makes no other",
        ),
        Facts::new("bootstrap-root-key-file", "FILE", For::Data, "File with that root key"),
        values::bootstrap_root_key,
        |_| Ok(()),
    );
    MASTER_KEY: SecretSetting<MasterKey> = SecretSetting::new(
        Facts::new(
            "master-key", "VALUE", For::Data,
            "Base64 of 32 bytes that recoverable keys are encrypted under, without which keys cannot be recoverable; \
             `openssl rand -base64 32` makes one",
        ),
        Facts::new("master-key-file", "FILE", For::Data, "File with the master key"),
        |text| MasterKey::parse(&text),
        |_| Ok(()),
    );
    MASTER_KEY_PREVIOUS: SecretSetting<MasterKey> = SecretSetting::new(
        Facts::new(
            "master-key-previous", "VALUE", For::Data,
            "The master key before, while its data keys are sealed anew",
        ),
        Facts::new("master-key-previous-file", "FILE", For::Data, "File with the master key before"),
        |text| MasterKey::parse(&text),
        |settings| match MASTER_KEY.counting(settings) {
            Some(_) => Ok(()),
            None => Err("the master key before has no effect without a master key; set KEYRACK_MASTER_KEY".to_owned()),
        },
    );
    DELETED_RETENTION_DAYS: Setting<Option<i64>> = Setting::new(
        "deleted-retention-days", "DAYS", For::Running, Means("never", |_| Ok(None)), values::days,
        "Days after which what was deleted is removed from the database",
    );
    EXPIRED_RETENTION_DAYS: Setting<Option<i64>> = Setting::new(
        "expired-retention-days", "DAYS", For::Running, Means("never", |_| Ok(None)), values::days,
        "Days after which keys that expired are deleted for good",
    );
    PROFILE: Setting<Option<String>> = Setting::new(
        "profile", "NAME", For::Acting, Means("none", |_| Ok(None)), |text| Ok(Some(text.to_owned())),
        "Profile of the settings file: the server to call, the root key and the output",
    ).chooses();
    URL: Setting<Url> = Setting::new(
        "url", "URL", For::Acting, Is("http://127.0.0.1:8080"), remote::parse_base, "The server to call",
    );
    ROOT_KEY: SecretSetting<Secret> = SecretSetting::new(
        Facts {
            alias: Some("UNKEY_ROOT_KEY"),
            ..Facts::new("root-key", "VALUE", For::Acting, "The root key to act with")
        },
        Facts {
            default: Shown::Words("root-key in the data folder, else the bootstrap root key"),
            ..Facts::new("root-key-file", "FILE", For::Acting, "File with the root key")
        },
        values::root_key,
        |_| Ok(()),
    );
    /// Whether answers are shown as JSON.
    OUTPUT_AS_JSON: Setting<bool> = Setting::new(
        "output", "table|json", For::Calling, Is("table"), |text| values::either(text, ["table", "json"]),
        "How to show answers: `table` for people, or `json`, the complete answer, for scripts",
    );
}

/// The facts of all settings, secrets and their files each on their own.
pub(super) fn facts() -> impl Iterator<Item = &'static Facts> {
    SETTINGS.iter().flat_map(|setting| setting.facts())
}

/// Secrets, each with the file that may hold it.
pub(super) fn pairs() -> impl Iterator<Item = (&'static Facts, &'static Facts)> {
    SETTINGS.iter().filter_map(|setting| match setting.facts()[..] {
        [value, file] => Some((value, file)),
        _ => None,
    })
}

/// The folders of this program in the user's home.
pub(super) fn project_folders() -> Option<directories::ProjectDirs> {
    directories::ProjectDirs::from("", "", "keyrack")
}

/// `; did you mean …?` for a name that is close to one of these.
pub(super) fn nearest(
    name: &str,
    known: impl Iterator<Item = &'static str>,
    show: impl Fn(&str) -> String,
) -> String {
    let nearest = known
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .filter(|(distance, known)| *distance <= known.len().div_ceil(3))
        .min();
    nearest.map(|(_, known)| format!("; did you mean `{}`?", show(known))).unwrap_or_default()
}
