//! Sessions over HTTP, where the operator wants them: users of older clients can be asked in between then.
//!
//! The library looks only whether a session exists. Here it belongs to the root key that opened it, and for any other
//! there is no such session.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::StreamExt as _;
use keyrack_core::Caller;
use rmcp::transport::streamable_http_server::session::SessionManager as _;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;

use tokio_util::sync::CancellationToken;

use crate::refusal::refuse;

/// How long a session may do nothing: a lunch break is no end.
const IDLE: Duration = Duration::from_secs(3600);
/// How long the library keeps answers that were sent, which may hold keys: whoever lost one asks at once.
const KEPT_ANSWERS: Duration = Duration::from_secs(5);
/// Sessions of one root key. For one more, the one that did nothing for longest ends.
const MOST_OF_ROOT_KEY: usize = 32;
/// Sessions of all. For one more, one of the workspace with most ends.
const MOST: usize = 2000;
const HEADER: HeaderName = HeaderName::from_static("mcp-session-id");

/// Marks a request in a session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InSession;

/// The sessions of a server.
#[derive(Debug, Clone)]
pub(crate) struct Sessions {
    manager: Arc<LocalSessionManager>,
    owners: Arc<Mutex<Owners>>,
    shutdown: CancellationToken,
}

impl Sessions {
    /// None yet. Streams that stay open end at `shutdown`.
    pub(crate) fn until(shutdown: CancellationToken) -> Self {
        let mut manager = LocalSessionManager::default();
        manager.session_config.keep_alive = Some(IDLE);
        manager.session_config.completed_cache_ttl = KEPT_ANSWERS;
        Sessions { manager: Arc::new(manager), owners: Arc::default(), shutdown }
    }

    /// What the library keeps them in.
    pub(crate) fn manager(&self) -> Arc<LocalSessionManager> {
        self.manager.clone()
    }

    fn owners<T>(&self, work: impl FnOnce(&mut Owners) -> T) -> T {
        work(&mut self.owners.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn open_until_shutdown(&self, body: Body) -> Body {
        Body::from_stream(body.into_data_stream().take_until(self.shutdown.clone().cancelled_owned()))
    }

    async fn opened(&self, id: &str, caller: &Caller) {
        let (workspace, root_key) = (caller.workspace_id(), caller.principal().id());
        let too_many = self.owners(|owners| owners.open(id, (workspace, root_key), Instant::now()));
        for id in too_many {
            if let Err(error) = self.manager.close_session(&id.into()).await {
                tracing::debug!(%error, "a session of an assistant did not end");
            }
        }
    }
}

/// Lets a request into its session, and notes whose a new one is.
pub(crate) async fn guard(
    State(sessions): State<Sessions>,
    Extension(caller): Extension<Arc<Caller>>,
    mut request: Request,
    next: Next,
) -> Response {
    let root_key = caller.principal().id();
    let named = named(request.headers());
    if let Some(id) = &named {
        if !sessions.owners(|owners| owners.is_of(id, root_key, Instant::now())) {
            let message = "There is no such session, or not any more: begin another with `initialize`.";
            return refuse(StatusCode::NOT_FOUND, message, None);
        }
        request.extensions_mut().insert(InSession);
    }
    let (is_end, stays_open) = (request.method() == Method::DELETE, request.method() == Method::GET);
    let response = next.run(request).await;
    match (&named, self::named(response.headers())) {
        (Some(id), _) if is_end => sessions.owners(|owners| _ = owners.0.remove(id)),
        (None, Some(opened)) => sessions.opened(&opened, &caller).await,
        _ => {}
    }
    if stays_open { response.map(|body| sessions.open_until_shutdown(body)) } else { response }
}

/// The session that headers name; one that is no text is none that was ever opened.
fn named(headers: &HeaderMap) -> Option<String> {
    headers.get(HEADER).map(|id| id.to_str().unwrap_or_default().to_owned())
}

/// Whose sessions are, by their ids.
#[derive(Debug, Default)]
struct Owners(HashMap<String, Owner>);

#[derive(Debug)]
struct Owner {
    workspace: String,
    root_key: String,
    used: Instant,
}

impl Owners {
    /// Whether a session is this root key's. It counts as used then.
    fn is_of(&mut self, id: &str, root_key: &str, now: Instant) -> bool {
        let owner = self.0.get_mut(id).filter(|owner| owner.root_key == root_key);
        owner.map(|owner| owner.used = now).is_some()
    }

    /// Notes a new session: those that are to end for it.
    fn open(&mut self, id: &str, (workspace, root_key): (&str, &str), now: Instant) -> Vec<String> {
        let owner = Owner { workspace: workspace.to_owned(), root_key: root_key.to_owned(), used: now };
        self.0.insert(id.to_owned(), owner);
        let mut too_many = Vec::new();
        if self.0.values().filter(|owner| owner.root_key == root_key).count() > MOST_OF_ROOT_KEY {
            too_many.extend(self.end_longest_idle(|owner| owner.root_key == root_key));
        }
        if self.0.len() > MOST {
            let mut counts: HashMap<&str, usize> = HashMap::new();
            self.0.values().for_each(|owner| *counts.entry(&owner.workspace).or_default() += 1);
            let busiest =
                counts.into_iter().max_by_key(|(_, count)| *count).map(|(workspace, _)| workspace.to_owned());
            too_many.extend(self.end_longest_idle(|owner| Some(&owner.workspace) == busiest.as_ref()));
        }
        too_many
    }

    fn end_longest_idle(&mut self, is_one: impl Fn(&Owner) -> bool) -> Option<String> {
        let those = self.0.iter().filter(|(_, owner)| is_one(owner));
        let id = those.min_by_key(|(_, owner)| owner.used).map(|(id, _)| id.clone())?;
        self.0.remove(&id);
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_its_root_keys_and_of_too_many_the_longest_idle_one_ends() {
        let (mut owners, now) = (Owners::default(), Instant::now());
        let at = |seconds| now + Duration::from_secs(seconds);
        for number in 0..MOST_OF_ROOT_KEY as u64 {
            assert!(owners.open(&format!("s{number}"), ("ws_1", "key_1"), at(number)).is_empty());
        }
        assert!(owners.open("other", ("ws_1", "key_2"), at(0)).is_empty());
        assert!(owners.is_of("s0", "key_1", at(100)) && owners.is_of("other", "key_2", at(0)));
        assert!(!owners.is_of("s0", "key_2", at(100)) && !owners.is_of("unknown", "key_1", at(100)));
        assert_eq!(owners.open("one more", ("ws_1", "key_1"), at(101)), ["s1"], "s0 was used since");
        assert!(!owners.is_of("s1", "key_1", at(102)));
    }

    #[test]
    fn of_all_sessions_one_of_the_workspace_with_most_ends_however_many_root_keys_it_has() {
        let (mut owners, now) = (Owners::default(), Instant::now());
        assert!(owners.open("few 1", ("ws_few", "key_1"), now).is_empty());
        assert!(owners.open("few 2", ("ws_few", "key_1"), now).is_empty());
        for number in owners.0.len()..MOST {
            let root_key = format!("key_{number}");
            assert!(owners.open(&format!("s{number}"), ("ws_many", &root_key), now).is_empty());
        }
        for number in 0..5 {
            let ended = owners.open(&format!("more {number}"), ("ws_many", "key_more"), now);
            assert!(ended.len() == 1 && owners.0.len() == MOST, "{ended:?}");
        }
        assert!(owners.is_of("few 1", "key_1", now) && owners.is_of("few 2", "key_1", now));
    }
}
