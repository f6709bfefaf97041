//! How values are read: from the text that somebody wrote to what it means, or why it means nothing.
//!
//! Every reason is the end of a sentence that begins with the place of the value, and none shows the value where it may
//! hold a secret.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use keyrack_core::keys::address_list::AddressList;
use keyrack_core::keys::secret::Secret;
use keyrack_core::retention::Retention;
use keyrack_core::setup::MIN_BOOTSTRAP_CHARACTERS;
use keyrack_core::store::{Durability, Location};

use super::hosts;

/// A smaller log of events would be all beginnings.
const MIN_EVENT_LOG_BYTES: u64 = 16 << 10;
const MIN_ANALYTICS_BYTES: u64 = 16 << 20;
/// A hundred years.
const MOST_KEPT_DAYS: u32 = 36_500;
const MAX_EVENT_LOG_BYTES: u64 = 1 << 50;
/// A root key travels in a header, and heads are bounded.
const LONGEST_ROOT_KEY: usize = 1024;
/// No system opens longer paths.
const LONGEST_PATH: usize = 4096;
/// What a PostgreSQL URL may say after `?`.
const POSTGRES_PARAMETERS: [&str; 17] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
];

pub(super) fn whole(text: &str, range: RangeInclusive<u64>) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("must be a whole number from {} to {}", range.start(), range.end()))
}

pub(super) fn amount(text: &str, range: RangeInclusive<u64>) -> Result<usize, String> {
    usize::try_from(whole(text, range)?).map_err(|_| "is more than this machine can count".to_owned())
}

pub(super) fn seconds(text: &str, range: RangeInclusive<u64>) -> Result<Duration, String> {
    whole(text, range).map(Duration::from_secs)
}

pub(super) fn days(text: &str) -> Result<Option<i64>, String> {
    match text.parse() {
        Ok(days) if (1..=Retention::MAX_DAYS).contains(&days) => Ok(Some(days)),
        _ => Err(format!("must be a number of days from 1 to {}; leave it out for never", Retention::MAX_DAYS)),
    }
}

/// One of two words: whether it is the second.
pub(super) fn either(text: &str, words: [&str; 2]) -> Result<bool, String> {
    let found = words.iter().position(|word| *word == text);
    found.map(|at| at == 1).ok_or_else(|| format!("must be `{}` or `{}`", words[0], words[1]))
}

pub(super) fn durability(text: &str) -> Result<Durability, String> {
    Ok(if either(text, ["full", "normal"])? { Durability::Normal } else { Durability::Full })
}

/// 0 or a size that can hold events.
pub(super) fn event_log_bytes(text: &str) -> Result<u64, String> {
    let is_meant = |bytes: &u64| *bytes == 0 || (MIN_EVENT_LOG_BYTES..=MAX_EVENT_LOG_BYTES).contains(bytes);
    text.parse()
        .ok()
        .filter(is_meant)
        .ok_or_else(|| format!("must be 0 or a whole number from {MIN_EVENT_LOG_BYTES} to {MAX_EVENT_LOG_BYTES}"))
}

/// 0 or a size in which days of events have a place.
pub(super) fn analytics_bytes(text: &str) -> Result<u64, String> {
    let is_meant = |bytes: &u64| *bytes == 0 || (MIN_ANALYTICS_BYTES..=MAX_EVENT_LOG_BYTES).contains(bytes);
    text.parse()
        .ok()
        .filter(is_meant)
        .ok_or_else(|| format!("must be 0 or a whole number from {MIN_ANALYTICS_BYTES} to {MAX_EVENT_LOG_BYTES}"))
}

/// Days for which something is kept.
pub(super) fn kept_days(text: &str) -> Result<u32, String> {
    let days = text.parse().ok().filter(|days| (1..=MOST_KEPT_DAYS).contains(days));
    days.ok_or_else(|| format!("must be a number of days from 1 to {MOST_KEPT_DAYS}"))
}

pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    if text.len() > LONGEST_PATH { Err(too_long()) } else { Ok(PathBuf::from(text)) }
}

fn too_long() -> String {
    format!("is longer than {LONGEST_PATH} bytes, which no path is")
}

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "must be an address and a port, such as 127.0.0.1:8080".to_owned())
}

/// An address of the metrics; nowhere if it is empty.
pub(super) fn metrics_address(text: &str) -> Result<Option<SocketAddr>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let address = text.parse().map(Some);
    address.map_err(|_| "must be an address and a port, such as 127.0.0.1:9090, or empty".to_owned())
}

/// Where clients reach the server, without a trailing slash.
pub(super) fn public_url(text: &str) -> Result<Option<String>, String> {
    let is_http = text.starts_with("http://") || text.starts_with("https://");
    let url = reqwest::Url::parse(text).ok().filter(|_| is_http);
    // The stricter reader too: what it cannot read, clients may not understand.
    let url = url.filter(|_| text.parse::<axum::http::Uri>().is_ok());
    let host = url.as_ref().and_then(|url| url.host_str().filter(|host| hosts::name(host).is_ok()));
    let Some((url, _)) = url.as_ref().zip(host) else {
        return Err("must be a URL such as https://keys.example.com".to_owned());
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must have no user and no password".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must end with the host, the port or a path".to_owned());
    }
    Ok(Some(text.trim_end_matches('/').to_owned()))
}

pub(super) fn proxies(text: &str) -> Result<AddressList, String> {
    match AddressList::parse(text) {
        Ok(list) if list.is_empty() => Err("names no address; leave it out to trust nobody".to_owned()),
        Ok(list) => Ok(list),
        Err(error) => Err(error.to_string()),
    }
}

pub(super) fn database(url: &str) -> Result<Location, String> {
    match Location::parse(url)? {
        Location::Postgres(url) => postgres_url(url).map(Location::Postgres),
        Location::Sqlite(path) if path.as_os_str().len() > LONGEST_PATH => Err(too_long()),
        sqlite @ Location::Sqlite(_) => Ok(sqlite),
    }
}

/// A PostgreSQL URL of which every part means something. No message shows any of it.
fn postgres_url(url: String) -> Result<String, String> {
    let parsed = reqwest::Url::parse(&url).map_err(|error| {
        format!(
            "is no URL ({error}); write postgres://USER:PASSWORD@HOST:PORT/NAME, with % codes for what is special"
        )
    })?;
    if parsed.fragment().is_some() {
        return Err("ends in a `#…` that means nothing; in a password write it as %23".to_owned());
    }
    let known =
        |name: &str| POSTGRES_PARAMETERS.contains(&name) || name == "options" || name.starts_with("options[");
    match parsed.query_pairs().find(|(name, _)| !known(name)) {
        Some((name, _)) => Err(format!("has the parameter `{name}`, which has no effect")),
        None => Ok(url),
    }
}

/// A root key that no server made, so it may be easily guessed.
pub(super) fn bootstrap_root_key(key: Secret) -> Result<Secret, String> {
    let bytes = key.expose().len();
    if (MIN_BOOTSTRAP_CHARACTERS..=LONGEST_ROOT_KEY).contains(&bytes) {
        return Ok(key);
    }
    Err(format!(
        "the bootstrap root key must have {MIN_BOOTSTRAP_CHARACTERS} to {LONGEST_ROOT_KEY} characters, and has {bytes}"
    ))
}

pub(super) fn root_key(key: Secret) -> Result<Secret, String> {
    if key.expose().len() > LONGEST_ROOT_KEY {
        return Err(format!("no root key is longer than {LONGEST_ROOT_KEY} characters"));
    }
    Ok(key)
}
