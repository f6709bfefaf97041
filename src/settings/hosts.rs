//! Names that a `Host` header may have.

use std::net::Ipv6Addr;

use reqwest::Url;

/// No name in the DNS is longer.
const LONGEST_NAME: usize = 253;

/// Reads comma-separated host names.
///
/// # Errors
/// Says which of them could never match, and what to write.
pub(super) fn names(text: &str) -> Result<Vec<String>, String> {
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    let names: Vec<String> = names.map(name).collect::<Result<_, _>>()?;
    if names.is_empty() {
        return Err("names no host; leave it out, or write names such as keys.example.com".to_owned());
    }
    Ok(names)
}

/// Reads one name, in the form in which requests have it: lower case, no final dot, brackets around IPv6.
///
/// # Errors
/// Says why it could never match, and what to write.
pub(super) fn name(text: &str) -> Result<String, String> {
    let wanted = text.to_ascii_lowercase();
    if wanted.contains('*') {
        return Err(format!("`{text}` has a wildcard, which matches no name: write every name out"));
    }
    if let Ok(address) = wanted.parse::<Ipv6Addr>() {
        return Ok(format!("[{address}]"));
    }
    let wanted = wanted.strip_suffix('.').unwrap_or(&wanted);
    let url = if wanted.contains("://") { wanted.to_owned() } else { format!("http://{wanted}") };
    let url = Url::parse(&url).ok();
    match url.as_ref().and_then(Url::host_str).filter(|host| is_name(host)) {
        Some(host) if host == wanted => Ok(host.to_owned()),
        Some(host) => Err(format!("`{text}` is not a host name alone and would never match: write `{host}`")),
        None => Err(format!("`{text}` is no host name such as keys.example.com")),
    }
}

fn is_name(host: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    host.len() <= LONGEST_NAME && (host.starts_with('[') || host.bytes().all(is_plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_requests_have_and_anything_more_is_refused_with_what_to_write() {
        for (text, read) in [
            ("keys.example.com", "keys.example.com"),
            ("Keys.Example.com.", "keys.example.com"),
            ("keyrack", "keyrack"),
            ("key_rack", "key_rack"),
            ("192.0.2.7", "192.0.2.7"),
            ("fd00::1", "[fd00::1]"),
            ("[FD00::1]", "[fd00::1]"),
        ] {
            assert_eq!(name(text).as_deref(), Ok(read), "{text}");
        }
        for (text, write) in [
            ("keys.example.com:8443", "write `keys.example.com`"),
            ("https://keys.example.com", "write `keys.example.com`"),
            ("https://keys.example.com:8443/x", "write `keys.example.com`"),
            ("keys.example.com/keyrack", "write `keys.example.com`"),
            ("me@keys.example.com", "write `keys.example.com`"),
            ("schlüssel.example", "write `xn--schlssel-95a.example`"),
            ("[::1]:8080", "write `[::1]`"),
            ("*.example.com", "write every name out"),
            ("*", "write every name out"),
            ("keys example com", "is no host name"),
            (":8080", "is no host name"),
        ] {
            let error = name(text).unwrap_err();
            assert!(error.contains(write), "{text}: {error}");
        }
        assert!(name(&"x".repeat(300)).is_err());
        assert_eq!(names(" a.example , b.example ,").unwrap(), ["a.example", "b.example"]);
        assert!(names(" , ").is_err());
    }
}
