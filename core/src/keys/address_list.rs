//! Where a key may be used from: lists of addresses, and the address a request came from.
//!
//! An [`AddressList`] is what an API's `ipWhitelist` or the setting of trusted proxies says:
//! addresses and CIDR ranges, IPv4 and IPv6. Addresses are compared as numbers, not as text, and
//! an IPv4 address in IPv6 clothing (`::ffff:192.0.2.1`) is that IPv4 address.
//!
//! [`client_address`] reads `X-Forwarded-For` from the right and only as far as the addresses
//! are those of trusted proxies: everything further left is what the client chose to write.

use std::net::{IpAddr, SocketAddr};

use ipnet::{IpNet, Ipv4Net};

/// Leading bits that all IPv4 addresses have in common when written as IPv6 (`::ffff:0:0/96`).
const MAPPED_PREFIX: u8 = 96;

/// A set of addresses and ranges. What an empty one means is for its user to say: no
/// restriction for an API, nobody for trusted proxies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressList {
    ranges: Vec<IpNet>,
}

impl AddressList {
    /// Reads comma-separated addresses and CIDR ranges. Spaces around entries and empty entries
    /// are ignored; bits of a range's address beyond its prefix are too.
    ///
    /// # Errors
    /// [`InvalidEntry`] with the first entry that is neither an address nor a range.
    pub fn parse(text: &str) -> Result<Self, InvalidEntry> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let ranges = entries.map(parse_range).collect::<Result<_, _>>()?;
        Ok(Self { ranges })
    }

    /// Whether a text is one address or one range.
    #[must_use]
    pub fn is_entry(text: &str) -> bool {
        !text.contains(',') && AddressList::parse(text).is_ok_and(|list| !list.is_empty())
    }

    /// Whether the list has no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether the address is on the list or in one of its ranges.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.ranges.iter().any(|range| range.contains(&address))
    }

    /// Whether an entry is the address of nobody: `0.0.0.0` or `::`, which listeners write for everybody.
    #[must_use]
    pub fn names_nobody(&self) -> bool {
        self.ranges
            .iter()
            .any(|range| range.prefix_len() == range.max_prefix_len() && range.addr().is_unspecified())
    }

    /// Whether a range is wider than any network is: wider than 10.0.0.0/8, or fc00::/7.
    #[must_use]
    pub fn contains_nearly_everybody(&self) -> bool {
        self.ranges.iter().any(|range| match range {
            IpNet::V4(range) => range.prefix_len() < 8,
            IpNet::V6(range) => range.prefix_len() < 7,
        })
    }
}

/// An entry of an address list that is neither an address nor a CIDR range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{entry}` is neither an IP address nor a CIDR range such as 192.0.2.0/24 or 2001:db8::/32")]
pub struct InvalidEntry {
    entry: String,
}

impl InvalidEntry {
    /// The entry as it was written, without the spaces around it.
    #[must_use]
    pub fn entry(&self) -> &str {
        &self.entry
    }
}

/// The address a request came from, or `None` if a trusted proxy named none that can be read;
/// such a request must not pass any list.
///
/// `peer` is the other end of the connection, `forwarded_for` the values of the
/// `X-Forwarded-For` headers in the order of the request (a value that is not text counts as
/// unreadable: pass `"?"`). While the address at hand is a trusted proxy's, the next one to the
/// left is what that proxy saw. If proxies are all there is, the leftmost is the client. Ports
/// are ignored.
#[must_use]
pub fn client_address<'h>(
    peer: IpAddr,
    forwarded_for: impl DoubleEndedIterator<Item = &'h str>,
    trusted: &AddressList,
) -> Option<IpAddr> {
    let hops = forwarded_for.rev().flat_map(|value| value.rsplit(','));
    let mut hops = hops.map(str::trim).filter(|hop| !hop.is_empty());
    let mut address = peer.to_canonical();
    while trusted.contains(address) {
        match hops.next() {
            Some(hop) => address = parse_hop(hop)?,
            None => break,
        }
    }
    Some(address)
}

