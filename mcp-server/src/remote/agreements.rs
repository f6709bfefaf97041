//! Agreements that live as long as this process.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use keyrack_core::Error;
use keyrack_core::calendar::UnixMs;
use keyrack_core::confirmations::{ASKED_MS, Call, Void};
use keyrack_core::error::Code;
use keyrack_core::keys::secret;

/// Questions that wait for an answer, as many as beside a database.
const MOST: usize = 50;

/// Agreements by the texts that were given for them.
#[derive(Debug, Default)]
pub(super) struct Agreements(Mutex<HashMap<String, Agreement>>);

/// What one is good for.
#[derive(Debug)]
struct Agreement {
    call: (&'static str, String),
    target: String,
    expires_at: UnixMs,
    is_spent: bool,
}

impl Agreements {
    /// Notes that somebody is asked: the text that says that they agreed.
    pub(super) fn ask(&self, call: &Call<'_>, now: UnixMs) -> Result<String, Error> {
        let token = secret::generate_key(Some("ask"), 16).map_err(Error::unexpected)?.secret.expose().to_owned();
        let mut agreements = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        agreements.retain(|_, agreement| agreement.expires_at >= now);
        if agreements.values().filter(|agreement| !agreement.is_spent).count() >= MOST {
            let detail = "Too many questions wait for an answer; nothing was done.";
            return Err(Error::new(Code::WorkspaceRateLimited, detail).retry_after(60));
        }
        let expires_at = now.plus(ASKED_MS);
        let agreement = Agreement {
            call: (call.operation, call.arguments()),
            target: call.target(),
            expires_at,
            is_spent: false,
        };
        agreements.insert(token.clone(), agreement);
        Ok(token)
    }

    /// Acts on one, which counts once.
    pub(super) fn agree(&self, call: &Call<'_>, token: &str, now: UnixMs) -> Result<(), Void> {
        let mut agreements = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let agreement = agreements.get_mut(token).ok_or(Void::Unknown)?;
        if agreement.call != (call.operation, call.arguments()) {
            Err(Void::OtherCall)
        } else if agreement.is_spent {
            Err(Void::Spent)
        } else if agreement.expires_at < now {
            Err(Void::Over)
        } else if agreement.target != call.target() {
            Err(Void::Changed)
        } else {
            agreement.is_spent = true;
            Ok(())
        }
    }
}
