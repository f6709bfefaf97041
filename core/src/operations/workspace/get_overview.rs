//! `workspace.getOverview`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::calendar::UnixMs;
use crate::catalogue::{About, Assistants, Operation, Resource, Toolset};
use crate::error::OrNotFound as _;
use crate::ids::{RootKeyId, WorkspaceId};
use crate::reply::Reply;
use crate::store::workspaces;
use crate::value::Nullable;
use crate::{Caller, Code, Error, Keyrack};

/// Reads where the caller is and what it may do.
#[derive(Debug)]
pub struct GetOverview;

/// What is sent: nothing.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {}

/// What is answered.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// The workspace that the root key works in.
    pub workspace: Workspace,
    /// The root key of this call.
    pub root_key: RootKey,
    /// How many of each there are.
    pub counts: Counts,
    /// What the workspace is limited to.
    pub limits: Limits,
}

/// A workspace.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Workspace {
    /// `ws_…`
    pub id: WorkspaceId,
    /// For people.
    pub name: String,
}

/// A root key, without its secret.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RootKey {
    /// `key_…`
    pub key_id: RootKeyId,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it may do.
    pub permissions: Vec<String>,
    /// Whether it may administer workspaces.
    pub operator: bool,
    /// Unix ms after which it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<UnixMs>,
}

/// How many of each there are.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Counts {
    pub apis: i64,
    pub keys: i64,
    pub identities: i64,
    pub permissions: i64,
    pub roles: i64,
    pub namespaces: i64,
}

/// What a workspace is limited to; null means not at all.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Requests per minute over all root keys; null: no limit.
    pub requests_per_minute: Nullable<i64>,
    /// Days that verification events are kept; null: for ever.
    pub log_retention_days: Nullable<i64>,
    /// Days that the audit log is kept; null: for ever.
    pub audit_retention_days: Nullable<i64>,
}

impl Operation for GetOverview {
    const ABOUT: About = About {
        name: "workspace.getOverview",
        title: "Show the workspace",
        summary: "Shows the workspace, the root key of this call with its permissions, and how much there is of what.",
        description: "A good first call: it says where you are and what you may do.",
        example: "{}",
        assistants: Assistants {
            toolset: Some(Toolset::Context),
            resource: Some(Resource { path: "workspace", title: "The workspace and what its root key may do" }),
            ..Assistants::DEFAULT
        },
        is_own: true,
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = Response;

    async fn handle(keyrack: &Keyrack, caller: &Caller, _: Request) -> Result<Reply<Response>, Error> {
        let authorized = caller.authorize(&Self::ABOUT.rule, &[])?;
        let workspace = keyrack.resident().workspace(caller.workspace_id());
        let workspace = workspace.or_not_found(Code::WorkspaceNotFound)?;
        let mut connection = keyrack.store().read().await?;
        let (permissions, roles) = workspaces::count_rbac(&mut connection, &workspace.id).await?;
        let counts = keyrack.resident().counts(&workspace.id);
        let root_key = caller.root_key();
        Ok(authorized.reply(Response {
            workspace: Workspace { id: workspace.id.clone().into(), name: workspace.name.clone() },
            root_key: RootKey {
                key_id: root_key.id.clone().into(),
                name: root_key.name.clone(),
                permissions: sorted(&root_key.permissions),
                operator: root_key.operator,
                expires: root_key.expires_at,
            },
            counts: Counts {
                apis: counts.apis,
                keys: counts.keys,
                identities: counts.identities,
                permissions,
                roles,
                namespaces: counts.namespaces,
            },
            limits: Limits {
                requests_per_minute: Nullable(workspace.requests_per_minute),
                log_retention_days: Nullable(workspace.log_retention_days),
                audit_retention_days: Nullable(workspace.audit_retention_days),
            },
        }))
    }
}

fn sorted(permissions: &[String]) -> Vec<String> {
    let mut sorted = permissions.to_vec();
    sorted.sort_unstable();
    sorted
}
