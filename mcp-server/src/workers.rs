//! Large messages keep the threads that answer everybody free: a thread of their own reads them.

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

/// Marks an HTTP request whose message is large.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IsLarge;

/// Does work that computes for long before it waits. It ends when nobody waits for it any more; `None` when it
/// panicked.
pub(crate) async fn off_the_workers<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    let abandoned = CancellationToken::new();
    let _told = abandoned.clone().drop_guard();
    let work = abandoned.run_until_cancelled_owned(work.in_current_span());
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || runtime.block_on(work)).await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn work_that_computes_keeps_no_worker_and_ends_when_nobody_waits() {
        let busy = off_the_workers(async {
            std::thread::sleep(Duration::from_millis(300));
            7
        });
        let others = tokio::time::timeout(Duration::from_millis(200), tokio::task::yield_now());
        let (answer, others) = tokio::join!(busy, others);
        assert!(answer == Some(7) && others.is_ok());
        assert_eq!(off_the_workers(async { assert_eq!(1, 2, "a fault of ours") }).await, None);
        let (kept, ended) = tokio::sync::oneshot::channel::<()>();
        let endless = off_the_workers(async move {
            std::future::pending::<()>().await;
            drop(kept);
        });
        assert!(tokio::time::timeout(Duration::from_millis(50), endless).await.is_err());
        assert!(tokio::time::timeout(Duration::from_secs(5), ended).await.is_ok(), "it was given up");
    }
}
