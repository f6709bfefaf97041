//! What all routes share.

use keyrack_core::keyrack::Keyrack;

/// What the HTTP API needs to know besides the Keyrack it serves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where clients reach the server, without a trailing slash.
    pub public_url: String,
    /// Bytes that a body may have.
    pub max_body_bytes: usize,
}

impl Settings {
    /// Where the documentation is, without a trailing slash.
    pub fn docs(&self) -> String {
        format!("{}/docs", self.public_url)
    }
}

/// What the handlers of operations need.
pub(crate) struct Shared {
    pub(crate) keyrack: Keyrack,
    /// Where the documentation is, without a trailing slash.
    pub(crate) docs: String,
    pub(crate) max_body_bytes: usize,
}

impl Shared {
    pub(crate) fn new(keyrack: Keyrack, settings: &Settings) -> Self {
        Shared { keyrack, docs: settings.docs(), max_body_bytes: settings.max_body_bytes }
    }
}
