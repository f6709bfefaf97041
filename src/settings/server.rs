//! Which root key may go to which server.
//!
//! Flags and the environment are what somebody says for this very command. A root key of the settings file belongs to
//! the `url` that stands beside it, and the root key that the first start left on this machine to this machine.

use keyrack_core::keys::secret::Secret;
use reqwest::Url;

use super::list::{PROFILE, ROOT_KEY, URL};
use super::setting::{Origin, Settings, Shown};
use crate::remote;

/// The root key for a server.
#[derive(Debug)]
pub(crate) enum RootKeyFor {
    Given(Secret),
    /// None was given, and the server is this machine's: its own root key may go there.
    Own,
    /// None may go there, and why.
    None(String),
}

impl Settings {
    /// The root key that may be sent to the server at `base`, which these settings chose.
    ///
    /// # Errors
    /// When the root key that was given cannot be read.
    pub(crate) fn root_key_for(&self, base: &Url) -> anyhow::Result<RootKeyFor> {
        if let Some(root_key) = self.get(&ROOT_KEY)? {
            let chosen = self.source(URL.facts()).unwrap_or_default();
            return Ok(self.belongs_elsewhere(base, chosen).map_or(RootKeyFor::Given(root_key), RootKeyFor::None));
        }
        let is_of_profile = self.origin_of_url() == Some(Origin::Profile);
        Ok(if is_of_profile && !is_default(base) {
            // Even on this machine: behind a port of it may be a tunnel to another one.
            RootKeyFor::None(format!("{} has a url and no root_key or root_key_file", self.profile_in_words()))
        } else if remote::is_loopback(base) {
            RootKeyFor::Own
        } else {
            RootKeyFor::None("the server is not on this machine, so its root-key file is not here".to_owned())
        })
    }

    /// Why the root key that was given is not for the server at `base`, which `chosen` names, if so.
    pub(crate) fn belongs_elsewhere(&self, base: &Url, chosen: &str) -> Option<String> {
        let root_key = ROOT_KEY.counting(self)?;
        match self.urls_of_file.get(&root_key.origin) {
            Some(beside) if remote::parse_base(&beside.text).is_ok_and(|beside| beside == *base) => None,
            Some(beside) => Some(format!(
                "{} belongs to {}, and {chosen} names another server",
                root_key.source, beside.source
            )),
            None if root_key.origin == Origin::File && self.origin_of_url() == Some(Origin::Profile) => {
                Some(format!("{} is not that of {}", root_key.source, self.profile_in_words()))
            }
            None => None,
        }
    }

    /// What says that this very command is to act on a server. The top level of the settings file says so to those that
    /// call one, and to nobody else.
    pub(crate) fn named_server(&self) -> Option<&str> {
        let is_chosen = matches!(self.origin_of_url()?, Origin::Flag | Origin::Environment | Origin::Profile);
        self.source(URL.facts()).filter(|_| is_chosen)
    }

    fn origin_of_url(&self) -> Option<Origin> {
        self.values.get(URL.facts().name).map(|url| url.origin)
    }

    fn profile_in_words(&self) -> String {
        format!("profile `{}`", self.text(PROFILE.facts()).unwrap_or_default())
    }
}

/// Whether this is where a server of this machine is unless somebody says otherwise.
fn is_default(base: &Url) -> bool {
    match URL.facts().default {
        Shown::Value(text) => remote::parse_base(text).is_ok_and(|default| default == *base),
        Shown::Words(_) | Shown::Nothing => false,
    }
}
