//! What keys are to be linked to by name, found with one statement whatever kinds of things are named.

use std::collections::{BTreeSet, HashMap};

use sqlx::Row as _;

use super::permissions::Permission;
use super::roles::Role;
use super::{Connection, VALUES_PER_STATEMENT, placeholders};
use crate::error::Error;

/// Names of one kind, each once and in order, so that equal requests are equal statements.
pub type Names<'a> = BTreeSet<&'a str>;

/// What is looked for.
#[derive(Debug, Default)]
pub struct Wanted<'a> {
    /// External ids of identities.
    pub external_ids: Names<'a>,
    /// Slugs of permissions.
    pub slugs: Names<'a>,
    /// Names of roles.
    pub roles: Names<'a>,
}

/// What was found, by name.
#[derive(Debug, Default)]
pub struct Named {
    /// Whether the API is live.
    pub has_api: bool,
    /// Ids of live identities by external id.
    pub identities: HashMap<String, String>,
    /// By slug.
    pub permissions: HashMap<String, Permission>,
    /// By name.
    pub roles: HashMap<String, Role>,
    /// Slugs of the permissions of these roles, by the role's id.
    pub held: HashMap<String, Vec<String>>,
}

const API: &str = "SELECT 'api' AS kind, id, name AS text, CAST(NULL AS TEXT) AS name, CAST(NULL AS TEXT) AS description \
     FROM apis WHERE workspace_id = $1 AND id = $2 AND deleted_at IS NULL";
const IDENTITIES: &str = "SELECT 'identity', id, external_id, NULL, NULL FROM identities \
                          WHERE workspace_id = $1 AND deleted_at IS NULL AND external_id";
const PERMISSIONS: &str =
    "SELECT 'permission', id, slug, name, description FROM permissions WHERE workspace_id = $1 AND slug";
const ROLES: &str = "SELECT 'role', id, name, NULL, description FROM roles WHERE workspace_id = $1 AND name";
const HELD: &str = "SELECT 'held', l.role_id, p.slug, NULL, NULL FROM roles r \
                    JOIN role_permissions l ON l.role_id = r.id JOIN permissions p ON p.id = l.permission_id \
                    WHERE r.workspace_id = $1 AND r.name";

/// Finds an API of a workspace and what is named in it.
///
/// # Errors
/// When the store does not answer.
pub async fn find(
    connection: &mut Connection,
    workspace_id: &str,
    api_id: &str,
    wanted: &Wanted<'_>,
) -> Result<Named, Error> {
    let lists = [&wanted.external_ids, &wanted.slugs, &wanted.roles];
    let lists = lists.map(|names| names.iter().copied().collect::<Vec<&str>>());
    let portions = lists.iter().map(|names| names.len().div_ceil(VALUES_PER_STATEMENT)).max().unwrap_or_default();
    let mut named = Named::default();
    for portion in 0..portions.max(1) {
        let portion = lists.each_ref().map(|names| names.chunks(VALUES_PER_STATEMENT).nth(portion).unwrap_or(&[]));
        named.read(connection, workspace_id, api_id, portion).await?;
    }
    Ok(named)
}

impl Named {
    async fn read(
        &mut self,
        connection: &mut Connection,
        workspace_id: &str,
        api_id: &str,
        [external_ids, slugs, roles]: [&[&str]; 3],
    ) -> Result<(), Error> {
        let mut text = API.to_owned();
        let mut next = 3;
        for (parts, names) in [(&[IDENTITIES][..], external_ids), (&[PERMISSIONS], slugs), (&[ROLES, HELD], roles)]
        {
            if names.is_empty() {
                continue;
            }
            for part in parts {
                text.push_str(&format!(" UNION ALL {part} IN ({})", placeholders(next, names.len())));
            }
            next += names.len();
        }
        let query = sqlx::query(sqlx::AssertSqlSafe(text)).bind(workspace_id.to_owned()).bind(api_id.to_owned());
        let names = external_ids.iter().chain(slugs).chain(roles);
        let query = names.fold(query, |query, name| query.bind((*name).to_owned()));
        for row in query.fetch_all(connection).await? {
            let (kind, id, text): (String, String, String) =
                (row.try_get("kind")?, row.try_get("id")?, row.try_get("text")?);
            match kind.as_str() {
                "api" => self.has_api = true,
                "identity" => drop(self.identities.insert(text, id)),
                "permission" => {
                    let (name, description) = (row.try_get("name")?, row.try_get("description")?);
                    self.permissions.insert(text.clone(), Permission { id, slug: text, name, description });
                }
                "role" => {
                    let description = row.try_get("description")?;
                    self.roles.insert(text.clone(), Role { id, name: text, description });
                }
                _ => self.held.entry(id).or_default().push(text),
            }
        }
        Ok(())
    }
}
