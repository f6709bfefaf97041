//! Signals that ask the program to stop.

/// Waits for signals that ask to stop; none is missed between two waits.
#[derive(Debug)]
pub(crate) struct StopSignals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Whatever runs this program (SIGTERM).
    #[cfg_attr(not(unix), expect(dead_code, reason = "there is only Ctrl-C"))]
    ByItsKeeper,
    /// Somebody at the terminal (Ctrl-C).
    ByAPerson,
}

impl StopSignals {
    /// Signals from now on end the program no more.
    ///
    /// # Errors
    /// When the system does not let the program wait for them.
    pub(crate) fn new() -> std::io::Result<Self> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            Ok(StopSignals {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
            })
        }
        #[cfg(not(unix))]
        Ok(StopSignals {})
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) -> Asked {
        #[cfg(unix)]
        tokio::select! {
            _ = self.terminate.recv() => Asked::ByItsKeeper,
            _ = self.interrupt.recv() => Asked::ByAPerson,
        }
        #[cfg(not(unix))]
        {
            // Without it, the program just ends at Ctrl-C.
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
            Asked::ByAPerson
        }
    }
}
