//! Deadlines: a database that does not answer in time is one that is away.

use std::time::Duration;

use crate::error::Error;

/// Gives up after `limit`, as if the store were away. What did not answer in time would still answer the next
/// question: the connection that was asked is of no more use.
pub(crate) async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout(limit, work)
        .await
        .unwrap_or_else(|_| Err(Error::database_unavailable(format!("no answer within {} s", limit.as_secs()))))
}
