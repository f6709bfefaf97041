//! Root keys: what the users of this server authenticate with.

mod create_key;

pub use create_key::CreateKey;
