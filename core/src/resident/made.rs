//! What a change of this process made, as memory is to have it: nobody else has touched it yet, so it need not be read
//! back.

use std::collections::HashMap;

use crate::store::holdings::Holdings;
use crate::store::identities::Identity;
use crate::store::keys::Key;

/// New keys and identities.
#[derive(Debug, Default)]
pub(crate) struct Made {
    /// As they are stored.
    pub(crate) keys: Vec<Key>,
    /// What they hold, by key.
    pub(crate) holdings: HashMap<String, Holdings>,
    /// As they are stored; they have no limits.
    pub(crate) identities: Vec<Identity>,
}
