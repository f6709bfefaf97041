//! The names under which a server may be reached.
//!
//! A browser can be tricked into calling a server on the user's own machine under a name of the attacker's (DNS
//! rebinding); a `Host` that is not one of the listener's names is refused. A name is needed for that trick, so
//! literal addresses are let through where the listener is open to others.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::OnceLock;

use http::header::HOST;
use http::{HeaderMap, Uri};
use keyrack_core::error::{Code, Error};

/// So much of a name that this server does not have is shown.
const SHOWN: usize = 100;

/// The names of a listener, besides those of the loopback interface.
#[derive(Debug, Clone)]
pub struct Hosts {
    names: Vec<String>,
    literal_addresses: bool,
    /// The first text that was let in: nearly all requests send the same one.
    usual: OnceLock<Box<[u8]>>,
}

impl Hosts {
    /// Names in lower-case and without port, addresses of IPv6 with brackets or without; and whether literal addresses
    /// may be named, which is so unless the listener is on loopback.
    pub fn new(names: Vec<String>, literal_addresses: bool) -> Self {
        Hosts { names, literal_addresses, usual: OnceLock::new() }
    }

    /// The names, besides those of the loopback interface.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether literal addresses may be named.
    pub fn has_literal_addresses(&self) -> bool {
        self.literal_addresses
    }

    /// Whether a request names a server that this is.
    ///
    /// # Errors
    /// 403 with the name that was seen.
    pub(crate) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Error> {
        let mut hosts = headers.get_all(HOST).iter();
        let (host, another) = (hosts.next(), hosts.next());
        let named = uri.authority().map(|authority| authority.as_str().as_bytes());
        let named = named.or_else(|| host.map(|host| host.as_bytes()));
        let Some(named) = named.filter(|_| another.is_none()) else {
            let seen = if another.is_some() {
                "More than one `Host` header was sent"
            } else {
                "No `Host` header was sent"
            };
            return Err(Error::new(Code::Forbidden, format!("{seen}. Send one that names this server.")));
        };
        if self.usual.get().is_some_and(|usual| **usual == *named) {
            return Ok(());
        }
        if std::str::from_utf8(named).is_ok_and(|named| self.allow(named)) {
            self.usual.get_or_init(|| named.into());
            return Ok(());
        }
        Err(Error::new(
            Code::Forbidden,
            format!(
                "The `Host` header names {}, a server that this is not. Use the listener's address, or add the name \
                 to KEYRACK_PUBLIC_URL or KEYRACK_ALLOWED_HOSTS.",
                shown(named)
            ),
        ))
    }

    /// Whether a `Host` such as `keys.example.com:8080` or `[::1]:8080` may be named.
    fn allow(&self, host: &str) -> bool {
        let is_known = |name: &str| self.names.iter().any(|known| known == name);
        match parse(host) {
            None => false,
            Some(Named::Name(name)) if is_known(name) => true,
            Some(Named::Name(name)) => {
                let name = name.to_ascii_lowercase();
                let name = name.strip_suffix('.').unwrap_or(&name);
                match name.parse::<IpAddr>() {
                    Ok(address) => self.literal_addresses || address.is_loopback() || is_known(name),
                    Err(_) => name == "localhost" || is_known(name),
                }
            }
            Some(Named::V6(address)) => {
                let is_named = || is_known(&format!("[{address}]")) || is_known(&address.to_string());
                self.literal_addresses || address.is_loopback() || is_named()
            }
        }
    }
}

/// What stands before the port.
#[derive(Debug, PartialEq, Eq)]
enum Named<'a> {
    Name(&'a str),
    V6(Ipv6Addr),
}

/// Reads `host[:port]` of RFC 3986, without user information and percent signs: `None` for anything else.
fn parse(text: &str) -> Option<Named<'_>> {
    let (named, port) = if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        (Named::V6(address.parse().ok()?), port)
    } else {
        let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_name) {
            return None;
        }
        (Named::Name(name), port)
    };
    let digits = if port.is_empty() { port } else { port.strip_prefix(':')? };
    digits.bytes().all(|byte| byte.is_ascii_digit()).then_some(named)
}

/// A text of somebody else's, in quotation marks, so that nothing in it means anything to those who read it.
fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(literal_addresses: bool) -> Hosts {
        Hosts::new(vec!["keys.example.com".to_owned(), "192.0.2.7".to_owned()], literal_addresses)
    }

    #[test]
    fn only_the_listeners_own_names_are_served() {
        for (host, on_loopback, open) in [
            ("localhost", true, true),
            ("LOCALHOST:8080", true, true),
            ("localhost:", true, true),
            ("127.0.0.1:8080", true, true),
            ("[::1]:8080", true, true),
            ("[::1]", true, true),
            ("keys.example.com", true, true),
            ("Keys.Example.Com.:443", true, true),
            ("192.0.2.7:80", true, true),
            ("192.0.2.8:80", false, true),
            ("[2001:db8::1]:80", false, true),
            ("evil.example.com", false, false),
            ("localhost.evil.example.com", false, false),
            ("127.0.0.1.evil.example.com", false, false),
            ("", false, false),
        ] {
            assert_eq!(hosts(false).allow(host), on_loopback, "{host} on loopback");
            assert_eq!(hosts(true).allow(host), open, "{host} on an open listener");
        }
    }

    #[test]
    fn what_is_no_host_and_port_names_nobody() {
        for host in [
            "localhost:80@evil.com",
            "localhost@evil.com",
            "evil.com@localhost",
            "127.0.0.1]evil.com",
            "[::1]evil.com",
            "[::1]:80@evil.com",
            "[::1",
            "::1",
            "[localhost]",
            "localhost:80:80",
            "localhost:http",
            "localhost/evil.com",
            "localhost#evil.com",
            "localhost evil.com",
            "local%68ost",
            "localhost,evil.com",
        ] {
            assert_eq!(parse(host), None, "{host}");
            assert!(!hosts(true).allow(host), "{host}");
        }
    }

    #[test]
    fn a_refusal_shows_what_it_saw_and_nothing_of_it_means_anything() {
        let refused = |host: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, http::HeaderValue::from_bytes(host).unwrap());
            hosts(false).check(&Uri::from_static("/"), &headers).unwrap_err().detail().to_owned()
        };
        assert!(refused(b"evil.com").contains(r#"names "evil.com", a server"#));
        let hostile = refused("e\tvil\"\u{202e}".as_bytes());
        assert!(hostile.contains(r#"names "e\tvil\"\u{202e}", a server"#), "{hostile}");
        assert!(refused(b"evil\xff.com").contains("names \"evil"));
        assert!(refused("ä".repeat(1000).as_bytes()).len() < 500);
    }
}
