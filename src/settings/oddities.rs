//! What the settings of a server say that is probably not meant: it stops nothing, and is said at every start.

use super::Settings;

/// Values that a file with the same secret stands beside.
const PAIRS: [(&str, &str); 4] = [
    ("bootstrap-root-key", "bootstrap-root-key-file"),
    ("master-key", "master-key-file"),
    ("master-key-previous", "master-key-previous-file"),
    ("root-key", "root-key-file"),
];
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

impl Settings {
    /// What has less effect, or more, than whoever set it may think. Values that cannot be read are faults instead.
    pub(crate) fn oddities(&self) -> Vec<String> {
        let mut odd: Vec<String> = PAIRS.iter().filter_map(|pair| self.without_effect(*pair)).collect();
        odd.extend(self.odd_log_filter());
        if let (Ok(proxies), Some(source)) = (self.trusted_proxies(), self.source("trusted-proxies"))
            && proxies.contains_nearly_everybody()
        {
            odd.push(format!(
                "{source}: trusts nearly everybody, so any client chooses the address that lists of addresses and the \
                 audit log see; name the proxies alone"
            ));
        }
        odd.extend(self.unencrypted());
        odd.extend(self.same_master_keys());
        odd
    }

    fn source(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|value| value.source.as_str())
    }

    fn without_effect(&self, (value, file): (&'static str, &'static str)) -> Option<String> {
        let (value, file) = (self.source(value)?, self.source(file)?);
        // A file that is a flag is meant to beat the rest.
        (!file.starts_with("--")).then(|| format!("{file}: has no effect, because {value} is set"))
    }

    /// A word that is no level is taken as the name of a module: `debgu` logs nothing at all.
    fn odd_log_filter(&self) -> Option<String> {
        let (text, source) = (self.text("log")?, self.source("log")?);
        let mut words = text.split(',').map(str::trim).filter(|word| !word.contains(['=', '[']));
        let odd = words.find(|word| {
            let is_level =
                LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word)) || word.parse::<u8>().is_ok();
            !word.is_empty() && !is_level && !word.starts_with("keyrack")
        })?;
        Some(format!(
            "{source}: `{}` is no level, so it is the name of a module of which everything is logged; levels are {}",
            crate::printable::line(odd),
            LEVELS.join(", ")
        ))
    }

    /// Others on the network reach the listener, and nothing says that TLS is in front of it.
    fn unencrypted(&self) -> Option<String> {
        let listen = self.listen().ok().filter(|listen| !listen.ip().is_loopback())?;
        let is_proxied = self.text("trusted-proxies").is_some();
        let is_https = self.public_url().ok().flatten().is_some_and(|url| url.starts_with("https://"));
        (!is_proxied && !is_https).then(|| {
            format!(
                "{}: keys and root keys come to {listen} unencrypted; put a proxy that speaks TLS before it, and name \
                 the proxy in KEYRACK_TRUSTED_PROXIES or its URL in KEYRACK_PUBLIC_URL",
                self.source("listen").unwrap_or("KEYRACK_LISTEN")
            )
        })
    }

    fn same_master_keys(&self) -> Option<String> {
        let vault = self.vault().ok().flatten()?;
        vault.is_its_own_previous().then(|| {
            "KEYRACK_MASTER_KEY_PREVIOUS: has no effect, because it is the same as the master key".to_owned()
        })
    }
}
