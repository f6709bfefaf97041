//! Who calls: the root key in the `Authorization` header.

use http::header::{AUTHORIZATION, USER_AGENT};
use http::{HeaderMap, HeaderValue};
use keyrack_core::caller::{Caller, Origin, Via};
use keyrack_core::error::{Code, Error};
use keyrack_core::keyrack::Keyrack;

use crate::head::Head;

/// With the value `disabled`, decisions on rate limits are not recorded for analytics.
const METRICS: &str = "x-unkey-metrics";

/// Finds the caller of a request.
///
/// # Errors
/// 401 when the header is missing, malformed or names no root key; 403 when the root key may not be used.
pub(crate) fn authenticate(keyrack: &Keyrack, head: Head<'_>) -> Result<Caller, Error> {
    let Head { id, headers, address, .. } = head;
    let bearer = bearer(headers)?;
    let user_agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
    let mut origin = Origin::new(Via::of_http(user_agent), address, id).of_client(user_agent);
    origin.is_recorded = headers.get(METRICS).is_none_or(|value| value != "disabled");
    keyrack.authenticate(bearer, origin)
}

/// Tells the log that nobody was let in.
pub(crate) fn tell_refusal(keyrack: &Keyrack, operation: &'static str, head: Head<'_>, error: &Error) {
    keyrack.refused_credential(operation, head.address, bearer(head.headers).ok(), error);
}

/// Asks the store about a root key that is not known: whether it is known now.
pub(crate) async fn learn(keyrack: &Keyrack, head: Head<'_>) -> bool {
    match bearer(head.headers) {
        Ok(bearer) => keyrack.learn_root_key(bearer).await,
        Err(_) => false,
    }
}

/// The one root key that was sent. Which of two would act is nothing to guess: a proxy may add one of its own.
fn bearer(headers: &HeaderMap) -> Result<&str, Error> {
    let mut values = headers.get_all(AUTHORIZATION).iter().filter(|value| !value.is_empty());
    let Some(value) = values.next() else {
        return Err(Error::new(
            Code::CredentialMissing,
            "The request has no `Authorization` header. Send `Authorization: Bearer <root key>`.",
        ));
    };
    let token = token(value)?;
    for another in values {
        if self::token(another)? != token {
            return Err(Error::new(
                Code::CredentialMalformed,
                "The request has two `Authorization` headers that differ. Send one, with your root key.",
            ));
        }
    }
    Ok(token)
}

fn token(value: &HeaderValue) -> Result<&str, Error> {
    // As everybody sends it.
    let plain = value.as_bytes().strip_prefix(b"Bearer ");
    let plain = plain.filter(|plain| !plain.is_empty() && plain.iter().all(u8::is_ascii_graphic));
    if let Some(Ok(token)) = plain.map(std::str::from_utf8) {
        return Ok(token);
    }
    let malformed = || {
        Error::new(
            Code::CredentialMalformed,
            "The `Authorization` header is not of the form `Bearer <root key>`. Send your root key that way.",
        )
    };
    let text = value.to_str().map_err(|_| malformed())?.trim();
    let (scheme, token) = text.split_once(' ').ok_or_else(malformed)?;
    let token = token.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(malformed());
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_has_any_case_and_spaces_around_the_token_do_not_matter() {
        for (header, expected) in [
            (None, Err(Code::CredentialMissing)),
            (Some(""), Err(Code::CredentialMissing)),
            (Some("Basic abc"), Err(Code::CredentialMalformed)),
            (Some("Bearer"), Err(Code::CredentialMalformed)),
            (Some("Bearer   "), Err(Code::CredentialMalformed)),
            (Some("Bearer abc"), Ok("abc")),
            (Some("  bearer   abc  "), Ok("abc")),
            (Some("BEARER abc"), Ok("abc")),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(header) = header {
                headers.insert(AUTHORIZATION, HeaderValue::from_static(header));
            }
            assert_eq!(bearer(&headers).map_err(|error| error.code()), expected, "{header:?}");
        }
    }

    #[test]
    fn two_headers_are_one_if_they_say_the_same() {
        for (second, expected) in [
            ("Bearer abc", Ok("abc")),
            ("bearer  abc ", Ok("abc")),
            ("", Ok("abc")),
            ("Bearer abd", Err(Code::CredentialMalformed)),
            ("Basic abc", Err(Code::CredentialMalformed)),
            ("Bearer", Err(Code::CredentialMalformed)),
        ] {
            for both in [["Bearer abc", second], [second, "Bearer abc"]] {
                let mut headers = HeaderMap::new();
                for header in both {
                    headers.append(AUTHORIZATION, HeaderValue::from_static(header));
                }
                assert_eq!(bearer(&headers).map_err(|error| error.code()), expected, "{both:?}");
            }
        }
    }
}
