//! `keys.migrateKeys`

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::create_key::read_credits;
use super::links::{
    connect_permissions, connect_roles, identity_by_external_id, permissions_by_slug, roles_by_name_or_new,
};
use crate::audit::{Event, Target};
use crate::authorization::{Expression, Rule};
use crate::catalogue::{About, Effect, Operation, Reply};
use crate::changes::{Mutation, Subject};
use crate::ids::{self, Kind};
use crate::keys::migration::hash_is_taken;
use crate::keys::secret;
use crate::operations::fields::{self, KeyCredits, RatelimitRequest, SLUG_PATTERN, yes};
use crate::store::apis::{self, Api};
use crate::store::credits::{self, Credits};
use crate::store::keys::{self, Key};
use crate::store::ratelimits::Owner;
use crate::store::{Only, key_migrations};
use crate::value::Meta;
use crate::{Caller, Code, Error, Keyrack};

/// Bytes of a hash that are stored as they are. PostgreSQL cannot index texts of any length, and no
/// hash that could ever match is longer.
const LONGEST_STORED_HASH: usize = 1000;

/// Imports keys by their hashes.
#[derive(Debug)]
pub struct MigrateKeys;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// From `keyrack migration create`.
    #[schemars(length(min = 3, max = 255))]
    migration_id: String,
    /// The API that they belong to from now on.
    #[schemars(length(min = 3, max = 255))]
    api_id: String,
    /// The keys.
    #[schemars(length(min = 1, max = 10_000))]
    keys: Vec<ImportedKey>,
}

/// A key to import.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ImportedKey {
    /// Made as the migration's algorithm says.
    #[schemars(length(min = 3, max = 1000))]
    hash: String,
    /// For people.
    #[schemars(length(min = 1, max = 255))]
    name: Option<String>,
    /// Whom it belongs to; the identity is created if new.
    #[schemars(length(min = 1, max = 255))]
    external_id: Option<String>,
    /// Any JSON object; verifications return it.
    meta: Option<Meta>,
    /// Names of roles; created if new.
    #[schemars(length(max = 100), inner(length(min = 1, max = 128)))]
    roles: Option<Vec<String>>,
    /// Slugs; created if new.
    #[schemars(length(max = 1000), inner(length(min = 1, max = 128), regex(pattern = SLUG_PATTERN)))]
    permissions: Option<Vec<String>>,
    /// Unix ms after which it is refused; default: never.
    #[schemars(range(min = 0, max = 4_102_444_800_000_i64))]
    expires: Option<i64>,
    /// Whether it may be used.
    #[serde(default = "yes")]
    enabled: bool,
    /// Uses it has; default: unlimited.
    credits: Option<KeyCredits>,
    /// Limits of this key alone.
    #[schemars(length(max = 50))]
    ratelimits: Option<Vec<RatelimitRequest>>,
}

/// What is answered.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// The keys that were imported, in the order of the request.
    migrated: Vec<MigratedKey>,
    /// Hashes that some key has already.
    failed: Vec<String>,
}

/// A key that was imported.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct MigratedKey {
    /// As sent.
    hash: String,
    /// `key_…`
    key_id: String,
}

