//! Ids: a prefix that says what the thing is, an underscore, and 16 base58 characters from the
//! system's generator (about 93 bits, so two never meet). On the way in, ids are opaque strings.

use zeroize::Zeroizing;

/// The Bitcoin alphabet: no `0`, `O`, `I` and `l`.
pub(crate) const BASE58: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const RANDOM_CHARACTERS: usize = 16;

/// What an id names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the thing it names")]
pub enum Kind {
    Api,
    AuditCorrelation,
    AuditLog,
    DataKey,
    Identity,
    Key,
    KeySpace,
    Migration,
    Permission,
    Ratelimit,
    RatelimitNamespace,
    RatelimitOverride,
    Request,
    Role,
    Workspace,
}

impl Kind {
    /// The prefix, without its underscore.
    pub const fn prefix(self) -> &'static str {
        match self {
            Kind::Api => "api",
            Kind::AuditCorrelation => "cor",
            Kind::AuditLog => "log",
            Kind::DataKey => "dek",
            Kind::Identity => "id",
            Kind::Key => "key",
            Kind::KeySpace => "ks",
            Kind::Migration => "mig",
            Kind::Permission => "perm",
            Kind::Ratelimit => "rl",
            Kind::RatelimitNamespace => "rlns",
            Kind::RatelimitOverride => "rlor",
            Kind::Request => "req",
            Kind::Role => "role",
            Kind::Workspace => "ws",
        }
    }
}

/// A new id, such as `key_4Nv8yTq1ZbWc7XgR`.
///
/// # Panics
/// When the operating system has no randomness to give: nothing can be named safely then.
#[expect(clippy::expect_used, reason = "without randomness nothing may be issued")]
pub fn generate(kind: Kind) -> String {
    let mut id = String::with_capacity(kind.prefix().len() + 1 + RANDOM_CHARACTERS);
    id.push_str(kind.prefix());
    id.push('_');
    push_random_base58(&mut id, RANDOM_CHARACTERS).expect("the system's random number generator answers");
    id
}

/// Appends `count` characters drawn uniformly from the alphabet. Of the 256 values of a byte the first
/// 232 (4 × 58) are used; the rest would make some characters likelier and are drawn again.
pub(crate) fn push_random_base58(text: &mut String, count: usize) -> Result<(), getrandom::Error> {
    let mut random = Zeroizing::new([0_u8; 64]);
    let mut missing = count;
    while missing > 0 {
        getrandom::fill(random.as_mut_slice())?;
        let fair = random.iter().filter(|byte| usize::from(**byte) < 4 * BASE58.len());
        for byte in fair.take(missing) {
            text.push(char::from(BASE58[usize::from(*byte) % BASE58.len()]));
            missing -= 1;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_its_prefix_and_sixteen_base58_characters() {
        let id = generate(Kind::RatelimitNamespace);
        let random = id.strip_prefix("rlns_").unwrap();
        assert_eq!(random.len(), RANDOM_CHARACTERS);
        assert!(random.bytes().all(|byte| BASE58.contains(&byte)));
        assert_ne!(id, generate(Kind::RatelimitNamespace));
    }
}
