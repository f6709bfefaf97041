//! Changes of what is stored, and looks at what another process may have made a moment ago.

use tracing::Instrument as _;

use super::Keyrack;
use crate::audit::Actor;
use crate::caller::Caller;
use crate::changes::Mutation;
use crate::error::Error;

impl Keyrack {
    /// Begins a change of the caller's workspace.
    ///
    /// # Errors
    /// As [`Mutation::begin`].
    pub async fn change(&self, caller: &Caller) -> Result<Mutation, Error> {
        Mutation::begin(self.state(), caller).await
    }

    /// The same before all changes that wait in the line: see [`Mutation::begin_first`].
    ///
    /// # Errors
    /// As [`Mutation::begin`].
    pub async fn change_first(&self, caller: &Caller) -> Result<Mutation, Error> {
        Mutation::begin_first(self.state(), caller).await
    }

    /// Waits until no other request of the caller's workspace makes what many want at the same moment; it is alone
    /// while `f` runs.
    ///
    /// # Errors
    /// 503 when others take too long, and those of `f`.
    pub(crate) async fn alone<T>(
        &self,
        caller: &Caller,
        f: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let followed = self.state().following.of(caller.workspace_id());
        let waiting = async {
            tokio::time::timeout(self.store().longest_turn(), followed.making.lock()).await.map_err(|_| {
                Error::database_unavailable("others of this workspace were making the same for too long")
            })
        };
        let _alone = caller.unless_gone(waiting).await?;
        f.await
    }

    /// Begins a change of a workspace by someone who is no caller, such as the program itself.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn change_as(&self, workspace_id: &str, actor: Actor) -> Result<Mutation, Error> {
        Mutation::begin_as(self.state(), workspace_id, actor).await
    }

    /// Brings memory up to what the database says of a workspace: for what another process may have made a
    /// moment ago.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(crate) async fn follow(&self, workspace_id: &str) -> Result<(), Error> {
        let (state, workspace_id) = (self.state().clone(), workspace_id.to_owned());
        in_a_task(async move { state.follow(&workspace_id).await }).await
    }

    /// The same for every workspace.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(crate) async fn catch_up(&self) -> Result<(), Error> {
        let state = self.state().clone();
        in_a_task(async move { state.catch_up().await }).await
    }
}

/// Whoever stops waiting must not stop it: a reload that is cut off would leave readers behind that write what is
/// old by then.
async fn in_a_task(work: impl Future<Output = Result<(), Error>> + Send + 'static) -> Result<(), Error> {
    tokio::spawn(work.in_current_span()).await.unwrap_or_else(|ended| Err(Error::unexpected(ended)))
}
