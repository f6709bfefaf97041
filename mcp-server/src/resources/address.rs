//! Addresses of resources, such as `keyrack://identities/acme%2Feu`: what of them is a name is data.

use std::fmt;

/// What every address begins with.
pub(crate) const SCHEME: &str = "keyrack://";
/// Bytes of an address: the longest name, with every byte of it written as `%XX`.
const LONGEST: usize = 8 << 10;

/// Why a text is no address of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoAddress {
    Scheme,
    TooLong,
    Empty,
    Query,
    Percent,
    NotText,
}

impl fmt::Display for NoAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NoAddress::Scheme => "Addresses of resources begin with `keyrack://`.",
            NoAddress::TooLong => "The address is longer than any name.",
            NoAddress::Empty => "A part of the address is empty; a `/` within a name is written %2F.",
            NoAddress::Query => "In a name, `?` is written %3F and `#` is written %23.",
            NoAddress::Percent => "A `%` stands before two hexadecimal digits; by itself it is written %25.",
            NoAddress::NotText => "What the escapes stand for is not UTF-8.",
        })
    }
}

/// The parts of an address between slashes, each decoded once.
///
/// # Errors
/// Why it is none.
pub(crate) fn parts(address: &str) -> Result<Vec<String>, NoAddress> {
    if address.len() > LONGEST {
        return Err(NoAddress::TooLong);
    }
    let path = address.strip_prefix(SCHEME).ok_or(NoAddress::Scheme)?;
    if path.contains(['?', '#']) {
        return Err(NoAddress::Query);
    }
    path.split('/').map(decoded).collect()
}

fn decoded(part: &str) -> Result<String, NoAddress> {
    if part.is_empty() {
        return Err(NoAddress::Empty);
    }
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = rest.split_first_chunk::<2>().ok_or(NoAddress::Percent)?;
        let [high, low] =
            digits.map(|digit| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok()));
        bytes.push(high.zip(low).map(|(high, low)| (high << 4) | low).ok_or(NoAddress::Percent)?);
        rest = after;
    }
    String::from_utf8(bytes).map_err(|_| NoAddress::NotText)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A name as it stands in an address, as RFC 6570 expands `{name}`.
    pub(crate) fn encoded(name: &str) -> String {
        let escape = |byte: u8| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        };
        name.bytes().map(escape).collect()
    }

    #[test]
    fn names_are_decoded_once_and_stay_one_part() {
        for (address, expected) in [
            ("keyrack://workspace", &["workspace"][..]),
            ("keyrack://analytics/tables", &["analytics", "tables"]),
            ("keyrack://identities/acme%2Feu", &["identities", "acme/eu"]),
            ("keyrack://identities/..", &["identities", ".."]),
            ("keyrack://identities/%2e%2E%2f%2e%2e", &["identities", "../.."]),
            ("keyrack://identities/100%25", &["identities", "100%"]),
            ("keyrack://identities/%2525", &["identities", "%25"]),
            ("keyrack://identities/a+b c@d:e", &["identities", "a+b c@d:e"]),
            ("keyrack://identities/{externalId}", &["identities", "{externalId}"]),
            ("keyrack://identities/gr%C3%B6%C3%9Fe", &["identities", "größe"]),
        ] {
            assert_eq!(parts(address).unwrap(), expected, "{address}");
        }
    }

    #[test]
    fn what_is_no_address_is_said() {
        for (address, expected) in [
            ("", NoAddress::Scheme),
            ("https://workspace", NoAddress::Scheme),
            ("keyrack:workspace", NoAddress::Scheme),
            ("keyrack://", NoAddress::Empty),
            ("keyrack://keys/", NoAddress::Empty),
            ("keyrack:///keys/a", NoAddress::Empty),
            ("keyrack://keys/a?b", NoAddress::Query),
            ("keyrack://keys/a#b", NoAddress::Query),
            ("keyrack://keys/a%", NoAddress::Percent),
            ("keyrack://keys/a%2", NoAddress::Percent),
            ("keyrack://keys/a%zz", NoAddress::Percent),
            ("keyrack://keys/%+1", NoAddress::Percent),
            ("keyrack://keys/%FF", NoAddress::NotText),
            (&format!("keyrack://keys/{}", "a".repeat(9000)), NoAddress::TooLong),
        ] {
            assert_eq!(parts(address), Err(expected), "{address}");
        }
    }

    proptest! {
        #[test]
        fn any_name_comes_back(name in ".{1,200}") {
            let address = format!("{SCHEME}identities/{}", encoded(&name));
            prop_assert_eq!(parts(&address), Ok(vec!["identities".to_owned(), name]));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".*") {
            let _ = parts(&format!("{SCHEME}{text}"));
        }
    }
}