impl Operation for MigrateKeys {
    const ABOUT: About = About {
        name: "keys.migrateKeys",
        title: "Import keys",
        summary: "Imports keys that were issued elsewhere, by their hashes. Their users notice nothing.",
        description: "`keyrack migration create` makes the migration, whose algorithm says what the hashes are: with \
                      `sha256` the base64 of the SHA-256 of the whole key, and keys verify at once; with \
                      `github.com/seamapi/prefixed-api-key` the lower-case hex SHA-256 of the long token, and the \
                      first `keys.verifyKey` of each key must name the migration. Until then any prefix and short \
                      token with the right long token is accepted and becomes the key. A hash that some key has \
                      already is left out and answered in `failed`; anything else that is wrong imports nothing. \
                      Permissions, roles and identities come into being if they are new.",
        hint: "All or nothing but for known hashes, which come back in failed. apiId from apis_listApis.",
        example: r#"{"migrationId": "<migrationId>", "apiId": "<apiId>", "keys": [{"hash": "<newKeyHash>", "name": "Moved"}]}"#,
        rule: Rule::forbidding(Expression::Any(&[
            Expression::Leg("api.*.create_key"),
            Expression::Leg("api.{apiId}.create_key"),
        ])),
        effect: Effect::Write,
        idempotent: false,
        errors: &[Code::ApiNotFound, Code::MigrationNotFound],
        largest_body: 4 * 1024 * 1024,
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = Response;

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Response>, Error> {
        caller.authorize::<Self>(&[("apiId", &request.api_id)])?;
        let mut mutation = Mutation::begin(keyrack, caller).await?;
        let api = apis::find(mutation.connection(), caller.workspace_id(), &request.api_id).await?;
        let api = api.ok_or_else(|| Error::not_found(Code::ApiNotFound))?;
        let only = Only::Ids(&[&request.migration_id]);
        let migrations = key_migrations::any(mutation.connection(), only).await?;
        if !migrations.iter().any(|migration| migration.workspace_id == caller.workspace_id()) {
            return Err(Error::not_found(Code::MigrationNotFound));
        }
        let mut response = Response { migrated: Vec::new(), failed: Vec::new() };
        for (at, imported) in request.keys.into_iter().enumerate() {
            let hash = imported.hash.clone();
            let at = format!("body.keys[{at}]");
            match import(&mut mutation, &api, &request.migration_id, imported, &at).await? {
                Some(key_id) => response.migrated.push(MigratedKey { hash, key_id }),
                None => response.failed.push(hash),
            }
        }
        // A process that has not heard of the migration yet hears of it with its first keys.
        mutation.touch(Subject::KeyMigration(request.migration_id));
        mutation.commit().await?;
        Ok(response.into())
    }
}

/// Imports one key: its id, or nothing if some key has its hash already.
async fn import(
    mutation: &mut Mutation,
    api: &Api,
    migration_id: &str,
    imported: ImportedKey,
    at: &str,
) -> Result<Option<String>, Error> {
    let credits = imported.credits.as_ref().map(|credits| read_credits(credits, at)).transpose()?;
    let meta = imported.meta.as_ref().map(|meta| fields::key_meta_at(meta, at)).transpose()?;
    let hash = stored_form(&imported.hash).into_owned();
    if hash_is_taken(mutation, &hash).await? {
        return Ok(None);
    }
    let external_id = imported.external_id;
    let identity_id = match external_id.clone() {
        Some(external_id) => Some(identity_by_external_id(mutation, external_id).await?),
        None => None,
    };
    let key = Key {
        id: ids::generate(Kind::Key),
        workspace_id: api.workspace_id.clone(),
        api_id: api.id.clone(),
        hash,
        start: String::new(),
        pending_migration_id: Some(migration_id.to_owned()),
        name: imported.name,
        identity_id,
        meta,
        enabled: imported.enabled,
        expires_at: imported.expires,
        last_used_at: None,
        created_at: mutation.now(),
        updated_at: None,
        credits: credits.unwrap_or_default(),
    };
    if !keys::insert(mutation.connection(), &key).await? {
        // Another workspace imported it this very moment.
        return Ok(None);
    }
    if key.credits != Credits::default() {
        let today = mutation.calendar().today;
        credits::set(mutation.connection(), &key.id, key.credits, today).await?;
    }
    let limits = fields::new_ratelimits(imported.ratelimits.unwrap_or_default());
    fields::add_ratelimits(mutation, &Owner::Key(key.id.clone()), &limits).await?;
    let permissions = permissions_by_slug(mutation, imported.permissions.unwrap_or_default()).await?;
    connect_permissions(mutation, &key.id, &permissions).await?;
    let roles = roles_by_name_or_new(mutation, imported.roles.unwrap_or_default()).await?;
    connect_roles(mutation, &key.id, &roles).await?;
    let target = Target::key(&key.id, key.name.as_deref(), &key.start, external_id.as_deref());
    mutation.record(
        Event::new("key.create", format!("Imported key {} of API {}", key.id, api.id))
            .on(target)
            .on(Target::new("api", &api.id).named(&api.name)),
    );
    mutation.touch(Subject::Key(key.id.clone()));
    Ok(Some(key.id))
}

/// The hash as it is, or a text of fixed length that stands for an overlong one: it can never match, but
/// is still told apart from others.
fn stored_form(hash: &str) -> Cow<'_, str> {
    if hash.len() <= LONGEST_STORED_HASH {
        Cow::Borrowed(hash)
    } else {
        Cow::Owned(format!("overlong:{}", secret::hash(hash).to_base64()))
    }
}
