//! Threads whose work can wait: decisions on keys and limits go first.

/// How much the thread gives way to others, from 0 (not at all) to 19. In tests there are only those to give way to that do
/// not wait for it.
#[cfg(target_os = "linux")]
const NICENESS: i32 = if cfg!(test) { 0 } else { 15 };

/// Lets the threads of decisions go before this one from now on, where the system can.
pub(crate) fn give_way() {
    // On Linux each thread has a niceness of its own.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!(%error, "a thread of analytics has the same priority as those of decisions");
    }
}
