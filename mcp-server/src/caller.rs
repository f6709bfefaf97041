//! Root keys in HTTP headers: which headers are read, in which order, and what refusals say.
//!
//! Root keys are not OAuth. A client that reads 401 after it sent a credential starts an OAuth flow, and
//! its user sees a failed registration instead of our sentence; so what is refused in a header of our own
//! answers 403, and only `Authorization` answers as RFC 6750 wants.

use axum::http::header::{AUTHORIZATION, USER_AGENT};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use keyrack_core::caller::{ClientAddress, Origin, Via};
use keyrack_core::ids::RequestId;
use keyrack_core::keys::secret::Secret;

/// Where a root key may be, in the order of precedence. The last two are those of Unkey's own clients;
/// they hold no space, which some clients cannot pass on.
const HEADERS: [HeaderName; 4] = [
    AUTHORIZATION,
    HeaderName::from_static("x-keyrack-root-key"),
    HeaderName::from_static("mcp-unkey-bearer-auth"),
    HeaderName::from_static("mcp-unkey-v2-root-key"),
];

/// How a root key is sent, for whoever sent none or a wrong one.
pub(crate) const HOW_TO_SEND: &str = "Send a root key in one of these headers: `Authorization: Bearer <root key>`, \
     `X-Keyrack-Root-Key: <root key>`, `MCP-UNKEY-BEARER-AUTH: <root key>`, `MCP-UNKEY-V2-ROOT-KEY: <root key>`.";

/// A root key that was sent.
#[derive(Debug)]
pub(crate) struct Credential {
    pub(crate) token: Secret,
    /// Whether it came in `Authorization`, whose refusal is 401.
    pub(crate) is_bearer: bool,
}

/// Why there is no root key to look up.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoCredential {
    /// Nothing was sent.
    Missing,
    /// Two headers hold two different root keys: a guess could act in the wrong workspace.
    Contradicting,
}

/// Takes the root key out of the headers, so that nothing behind this point can see or log it.
pub(crate) fn take_credential(headers: &mut HeaderMap) -> Result<Credential, NoCredential> {
    let mut found: Option<Credential> = None;
    let mut contradicting = false;
    for name in HEADERS {
        let is_bearer = name == AUTHORIZATION;
        for value in headers.get_all(&name) {
            let Some(token) = token(value, is_bearer) else { continue };
            match &found {
                Some(first) => contradicting |= first.token.expose() != token,
                None => found = Some(Credential { token: Secret::from_string(token.to_owned()), is_bearer }),
            }
        }
        headers.remove(&name);
    }
    match found {
        Some(_) if contradicting => Err(NoCredential::Contradicting),
        Some(credential) => Ok(credential),
        None => Err(NoCredential::Missing),
    }
}

/// The root key in a header's value, with or without `Bearer ` before it. Empty values and, in
/// `Authorization`, other schemes hold none; no root key has a character that a header may not have.
fn token(value: &HeaderValue, is_authorization: bool) -> Option<&str> {
    let text = value.to_str().ok()?.trim();
    let token = match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        Some(_) if is_authorization => return None,
        None if text.eq_ignore_ascii_case("bearer") => return None,
        _ => text,
    };
    (!token.is_empty()).then_some(token)
}

/// Where an HTTP request came from.
pub(crate) fn origin(headers: &HeaderMap, address: Option<&ClientAddress>) -> Origin {
    let user_agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
    Origin::new(Via::Mcp, address.and_then(|address| address.0), RequestId::new()).of_client(user_agent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(headers: &[(&'static str, &str)]) -> Result<(String, bool), NoCredential> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let credential = take_credential(&mut map);
        assert!(map.is_empty(), "credentials stay in no header: {map:?}");
        credential.map(|credential| (credential.token.expose().to_owned(), credential.is_bearer))
    }

    #[test]
    fn four_headers_are_read_with_and_without_the_scheme() {
        for name in ["x-keyrack-root-key", "mcp-unkey-bearer-auth", "mcp-unkey-v2-root-key"] {
            assert_eq!(taken(&[(name, "key")]), Ok(("key".to_owned(), false)));
            assert_eq!(taken(&[(name, "Bearer key")]), Ok(("key".to_owned(), false)));
        }
        assert_eq!(taken(&[("authorization", "bearer  key ")]), Ok(("key".to_owned(), true)));
        assert_eq!(taken(&[("authorization", "key")]), Ok(("key".to_owned(), true)));
    }

    #[test]
    fn one_key_in_two_headers_is_one_key_and_two_keys_are_refused() {
        let both = [("mcp-unkey-bearer-auth", "key"), ("authorization", "Bearer key")];
        assert_eq!(taken(&both), Ok(("key".to_owned(), true)));
        let two = [("x-keyrack-root-key", "one"), ("mcp-unkey-bearer-auth", "two")];
        assert_eq!(taken(&two), Err(NoCredential::Contradicting));
        let twice = [("x-keyrack-root-key", "one"), ("x-keyrack-root-key", "two")];
        assert_eq!(taken(&twice), Err(NoCredential::Contradicting));
    }

    #[test]
    fn empty_values_and_other_schemes_hold_no_root_key() {
        assert_eq!(taken(&[]), Err(NoCredential::Missing));
        for value in ["", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz"] {
            assert_eq!(taken(&[("authorization", value)]), Err(NoCredential::Missing), "{value:?}");
        }
        let basic_before_a_proxy = [("authorization", "Basic dXNlcjpwYXNz"), ("x-keyrack-root-key", "key")];
        assert_eq!(taken(&basic_before_a_proxy), Ok(("key".to_owned(), false)));
    }
}
