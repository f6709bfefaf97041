//! Rows that cannot be read: they are left out, and what they describe is refused.

use serde_json::value::RawValue;

use crate::error::{Code, Error};
use crate::store::readable::left_out;
use crate::value::stored_object;

/// Whether it is not the store that failed, but what one row holds.
pub(super) fn is_about_a_row(error: &Error) -> bool {
    error.code() != Code::ServiceUnavailable
}

/// Forgets what cannot be read, so that it is refused and everything else goes on.
pub(super) fn unless_unreadable(
    read: Result<(), Error>,
    kind: &'static str,
    id: &str,
    forget: impl FnOnce(),
) -> Result<(), Error> {
    match read {
        Err(error) if is_about_a_row(&error) => {
            forget();
            left_out(kind, id, error.cause().unwrap_or_default());
            Ok(())
        }
        outcome => outcome,
    }
}

/// Metadata as it is shown, unless it is empty.
///
/// # Errors
/// When it is no JSON object: its row is left out, for those who decide by it must not miss it.
pub(super) fn read_meta(meta: Option<&str>) -> Result<Option<Box<RawValue>>, Error> {
    meta.map(stored_object).transpose().map(Option::flatten)
}
