//! What is stored of a key, computed here and not by the program under test.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

/// The SHA-256 of a key in padded base64, as `keys.migrateKeys` takes it.
pub fn sha256_base64(key: &str) -> String {
    STANDARD.encode(Sha256::digest(key))
}

/// The same in lower-case hexadecimal.
pub fn sha256_hex(key: &str) -> String {
    Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect()
}
