//! Agreements that live as long as this process. They count as those beside a database do.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use keyrack_core::Error;
use keyrack_core::calendar::UnixMs;
use keyrack_core::confirmations::{ASKED_MS, Call, Void};
use keyrack_core::error::Code;
use keyrack_core::keys::secret;

/// Questions that wait for an answer, as many as beside a database.
const MOST: usize = 50;

/// Agreements by digests of the texts that were given for them.
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
        let token = secret::generate_key(Some("ask"), 16).map_err(Error::unexpected)?;
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
        agreements.insert(token.hash.to_base64(), agreement);
        Ok(token.secret.expose().to_owned())
    }

    /// Acts on one, which counts once.
    pub(super) fn agree(&self, call: &Call<'_>, token: &str, now: UnixMs) -> Result<(), Void> {
        let mut agreements = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let agreement = agreements.get_mut(&secret::hash(token).to_base64()).ok_or(Void::Unknown)?;
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use keyrack_core::Caller;
    use keyrack_core::authorization::Grants;
    use keyrack_core::caller::{Origin, Principal, RootKey, Via};
    use keyrack_core::catalogue::{Fact, Question};
    use serde_json::json;

    use super::*;

    fn caller() -> Caller {
        let root_key = RootKey {
            id: "key_1".to_owned(),
            workspace_id: "ws_1".to_owned(),
            name: None,
            permissions: Vec::new(),
            grants: Grants::new("ws_1", []),
            operator: false,
            enabled: true,
            expires_at: None,
            last_use: Arc::default(),
        };
        Caller::new(Principal::RootKey(Arc::new(root_key)), None, Origin::local(Via::Mcp))
    }

    #[test]
    fn one_is_good_once_for_one_call_for_a_while() {
        let (agreements, caller) = (Agreements::default(), caller());
        let question = |name: &str| Question {
            consequences: vec!["Deletes the key."],
            facts: vec![("name", Fact::Text(name.to_owned()))],
            typed: None,
        };
        let (asked, renamed) = (question("mobile"), question("desktop"));
        let (request, other) = (json!({ "keyId": "key_2" }), json!({ "keyId": "key_3" }));
        let call = Call { caller: &caller, operation: "keys.deleteKey", request: &request, question: &asked };
        let at = |after: i64| UnixMs::new(1000 + after);
        let token = agreements.ask(&call, at(0)).unwrap();
        assert!(!format!("{agreements:?}").contains(&token));
        for (of, now, void) in [
            (Call { operation: "keys.rerollKey", ..call }, at(0), Void::OtherCall),
            (Call { request: &other, ..call }, at(0), Void::OtherCall),
            (Call { question: &renamed, ..call }, at(0), Void::Changed),
            (call, at(ASKED_MS + 1), Void::Over),
        ] {
            assert_eq!(agreements.agree(&of, &token, now), Err(void));
        }
        assert_eq!(agreements.agree(&call, "ask_made_up", at(0)), Err(Void::Unknown));
        assert_eq!(agreements.agree(&call, &token, at(ASKED_MS)), Ok(()));
        assert_eq!(agreements.agree(&call, &token, at(ASKED_MS)), Err(Void::Spent));
        for _ in 0..MOST {
            agreements.ask(&call, at(0)).unwrap();
        }
        assert_eq!(agreements.ask(&call, at(0)).unwrap_err().code(), Code::WorkspaceRateLimited);
        assert!(agreements.ask(&call, at(ASKED_MS + 1)).is_ok(), "what is over waits for nobody");
    }
}
