//! Root keys: what the users of this server authenticate with.

mod create_key;
mod delete_key;
mod list_keys;
mod power;
mod reroll_key;
mod update_key;

pub use create_key::CreateKey;
pub use delete_key::DeleteKey;
pub use list_keys::ListKeys;
pub use reroll_key::RerollKey;
pub use update_key::UpdateKey;
