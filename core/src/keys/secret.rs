//! The plaintext of keys: how it is made, how it is shown in part, and the only form in
//! which it is kept.
//!
//! A key is `<prefix>_<base58 of random bytes>`; a root key is `keyrack_` followed by 32
//! random base58 characters and a checksum of 6, so that a secret scanner can tell a real one
//! from a look-alike without asking anybody. The store knows keys by [`KeyHash`] alone. The
//! plaintext travels as [`Secret`], which cannot be printed or serialised by accident and
//! wipes its memory when dropped.
//!
//! Not here: encryption of recoverable keys, and who may see them.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::ids::{BASE58, push_random_base58};
use crate::schema::secrets::{AGAIN, ONCE, SENT};

/// Random bytes in a key when neither the request nor the API says how many.
pub const DEFAULT_KEY_BYTES: usize = 16;
/// The fewest random bytes a key may have.
pub const MIN_KEY_BYTES: usize = 16;
/// The most random bytes a key may have.
pub const MAX_KEY_BYTES: usize = 255;

/// What every root key that Keyrack makes begins with.
pub const ROOT_KEY_PREFIX: &str = "keyrack_";

/// Regular expression (RE2, PCRE and Rust syntax) that finds root keys in text. A match is
/// genuine only if [`root_key_checksum_is_right`] agrees.
pub const ROOT_KEY_PATTERN: &str = r"\bkeyrack_[1-9A-HJ-NP-Za-km-z]{38}\b";

const ROOT_KEY_RANDOM_CHARACTERS: usize = 32;
/// 58^6 is above 2^32, so a CRC-32 always fits.
const CHECKSUM_CHARACTERS: usize = 6;
/// How much of a key's random part may be shown afterwards.
const SHOWN_CHARACTERS: usize = 4;

/// The plaintext of a key. It has no `Display` and no `Serialize`, its `Debug` form hides the
/// text, and its memory is overwritten when it is dropped.
#[derive(JsonSchema)]
#[schemars(inline, with = "String", extend("x-mark" = SENT))]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes over a plaintext that came from outside.
    #[must_use]
    pub fn from_string(plaintext: String) -> Self {
        Self(Zeroizing::new(plaintext))
    }

    /// The plaintext. Every call of this is a place where a key could leak.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Requests carry keys as plain strings; they become secrets as they are read.
impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Secret::from_string)
    }
}

/// A plaintext on its way to the one who asked for it to be made, who sees it this once. Beside [`Recovered`] this is
/// the only form of a key that serialises.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline, with = "String", extend("x-mark" = ONCE))]
pub struct Revealed(#[serde(serialize_with = "exposed")] pub Secret);

/// A plaintext of a recoverable key, on its way to one who may read it, now and again.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline, with = "String", extend("x-mark" = AGAIN))]
pub struct Recovered(#[serde(serialize_with = "exposed")] pub Secret);

fn exposed<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// SHA-256 over the UTF-8 bytes of a whole key, prefix included: what the store knows a key by.
///
/// Comparing hashes needs no constant time: whoever could learn a hash byte by byte would
/// still have to invert SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// A hash from its 32 raw bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 raw bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Standard base64 with padding, always 44 characters: the stored and the migrated form.
    #[must_use]
    pub fn to_base64(self) -> String {
        STANDARD.encode(self.0)
    }

    /// Reads the form that [`to_base64`](Self::to_base64) writes.
    ///
    /// # Errors
    /// [`InvalidKeyHash`] unless the text is the padded standard base64 of exactly 32 bytes.
    pub fn from_base64(text: &str) -> Result<Self, InvalidKeyHash> {
        let bytes = STANDARD.decode(text).map_err(|_| InvalidKeyHash)?;
        bytes.try_into().map(Self).map_err(|_| InvalidKeyHash)
    }
}

/// Shows the first 24 bits: enough to tell two log lines apart, useless for finding the key.
impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyHash({}..)", STANDARD.encode(&self.0[..3]))
    }
}

/// The text is not the base64 of a SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key hash is the standard base64 of a SHA-256: 44 characters, the last of which is `=`")]
pub struct InvalidKeyHash;

