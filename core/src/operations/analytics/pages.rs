//! What the lists of events have in common.

use crate::analytics::reports::Reader;
use crate::analytics::reports::events::{Listed, Position, Wanted};
use crate::caller::Authorized;
use crate::reply::{Page, Pagination, Reply};
use crate::{Error, Keyrack};

/// Where a page starts; `None` is the beginning.
///
/// # Errors
/// 400 for a cursor that no page gave.
pub(super) fn position(cursor: &str) -> Result<Option<Position>, Error> {
    if cursor.is_empty() {
        return Ok(None);
    }
    let position = Position::read(cursor);
    position.map(Some).ok_or_else(|| {
        Error::invalid(
            "body.cursor",
            "is no cursor of this list",
            "Send the `cursor` of the page before as it is, or leave it out for the newest.",
        )
    })
}

/// A page of what is wanted and its reader may see.
pub(super) async fn answer<E: Listed>(
    keyrack: &Keyrack,
    (authorized, reader): (Authorized, Reader),
    wanted: &Wanted,
) -> Result<Reply<Vec<E>>, Error> {
    let (rows, next) = keyrack.analytics().report(&reader).await?.newest(wanted).await?;
    let pagination = Pagination { has_more: next.is_some(), cursor: next.map(|next| next.cursor()) };
    Ok(authorized.page(Page { rows, pagination }))
}
