//! `workspace.createWorkspace`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::record_at_home;
use crate::audit::Actor;
use crate::authorization::Rule;
use crate::catalogue::{About, Assistants, Effect, Operation, Tool};
use crate::ids::WorkspaceId;
use crate::keys::secret::Revealed;
use crate::reply::Reply;
use crate::root_keys::{NewRootKey, add_root_key};
use crate::store::workspaces;
use crate::workspaces::{begin_workspace, workspace_created};
use crate::{Caller, Code, Error, Keyrack};

/// Creates a workspace.
#[derive(Debug)]
pub struct CreateWorkspace;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// For people.
    #[schemars(length(min = 1, max = 256))]
    name: String,
}

/// What is answered.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// `ws_…`
    pub workspace_id: WorkspaceId,
    /// A root key with full access to it. It is shown this once.
    pub root_key: Revealed,
}

impl Operation for CreateWorkspace {
    const ABOUT: About = About {
        name: "workspace.createWorkspace",
        title: "Create a workspace",
        summary: "Creates a workspace apart from all others, and a root key with full access to it, shown once.",
        description: "For operators without an expiry, since the new root key has none. It is no operator, and nothing but it \
                      can reach what is in the workspace. The audit logs of both workspaces say who created it.",
        example: r#"{"name": "staging"}"#,
        rule: Rule::OPERATOR,
        effect: Effect::Write,
        idempotent: false,
        assistants: Assistants {
            tool: Tool::Withheld("it hands out power over a workspace, which people do on a terminal"),
            ..Assistants::DEFAULT
        },
        is_own: true,
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = Response;

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Response>, Error> {
        let authorized = caller.authorize(&Self::ABOUT.rule, &[])?;
        if let Some(expires_at) = caller.root_key().expires_at {
            return Err(Error::new(
                Code::InsufficientPermissions,
                format!(
                    "The root key of a workspace does not expire, and the calling one does, at {}. Use an operator \
                     without an expiry.",
                    expires_at.rfc3339()
                ),
            ));
        }
        let mut mutation =
            begin_workspace(keyrack.state(), caller.workspace_id(), &request.name, Actor::of(caller)).await?;
        // Nobody else knows the new workspace yet: that its lock came first does no harm.
        workspaces::lock(mutation.connection(), caller.workspace_id()).await?;
        mutation.check_caller(caller).await?;
        let workspace_id = mutation.workspace_id().to_owned();
        let new = NewRootKey { name: None, permissions: vec!["*".to_owned()], operator: false, expires_at: None };
        let (_, root_key) = add_root_key(&mut mutation, new).await?;
        let event = workspace_created(&workspace_id, &request.name);
        record_at_home(&mut mutation, caller, event).await?;
        mutation.commit().await?;
        Ok(authorized.reply(Response { workspace_id: workspace_id.into(), root_key: Revealed(root_key) }))
    }
}