fn parse_range(entry: &str) -> Result<IpNet, InvalidEntry> {
    if let Ok(address) = entry.parse::<IpAddr>() {
        return Ok(address.to_canonical().into());
    }
    let invalid = |_| InvalidEntry { entry: entry.to_owned() };
    entry.parse().map(canonical_range).map_err(invalid)
}

/// A range of IPv4 addresses written as IPv6 becomes the IPv4 range. A range that contains
/// others as well stays as it is and stands for its IPv6 addresses only.
fn canonical_range(range: IpNet) -> IpNet {
    let IpNet::V6(v6) = range else { return range };
    let Some(address) = v6.addr().to_ipv4_mapped() else {
        return range;
    };
    let prefix = v6.prefix_len().checked_sub(MAPPED_PREFIX);
    let v4 = prefix.and_then(|prefix| Ipv4Net::new(address, prefix).ok());
    v4.map_or(range, IpNet::V4)
}

/// Reads `1.2.3.4`, `1.2.3.4:80`, `::1`, `[::1]` or `[::1]:80`.
fn parse_hop(hop: &str) -> Option<IpAddr> {
    let unbracketed = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']'));
    let address = unbracketed.unwrap_or(hop).parse::<IpAddr>();
    let address = address.or_else(|_| hop.parse().map(|socket: SocketAddr| socket.ip()));
    address.ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    fn list(text: &str) -> AddressList {
        AddressList::parse(text).unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_and_ranges_contain_what_they_should() {
        for (entries, address, expected) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("::ffff:192.0.2.1", "192.0.2.1", true),
            ("192.0.2.0/24", "192.0.2.255", true),
            ("192.0.2.77/24", "192.0.2.3", true),
            ("192.0.2.0/24", "192.0.3.0", false),
            ("192.0.2.0/24", "::ffff:192.0.2.9", true),
            ("::ffff:192.0.2.0/120", "192.0.2.9", true),
            ("::ffff:192.0.2.0/120", "192.0.3.9", false),
            ("::ffff:0:0/96", "203.0.113.1", true),
            ("0.0.0.0/0", "203.0.113.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "203.0.113.1", false),
            ("2001:db8::1", "2001:0DB8:0:0:0:0:0:1", true),
            ("2001:db8::/32", "2001:db8:ffff::", true),
            ("2001:db8::/32", "2001:db9::", false),
            (" 10.0.0.1 ,, 10.1.0.0/16 ,", "10.1.2.3", true),
            (" 10.0.0.1 ,, 10.1.0.0/16 ,", "10.0.0.1", true),
            (" 10.0.0.1 ,, 10.1.0.0/16 ,", "10.0.0.2", false),
            ("", "10.0.0.2", false),
        ] {
            assert_eq!(list(entries).contains(ip(address)), expected, "{address} in {entries:?}");
        }
    }

    #[test]
    fn ranges_that_no_network_has_are_told_apart() {
        for (text, expected) in [
            ("0.0.0.0/0", true),
            ("::/0", true),
            ("10.0.0.1, 128.0.0.0/1", true),
            ("10.0.0.0/8, fc00::/7, 192.0.2.1", false),
            ("", false),
        ] {
            assert_eq!(list(text).contains_nearly_everybody(), expected, "{text}");
        }
    }

    #[test]
    fn a_list_of_nothing_is_empty() {
        for text in ["", "  ", ",", " , ,"] {
            assert!(list(text).is_empty(), "{text:?}");
        }
        assert!(!list("10.0.0.1").is_empty());
    }

    #[test]
    fn the_first_entry_that_is_no_address_is_named() {
        for (text, entry) in [
            ("10.0.0.1, example.com, nonsense", "example.com"),
            ("10.0.0.256", "10.0.0.256"),
            ("10.0.0.0/33", "10.0.0.0/33"),
            ("10.0.0.0/", "10.0.0.0/"),
            ("::1/129", "::1/129"),
            ("10.0.0", "10.0.0"),
            ("010.0.0.1", "010.0.0.1"),
            ("10.0.0.1 10.0.0.2", "10.0.0.1 10.0.0.2"),
            ("10.0.0.1:80", "10.0.0.1:80"),
            ("*", "*"),
        ] {
            let error = AddressList::parse(text).unwrap_err();
            assert_eq!(error.entry(), entry);
            assert!(error.to_string().contains(&format!("`{entry}`")));
        }
    }

    /// The client's address where 10.0.0.0/8 and ::1 are trusted.
    fn client(peer: &str, headers: &[&str]) -> Option<IpAddr> {
        client_address(ip(peer), headers.iter().copied(), &list("10.0.0.0/8, ::1"))
    }

    #[test]
    fn forwarded_addresses_are_believed_only_from_trusted_proxies() {
        for (peer, headers, expected) in [
            ("192.0.2.9", &["192.0.2.1"][..], "192.0.2.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["192.0.2.1"], "192.0.2.1"),
            ("::ffff:10.0.0.1", &["192.0.2.1"], "192.0.2.1"),
            ("10.0.0.1", &["1.1.1.1, 192.0.2.1"], "192.0.2.1"),
            ("10.0.0.1", &["1.1.1.1, 192.0.2.1, 10.9.9.9"], "192.0.2.1"),
            ("::1", &["1.1.1.1", "192.0.2.1", "10.9.9.9"], "192.0.2.1"),
            ("::1", &["192.0.2.1,,", " , 10.9.9.9 ,"], "192.0.2.1"),
            ("10.0.0.1", &["10.2.2.2, 10.3.3.3"], "10.2.2.2"),
            ("10.0.0.1", &["unknown, 192.0.2.1"], "192.0.2.1"),
        ] {
            assert_eq!(client(peer, headers), Some(ip(expected)), "{peer} {headers:?}");
        }
    }

    #[test]
    fn where_nothing_is_trusted_the_peer_is_the_client() {
        let address = client_address(ip("10.0.0.1"), ["192.0.2.1"].into_iter(), &list(""));
        assert_eq!(address, Some(ip("10.0.0.1")));
    }

    #[test]
    fn forwarded_addresses_may_have_ports_and_brackets() {
        for (header, expected) in [
            ("192.0.2.1:5123", Some("192.0.2.1")),
            ("::ffff:192.0.2.1", Some("192.0.2.1")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("[2001:db8::1]:5123, [::1]:80, 10.0.0.7:80", Some("2001:db8::1")),
            ("192.0.2.1:http", None),
            ("192.0.2.1, unknown", None),
            ("192.0.2.1, ?", None),
        ] {
            assert_eq!(client("::1", &[header]), expected.map(ip), "{header}");
        }
    }

    proptest! {
        #[test]
        fn a_range_contains_exactly_the_addresses_with_its_prefix(
            base in any::<u32>(), other in any::<u32>(), prefix in 0_u32..=32, flip in 0_u32..64,
        ) {
            // Often only one bit apart, otherwise anything.
            let other = if flip < 32 { base ^ (1 << flip) } else { other };
            let range = list(&format!("{}/{prefix}", Ipv4Addr::from(base)));
            let same = (base ^ other).leading_zeros() >= prefix;
            prop_assert_eq!(range.contains(IpAddr::from(Ipv4Addr::from(other))), same);
            let mapped = Ipv4Addr::from(other).to_ipv6_mapped();
            prop_assert_eq!(range.contains(IpAddr::from(mapped)), same);
        }

        #[test]
        fn what_a_client_writes_never_changes_its_address(
            written in prop::collection::vec("[0-9a-f.:,\\[\\] ]{0,20}|10\\.0\\.0\\.[0-9]", 0..4),
        ) {
            let seen = "198.51.100.1, 10.0.0.2";
            let headers = written.iter().map(String::as_str).chain([seen]);
            let address = client_address(ip("10.0.0.1"), headers, &list("10.0.0.0/24"));
            prop_assert_eq!(address, Some(ip("198.51.100.1")));
        }

        #[test]
        fn arbitrary_text_never_panics(text in any::<String>()) {
            let _ = AddressList::parse(&text);
            let _ = client_address(ip("::1"), [text.as_str()].into_iter(), &list("::/0"));
        }
    }
}
