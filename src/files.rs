//! How many files, connections included, the process may have open.

/// Allows as many as the system lets this process have: how many that is, if there is a number.
///
/// Systems start a process with a low number for the sake of programs from before there were more.
#[cfg(unix)]
pub(crate) fn raise_limit() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return limit.current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::debug!(%error, "the limit of open files stays as it is");
            limit.current
        }
    }
}

/// There is no such number.
#[cfg(not(unix))]
pub(crate) fn raise_limit() -> Option<u64> {
    None
}
