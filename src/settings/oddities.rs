//! What the settings of a server say that is probably not meant: it stops nothing, and is said at every start.

use keyrack_core::catalogue::{Operation, Visitor};
use reqwest::Url;

use super::list::{
    LISTEN, LOG, MASTER_KEY, MAX_BODY_BYTES, MCP_ALLOW_DECRYPT, PUBLIC_URL, TRUSTED_PROXIES, pairs,
};
use super::setting::{Facts, Settings};

/// What is never logged in more detail than `info`, whatever the filter: it would show keys.
const QUIET: [&str; 2] = ["rmcp", "opentelemetry"];
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

impl Settings {
    /// What has less effect, or more, than whoever set it may think. Values that cannot be read are faults instead.
    pub(crate) fn oddities(&self) -> Vec<String> {
        let mut odd: Vec<String> = pairs().filter_map(|(value, file)| self.without_effect(value, file)).collect();
        odd.extend(self.odd_log_filter());
        odd.extend(self.log_filter_beyond_the_cap());
        if let (Ok(proxies), Some(source)) = (self.get(&TRUSTED_PROXIES), self.source(TRUSTED_PROXIES.facts()))
            && proxies.contains_nearly_everybody()
        {
            odd.push(format!(
                "{source}: trusts nearly everybody, so any client chooses the address that lists of addresses and the \
                 audit log see; name the proxies alone"
            ));
        }
        odd.extend(self.addresses_of_nobody());
        odd.extend(self.body_limit_of_nothing());
        odd.extend(self.unencrypted());
        odd.extend(self.same_master_keys());
        odd.extend(self.decryption_of_nothing());
        odd
    }

    fn without_effect(&self, value: &Facts, file: &Facts) -> Option<String> {
        let (value, file) = (self.values.get(value.name)?, self.values.get(file.name)?);
        // What is nearer to this run is meant to beat the rest.
        let is_beaten = file.origin >= value.origin;
        is_beaten.then(|| format!("{}: has no effect, because {} is set", file.source, value.source))
    }

    /// A word that is no level is taken as the name of a module: `debgu` logs nothing at all.
    fn odd_log_filter(&self) -> Option<String> {
        let (text, source) = (self.text(LOG.facts())?, self.source(LOG.facts())?);
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

    /// `rmcp=debug` reads as if it showed more.
    fn log_filter_beyond_the_cap(&self) -> Option<String> {
        let (text, source) = (self.text(LOG.facts())?, self.source(LOG.facts())?);
        let mut words = text.split(',').filter_map(|word| word.trim().split_once('='));
        let (target, level) = words.find(|(target, level)| {
            let is_quiet = QUIET.iter().any(|quiet| target.split("::").next() == Some(quiet));
            is_quiet && ["debug", "trace"].iter().any(|more| more.eq_ignore_ascii_case(level))
        })?;
        let shown = crate::printable::line(target);
        Some(format!("{source}: `{shown}={level}` shows no more than `{shown}=info`, because it would show keys"))
    }

    /// What a listener writes for "everybody" is the address of nobody where one is named.
    fn addresses_of_nobody(&self) -> Option<String> {
        if let (Ok(proxies), Some(source)) = (self.get(&TRUSTED_PROXIES), self.source(TRUSTED_PROXIES.facts()))
            && proxies.names_nobody()
        {
            return Some(format!(
                "{source}: 0.0.0.0 and :: are the addresses of nobody, so no proxy is trusted by them; name the proxies"
            ));
        }
        let url = Url::parse(&self.get(&PUBLIC_URL).ok()??).ok()?;
        let host = url.host_str()?.trim_matches(['[', ']']).parse::<std::net::IpAddr>().ok()?;
        host.is_unspecified().then(|| {
            let source = self.source(PUBLIC_URL.facts()).unwrap_or_default();
            format!("{source}: no client reaches {host}; write the name or address under which clients do")
        })
    }

    /// A ceiling above what any operation takes.
    fn body_limit_of_nothing(&self) -> Option<String> {
        let source = self.source(MAX_BODY_BYTES.facts())?;
        let (limit, largest) = (self.get(&MAX_BODY_BYTES).ok()?, largest_body());
        (limit > largest).then(|| {
            format!("{source}: has no effect, because no operation takes more than {largest} bytes; it only lowers limits")
        })
    }

    /// Others on the network reach the listener, and nothing says that TLS is in front of it.
    fn unencrypted(&self) -> Option<String> {
        let listen = self.get(&LISTEN).ok().filter(|listen| !listen.ip().is_loopback())?;
        let is_proxied = self.is_given(&TRUSTED_PROXIES);
        let is_https = self.get(&PUBLIC_URL).ok().flatten().is_some_and(|url| url.starts_with("https://"));
        (!is_proxied && !is_https).then(|| {
            format!(
                "{}: keys and root keys come to {listen} unencrypted; put a proxy that speaks TLS before it, and name \
                 the proxy in KEYRACK_TRUSTED_PROXIES or its URL in KEYRACK_PUBLIC_URL",
                self.source(LISTEN.facts()).unwrap_or("KEYRACK_LISTEN")
            )
        })
    }

    /// Without a master key there is nothing to decrypt.
    fn decryption_of_nothing(&self) -> Option<String> {
        let source = self.source(MCP_ALLOW_DECRYPT.facts())?;
        let is_idle = self.get(&MCP_ALLOW_DECRYPT).ok()? && MASTER_KEY.counting(self).is_none();
        is_idle.then(|| {
            format!("{source}: has no effect, because without KEYRACK_MASTER_KEY no text of a key is stored")
        })
    }

    fn same_master_keys(&self) -> Option<String> {
        let vault = self.vault().ok().flatten()?;
        vault.is_its_own_previous().then(|| {
            "KEYRACK_MASTER_KEY_PREVIOUS: has no effect, because it is the same as the master key".to_owned()
        })
    }
}

/// The bytes that the operation with the largest bodies takes.
fn largest_body() -> usize {
    struct Largest(usize);
    impl Visitor for Largest {
        fn operation<O: Operation>(&mut self) {
            self.0 = self.0.max(O::ABOUT.largest_body);
        }
    }
    let mut largest = Largest(0);
    keyrack_core::each(&mut largest);
    largest.0
}