/// The operating system gave no random bytes, so no key can be made.
#[derive(Debug, thiserror::Error)]
#[error("the system's random generator failed")]
pub struct RandomnessError(#[from] getrandom::Error);

/// A new key: its plaintext, handed out once, and what is kept of it.
#[derive(Debug)]
pub struct GeneratedKey {
    /// The whole key.
    pub secret: Secret,
    /// The hash it is stored under.
    pub hash: KeyHash,
    /// Prefix and first four characters, by which a person recognises the key later.
    pub start: String,
}

/// The hash of a key as it was given: no trimming, no case folding.
#[must_use]
pub fn hash(key: &str) -> KeyHash {
    KeyHash(Sha256::digest(key).into())
}

/// Makes a key of `bytes` random bytes: `<prefix>_<base58>`, or the base58 alone if the prefix
/// is absent or empty.
///
/// `bytes` outside [`MIN_KEY_BYTES`]..=[`MAX_KEY_BYTES`] is brought to the nearer bound, so that
/// a wrong setting cannot make guessable keys.
///
/// # Errors
/// [`RandomnessError`] if the system has no random bytes to give.
pub fn generate_key(prefix: Option<&str>, bytes: usize) -> Result<GeneratedKey, RandomnessError> {
    let mut random = Zeroizing::new([0_u8; MAX_KEY_BYTES]);
    let random = &mut random[..bytes.clamp(MIN_KEY_BYTES, MAX_KEY_BYTES)];
    getrandom::fill(random)?;
    Ok(key_from_bytes(prefix, random))
}

/// Makes a root key: [`ROOT_KEY_PREFIX`], 32 random base58 characters, and the CRC-32 of all
/// that as 6 base58 digits, most significant first.
///
/// # Errors
/// [`RandomnessError`] if the system has no random bytes to give.
pub fn generate_root_key() -> Result<GeneratedKey, RandomnessError> {
    // Room for the whole key from the start: growing would leave a copy behind in freed memory.
    let length = ROOT_KEY_PREFIX.len() + ROOT_KEY_RANDOM_CHARACTERS + CHECKSUM_CHARACTERS;
    let mut text = Zeroizing::new(String::with_capacity(length));
    text.push_str(ROOT_KEY_PREFIX);
    push_random_base58(&mut text, ROOT_KEY_RANDOM_CHARACTERS)?;
    let digits = checksum(&text);
    text.extend(digits.map(char::from));
    let start = root_key_start(&text).to_owned();
    Ok(GeneratedKey { hash: hash(&text), start, secret: Secret(text) })
}

/// Whether the text is a root key that Keyrack could have made: right prefix, length, alphabet
/// and checksum. Bootstrap keys, whose text the operator chose, usually are not.
#[must_use]
pub fn root_key_checksum_is_right(text: &str) -> bool {
    let Some(rest) = text.strip_prefix(ROOT_KEY_PREFIX) else {
        return false;
    };
    let expected_length = ROOT_KEY_RANDOM_CHARACTERS + CHECKSUM_CHARACTERS;
    if rest.len() != expected_length || !rest.bytes().all(|byte| BASE58.contains(&byte)) {
        return false;
    }
    let (body, digits) = text.split_at(text.len() - CHECKSUM_CHARACTERS);
    digits.as_bytes() == checksum(body)
}

/// The part of a root key that is shown at its beginning: [`ROOT_KEY_PREFIX`] and four
/// characters, or the first four characters of a bootstrap key without that prefix.
#[must_use]
pub fn root_key_start(key: &str) -> &str {
    let prefix = if key.starts_with(ROOT_KEY_PREFIX) { ROOT_KEY_PREFIX.len() } else { 0 };
    let shown = key[prefix..].char_indices().nth(SHOWN_CHARACTERS);
    shown.map_or(key, |(end, _)| &key[..prefix + end])
}

/// The part of a key that this server made which is shown at its beginning: its prefix and four characters.
#[must_use]
pub fn key_start(key: &str) -> &str {
    let prefix = key.rfind('_').map_or(0, |at| at + 1);
    let shown = key[prefix..].char_indices().nth(SHOWN_CHARACTERS);
    shown.map_or(key, |(end, _)| &key[..prefix + end])
}

/// The last four characters of a root key, shown so that a person can tell two apart.
#[must_use]
pub fn root_key_end(key: &str) -> &str {
    let shown = key.char_indices().rev().nth(SHOWN_CHARACTERS - 1);
    shown.map_or(key, |(begin, _)| &key[begin..])
}

fn key_from_bytes(prefix: Option<&str>, random: &[u8]) -> GeneratedKey {
    let encoded = Zeroizing::new(bs58::encode(random).into_string());
    let prefix = prefix.unwrap_or_default();
    let mut text = Zeroizing::new(String::with_capacity(prefix.len() + 1 + encoded.len()));
    if !prefix.is_empty() {
        text.push_str(prefix);
        text.push('_');
    }
    let shown = text.len() + SHOWN_CHARACTERS;
    text.push_str(&encoded);
    let start = text[..shown].to_owned();
    GeneratedKey { hash: hash(&text), start, secret: Secret(text) }
}

/// CRC-32 (IEEE) of the text as base58 digits, most significant first, padded with `1` (zero).
fn checksum(text: &str) -> [u8; CHECKSUM_CHARACTERS] {
    let mut rest = crc32fast::hash(text.as_bytes()) as usize;
    let mut digits = [BASE58[0]; CHECKSUM_CHARACTERS];
    for digit in digits.iter_mut().rev() {
        *digit = BASE58[rest % BASE58.len()];
        rest /= BASE58.len();
    }
    digits
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_hash_is_the_padded_base64_of_the_sha_256() {
        for (key, expected) in [
            ("", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
            ("abc", "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="),
        ] {
            assert_eq!(hash(key).to_base64(), expected);
            assert_eq!(KeyHash::from_base64(expected), Ok(hash(key)));
        }
    }

    #[test]
    fn only_the_exact_base64_form_of_a_hash_is_read() {
        for text in [
            "",
            "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0",
            "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0=",
            "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa1=",
            "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFQ==",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ] {
            assert_eq!(KeyHash::from_base64(text), Err(InvalidKeyHash), "{text}");
        }
    }

    #[test]
    fn a_hash_depends_on_prefix_case_and_spaces() {
        let keys = ["a_b", "b", "a_B", " a_b", "a_b "];
        let distinct: std::collections::BTreeSet<_> = keys.map(hash).into_iter().collect();
        assert_eq!(distinct.len(), keys.len());
    }

    #[test]
    fn debug_forms_hide_the_secret_and_most_of_the_hash() {
        let key = key_from_bytes(Some("test"), &[7; 16]);
        let shown = format!("{key:?}");
        assert!(!shown.contains(key.secret.expose()));
        assert!(!shown.contains(&key.hash.to_base64()[..8]));
        assert!(shown.contains("Secret(..)"));
        assert!(shown.contains(&format!("KeyHash({}..)", &key.hash.to_base64()[..4])));
    }

    #[test]
    fn a_prefix_is_joined_by_an_underscore_unless_it_is_empty() {
        for (prefix, beginning) in [
            (None, ""),
            (Some(""), ""),
            (Some("test"), "test_"),
            (Some("sk_live"), "sk_live_"),
            (Some("sk_"), "sk__"),
        ] {
            let key = key_from_bytes(prefix, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
            let encoded = key.secret.expose().strip_prefix(beginning).unwrap();
            assert_eq!(encoded, "12drXXUifSrRnXLGbXg8E");
            assert_eq!(key.start, format!("{beginning}12dr"));
            assert_eq!(key.hash, hash(key.secret.expose()));
            assert_eq!(key_start(key.secret.expose()), key.start);
        }
        let root_key = generate_root_key().unwrap();
        assert_eq!(key_start(root_key.secret.expose()), root_key.start);
    }

    #[test]
    fn leading_zero_bytes_become_ones() {
        let key = key_from_bytes(None, &[0; 16]);
        assert_eq!(key.secret.expose(), "1111111111111111");
        assert_eq!(key.start, "1111");
    }

    #[test]
    fn generated_keys_have_the_length_asked_for_within_bounds() {
        for (asked, given) in [(0, 16), (16, 16), (32, 32), (255, 255), (1000, 255)] {
            let key = generate_key(None, asked).unwrap();
            let bytes = bs58::decode(key.secret.expose()).into_vec().unwrap();
            assert_eq!(bytes.len(), given);
        }
    }

    #[test]
    fn two_generated_keys_differ() {
        let keys = [generate_key(None, 16).unwrap(), generate_key(None, 16).unwrap()];
        assert_ne!(keys[0].secret.expose(), keys[1].secret.expose());
        let keys = [generate_root_key().unwrap(), generate_root_key().unwrap()];
        assert_ne!(keys[0].secret.expose(), keys[1].secret.expose());
    }

    #[test]
    fn a_root_key_has_the_documented_form() {
        let key = generate_root_key().unwrap();
        let text = key.secret.expose();
        assert_eq!(text.len(), 46);
        assert!(root_key_checksum_is_right(text));
        assert_eq!(key.hash, hash(text));
        assert_eq!(key.start, text[..12]);
        assert_eq!(root_key_start(text), &text[..12]);
        assert_eq!(root_key_end(text), &text[42..]);
    }

    /// Computed apart with Python's zlib.crc32.
    #[test]
    fn checksums_agree_with_another_implementation() {
        for key in [
            "keyrack_111111111111111111111111111111113brA9V",
            "keyrack_zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz2rwhgn",
            "keyrack_123456789ABCDEFGHJKLMNPQRSTUVWXY3DR9o5",
        ] {
            assert!(root_key_checksum_is_right(key), "{key}");
        }
    }

    #[test]
    fn a_small_checksum_is_padded_with_ones() {
        assert_eq!(&checksum(""), b"111111");
    }

    #[test]
    fn look_alikes_of_root_keys_are_told_apart() {
        let real = generate_root_key().unwrap();
        let real = real.secret.expose();
        for text in [
            String::new(),
            real[8..].to_owned(),
            real[..45].to_owned(),
            format!("{real}1"),
            format!(" {real}"),
            real.replace("keyrack_", "Keyrack_"),
            format!("keyrack_{}", "é".repeat(19)),
        ] {
            assert!(!root_key_checksum_is_right(&text), "{text}");
        }
    }

    #[test]
    fn start_and_end_of_bootstrap_keys_respect_characters() {
        for (key, start, end) in [
            ("correct horse battery staple, please", "corr", "ease"),
            ("éèêëàâ", "éèêë", "êëàâ"),
            ("keyrack_ab", "keyrack_ab", "k_ab"),
            ("abc", "abc", "abc"),
            ("", "", ""),
        ] {
            assert_eq!((root_key_start(key), root_key_end(key)), (start, end));
        }
    }

    #[test]
    fn random_characters_are_uniform() {
        let mut text = String::new();
        push_random_base58(&mut text, 58_000).unwrap();
        for character in BASE58 {
            let count = text.bytes().filter(|byte| byte == character).count();
            // Expected 1000 with a standard deviation of 31; `byte % 58` without rejection would give 1133.
            assert!((800..1200).contains(&count), "{} came {count} times", char::from(*character));
        }
    }

    const UNBOUNDED_PATTERN: &str = "keyrack_[1-9A-HJ-NP-Za-km-z]{38}";

    #[test]
    fn the_documented_pattern_is_bounded_by_word_boundaries() {
        assert_eq!(ROOT_KEY_PATTERN, format!(r"\b{UNBOUNDED_PATTERN}\b"));
    }

    proptest! {
        #[test]
        fn any_single_changed_character_is_noticed(place in 8_usize..46, replacement in 0_usize..58) {
            let key = generate_root_key().unwrap();
            let mut changed = key.secret.expose().as_bytes().to_vec();
            prop_assume!(changed[place] != BASE58[replacement]);
            changed[place] = BASE58[replacement];
            prop_assert!(!root_key_checksum_is_right(&String::from_utf8(changed).unwrap()));
        }

        #[test]
        fn a_text_of_the_pattern_is_genuine_only_with_its_checksum(text in UNBOUNDED_PATTERN) {
            let genuine = text.as_bytes()[40..] == checksum(&text[..40]);
            prop_assert_eq!(root_key_checksum_is_right(&text), genuine);
        }

        #[test]
        fn arbitrary_texts_never_panic(text in any::<String>()) {
            let _ = root_key_checksum_is_right(&text);
            prop_assert!(text.starts_with(root_key_start(&text)));
            prop_assert!(text.ends_with(root_key_end(&text)));
        }

        #[test]
        fn base64_of_a_hash_reads_back(bytes in any::<[u8; 32]>()) {
            let hash = KeyHash::from_bytes(bytes);
            prop_assert_eq!(hash.to_base64().len(), 44);
            prop_assert_eq!(KeyHash::from_base64(&hash.to_base64()), Ok(hash));
        }
    }
}
