//! `keys.migrateKeys`
//!
//! Everything is checked before anything is stored. Then keys go in by portions, each a change of its own: other
//! writers get their turn in between, and an import that is cut off is repeated as it was.

use std::collections::HashMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::api_of_caller;
use super::create_key::read_credits;
use crate::authorization::{Expression, Rule};
use crate::calendar::UnixMs;
use crate::catalogue::{About, Assistants, Consequences, Effect, Operation, Pin, Question, Toolset, if_so};
use crate::error::{Fault, OrNotFound as _};
use crate::ids::{self, ApiId, KeyId, Kind, MigrationId};
use crate::keys::imported::Algorithm;
use crate::keys::issuing::{self, NewKey, UnknownRoles};
use crate::operations::fields::{self, KeyCredits, RatelimitRequest, SLUG_PATTERN, yes};
use crate::reply::Reply;
use crate::resident::Api;
use crate::store::keys::{self, Holder};
use crate::store::subject::Subject;
use crate::store::{Only, key_migrations};
use crate::value::Meta;
use crate::{Caller, Code, Error, Keyrack};

/// Rows that a portion writes at most, unless a single key needs more. While they are written, every paid
/// verification waits on SQLite: this many take some 10 ms.
const PORTION_ROWS: usize = 1000;
/// Keys of a portion at most.
const PORTION_KEYS: usize = 500;
/// How often a portion is tried anew because another workspace has imported one of its keys this very moment.
const TRIES: usize = 3;
/// Faults that are answered at most.
const MOST_FAULTS: usize = 50;

/// A person is asked about more keys than these.
const MOST_UNASKED: usize = 100;

/// Imports keys by their hashes.
#[derive(Debug)]
pub struct MigrateKeys;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// From `keyrack migration create`: the user has to run it.
    // Clients of the contract may send any text of that length here: what is no id is not found.
    #[schemars(with = "String", length(min = 3, max = 255))]
    migration_id: MigrationId,
    /// The API that they belong to from now on.
    // Clients of the contract may send any text of that length here: what is no id is not found.
    #[schemars(with = "String", length(min = 3, max = 255))]
    api_id: ApiId,
    /// The keys.
    #[schemars(length(min = 1, max = 10_000))]
    keys: Vec<ImportedKey>,
}

/// A key to import.
#[derive(Debug, Deserialize, JsonSchema, Clone)]
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
    #[schemars(range(max = UnixMs::LATEST_EXPIRY))]
    expires: Option<UnixMs>,
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
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// The keys that were imported, in the order of the request.
    pub migrated: Vec<MigratedKey>,
    /// Hashes that some key has already.
    pub failed: Vec<String>,
    /// The same with their places in the request and why.
    pub failures: Vec<Failure>,
}

/// A key that was imported.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MigratedKey {
    /// As sent.
    pub hash: String,
    /// `key_…`
    pub key_id: KeyId,
}

/// A key that was left out.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Its place in `keys`, from 0.
    pub index: usize,
    /// As sent.
    pub hash: String,
    /// Why it was left out.
    pub reason: String,
    /// The key of this workspace that has the hash already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_id: Option<KeyId>,
}

impl Operation for MigrateKeys {
    const ABOUT: About = About {
        name: "keys.migrateKeys",
        title: "Import keys",
        summary: "Imports keys that were issued elsewhere, by their hashes.",
        description: "Users of the keys notice nothing. `keyrack migration create` makes the migration, whose algorithm says what the hashes are: with \
                      `sha256` the base64 or the 64 hexadecimal digits of the SHA-256 of the whole key, and keys \
                      verify at once; with `github.com/seamapi/prefixed-api-key` the 64 hexadecimal digits of the \
                      SHA-256 of the long token, and the first `keys.verifyKey` of each key must name the migration. \
                      Until then any prefix and short token with the right long token is accepted and becomes the \
                      key. At most 10,000 keys go in with one request. They are all checked first, and anything that \
                      is wrong with one imports nothing; then they are stored in portions. A hash that some key has \
                      already is left out and answered in `failed`, with the reason in `failures`: so a request \
                      that was cut off, or answered with 503, may be repeated as it was. Permissions, roles and \
                      identities come into being if they are new. `keyrack migration import` reads files of any \
                      length.",
        example: r#"{"migrationId": "<migrationId>", "apiId": "<apiId>", "keys": [{"hash": "<newKeyHash>", "name": "Moved"}]}"#,
        rule: Rule::forbidding(Expression::Any(&[
            Expression::Leg("api.*.create_key"),
            Expression::Leg("api.{apiId}.create_key"),
        ])),
        effect: Effect::Write,
        idempotent: false,
        errors: &[Code::ApiNotFound, Code::MigrationNotFound],
        largest_body: 4 * 1024 * 1024,
        assistants: Assistants {
            toolset: Some(Toolset::Migrations),
            hint: "At most 10,000 keys; known hashes come back in failed, with why in failures.",
            pinned_by: Some(Pin::Api("apiId")),
            ..Assistants::DEFAULT
        },
        ..About::DEFAULT
    };

    const ASKS: bool = true;

    type Request = Request;
    type Response = Response;

    fn consequences(request: &Request, _: UnixMs) -> Consequences {
        if_so([("Adds many keys of another system to the API.", request.keys.len() > MOST_UNASKED)])
    }

    async fn question(
        keyrack: &Keyrack,
        caller: &Caller,
        request: &Request,
        consequences: Consequences,
    ) -> Result<Question, Error> {
        let authorized = caller.authorize(&Self::ABOUT.rule, &[("apiId", &request.api_id)])?;
        let api = api_of_caller(keyrack, caller, &request.api_id).await?;
        let algorithm = find_algorithm(keyrack, caller, &request.migration_id).await?;
        read(request.keys.clone(), algorithm, &request.migration_id)?;
        let question = authorized.asking(consequences);
        let question = question.text("API", &*api.stored.name).text("id", &*api.stored.id);
        Ok(question.text("keys", request.keys.len().to_string()))
    }

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Response>, Error> {
        let authorized = caller.authorize(&Self::ABOUT.rule, &[("apiId", &request.api_id)])?;
        let api = api_of_caller(keyrack, caller, &request.api_id).await?;
        let algorithm = find_algorithm(keyrack, caller, &request.migration_id).await?;
        let (keys, failures) = read(request.keys, algorithm, &request.migration_id)?;
        let response = Response { failures, ..Response::default() };
        let correlation_id = ids::generate(Kind::AuditCorrelation);
        let migration_id = request.migration_id;
        let mut import = Import { keyrack, caller, api, migration_id, correlation_id, response };
        for portion in portions(keys) {
            if let Err(error) = import.portion(portion).await {
                return Err(import.broken_off(error));
            }
        }
        let mut response = import.response;
        response.failures.sort_by_key(|failure| failure.index);
        response.failed = response.failures.iter().map(|failure| failure.hash.clone()).collect();
        Ok(authorized.reply(response))
    }
}

/// The algorithm of a migration of the caller's workspace.
async fn find_algorithm(keyrack: &Keyrack, caller: &Caller, id: &str) -> Result<Algorithm, Error> {
    let found = key_migrations::any(&mut *keyrack.store().read().await?, Only::Ids(&[id])).await?;
    let found = found.into_iter().find(|migration| migration.workspace_id == caller.workspace_id());
    let found = found.or_not_found(Code::MigrationNotFound)?;
    Algorithm::named(&found.algorithm).ok_or_else(|| Error::unexpected("a migration with an unknown algorithm"))
}

/// A key that is ready to be issued.
struct Checked {
    /// Its place in the request.
    index: usize,
    /// Its hash as it was sent.
    sent: String,
    new: NewKey,
}

/// Checks all keys of a request; those whose hash stands there before are failures.
///
/// # Errors
/// 400 with the faults of all keys.
fn read(
    keys: Vec<ImportedKey>,
    algorithm: Algorithm,
    migration_id: &str,
) -> Result<(Vec<Checked>, Vec<Failure>), Error> {
    let mut seen: HashMap<String, usize> = HashMap::with_capacity(keys.len());
    let (mut checked, mut failures, mut faults) = (Vec::with_capacity(keys.len()), Vec::new(), Vec::new());
    for (index, mut imported) in keys.into_iter().enumerate() {
        let sent = std::mem::take(&mut imported.hash);
        let Some(new) = imported.read(index, &sent, algorithm, migration_id, &mut faults) else { continue };
        if let Some(first) = seen.get(&new.hash) {
            let reason = format!("the same hash stands at index {first} of this request");
            failures.push(Failure { index, hash: sent, reason, key_id: None });
            continue;
        }
        seen.insert(new.hash.clone(), index);
        checked.push(Checked { index, sent, new });
    }
    if faults.is_empty() {
        return Ok((checked, failures));
    }
    faults.truncate(MOST_FAULTS);
    let first = faults.first().map(|fault| format!(" `{}`: {}.", fault.location, fault.message));
    let detail = format!("The request is not valid, and nothing was imported.{}", first.unwrap_or_default());
    Err(Error::new(Code::InvalidInput, detail).with_faults(faults))
}

impl ImportedKey {
    /// The key as it is stored, or what is wrong with it.
    fn read(
        self,
        index: usize,
        sent: &str,
        algorithm: Algorithm,
        migration_id: &str,
        faults: &mut Vec<Fault>,
    ) -> Option<NewKey> {
        let at = format!("body.keys[{index}]");
        let hash = algorithm.stored_form(sent).ok_or_else(|| wrong_hash(&at, sent, algorithm));
        let credits = self.credits.as_ref().map(|credits| read_credits(credits, &at)).transpose();
        let meta = self.meta.as_ref().map(|meta| fields::key_meta_at(meta, &at)).transpose();
        match (hash, credits, meta) {
            (Ok(hash), Ok(credits), Ok(meta)) => Some(NewKey {
                id: ids::generate(Kind::Key),
                hash,
                start: String::new(),
                migration_id: Some(migration_id.to_owned()),
                name: self.name,
                external_id: self.external_id,
                meta,
                enabled: self.enabled,
                expires_at: self.expires,
                credits: credits.unwrap_or_default(),
                ratelimits: fields::new_ratelimits(self.ratelimits.unwrap_or_default()),
                permissions: self.permissions.unwrap_or_default(),
                roles: self.roles.unwrap_or_default(),
            }),
            (hash, credits, meta) => {
                for error in [hash.err(), credits.err(), meta.err()].into_iter().flatten() {
                    faults.extend_from_slice(error.faults());
                }
                None
            }
        }
    }
}

fn wrong_hash(at: &str, sent: &str, algorithm: Algorithm) -> Error {
    let message = format!("`hash` must be {}; got {} characters", algorithm.form(), sent.chars().count());
    Error::invalid(&format!("{at}.hash"), message, format!("Send such as `{}`.", algorithm.example()))
}

/// The keys in portions that do not hold up other writers.
fn portions(keys: Vec<Checked>) -> Vec<Vec<Checked>> {
    let mut portions: Vec<Vec<Checked>> = Vec::new();
    let mut room = 0;
    for key in keys {
        let rows = rows(&key.new);
        match portions.last_mut().filter(|portion| portion.len() < PORTION_KEYS && rows <= room) {
            Some(portion) => {
                room -= rows;
                portion.push(key);
            }
            None => {
                room = PORTION_ROWS.saturating_sub(rows);
                portions.push(vec![key]);
            }
        }
    }
    portions
}

/// How many rows a key writes at most, those of the audit log and of the change feed included.
fn rows(key: &NewKey) -> usize {
    // What is audited is written with what it was done to, two things of a key and of each of its links.
    let (itself, identity, balance) = (5, 4 * usize::from(key.external_id.is_some()), 1);
    itself + identity + balance + key.ratelimits.len() + 4 * (key.permissions.len() + key.roles.len())
}

/// An import under way.
struct Import<'a> {
    keyrack: &'a Keyrack,
    caller: &'a Caller,
    api: Arc<Api>,
    migration_id: MigrationId,
    correlation_id: String,
    response: Response,
}

impl Import<'_> {
    /// Stores a portion, but for the keys whose hash some key has already.
    async fn portion(&mut self, mut portion: Vec<Checked>) -> Result<(), Error> {
        for _ in 0..TRIES {
            let mut mutation = self.keyrack.change(self.caller).await?;
            mutation.correlate_as(self.correlation_id.clone());
            let hashes: Vec<_> = portion.iter().map(|key| key.new.hash.as_str()).collect();
            let holders = keys::holders(mutation.connection(), &hashes).await?;
            portion = self.without_known(portion, &holders);
            if portion.is_empty() {
                return Ok(());
            }
            let (sent, new): (Vec<_>, Vec<_>) =
                portion.into_iter().map(|key| ((key.index, key.sent), key.new)).unzip();
            issuing::issue(&mut mutation, &self.api.stored, &new, UnknownRoles::Created).await?;
            // A process that has not heard of the migration yet hears of it with its first keys.
            mutation.tell_others(Subject::KeyMigration(self.migration_id.clone().into()));
            if mutation.commit_unless_taken().await? {
                let migrated = sent.into_iter().zip(new);
                let migrated = migrated.map(|((_, hash), new)| MigratedKey { hash, key_id: new.id.into() });
                self.response.migrated.extend(migrated);
                return Ok(());
            }
            let again = sent.into_iter().zip(new).map(|((index, sent), new)| Checked { index, sent, new });
            portion = again.collect();
        }
        Err(Error::database_unavailable("other workspaces keep importing the same keys"))
    }

    /// The keys whose hash no key has; the others are failures.
    fn without_known(&mut self, portion: Vec<Checked>, holders: &HashMap<String, Holder>) -> Vec<Checked> {
        let (known, fresh): (Vec<_>, Vec<_>) =
            portion.into_iter().partition(|key| holders.contains_key(&key.new.hash));
        for key in known {
            let (reason, key_id) = self.reason(holders.get(&key.new.hash));
            self.response.failures.push(Failure {
                index: key.index,
                hash: key.sent,
                reason,
                key_id: key_id.map(KeyId::from),
            });
        }
        fresh
    }

    /// Why a key was left out, for people, and which other one it would have been.
    fn reason(&self, holder: Option<&Holder>) -> (String, Option<String>) {
        let own = holder.filter(|holder| holder.workspace_id == self.caller.workspace_id());
        match own.and_then(|holder| Some((holder.key_id.clone()?, holder.is_deleted))) {
            Some((id, false)) => (format!("key {id} has this hash already"), Some(id)),
            Some((id, true)) => (format!("the deleted key {id} had this hash, which stays taken"), Some(id)),
            None => ("another key has this hash already".to_owned(), None),
        }
    }

    /// What is said of an import that ended early: what went in stays.
    fn broken_off(&self, error: Error) -> Error {
        let count = self.response.migrated.len();
        if count == 0 || error.code() != Code::ServiceUnavailable {
            return error;
        }
        let text = format!(
            "The database stopped answering after {count} of the keys were imported; those stay. Send the same call again: \
             what went in comes back in `failures`, with its key's id."
        );
        Error::new(Code::ServiceUnavailable, text)
            .retry_after(1)
            .caused_by(error.cause().unwrap_or(error.detail()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::credits::Credits;

    fn key(index: usize, permissions: usize) -> Checked {
        let new = NewKey {
            id: format!("key_{index}"),
            hash: String::new(),
            start: String::new(),
            migration_id: None,
            name: None,
            external_id: None,
            meta: None,
            enabled: true,
            expires_at: None,
            credits: Credits::default(),
            ratelimits: Vec::new(),
            permissions: vec![String::new(); permissions],
            roles: Vec::new(),
        };
        Checked { index, sent: String::new(), new }
    }

    #[test]
    fn a_portion_holds_as_many_keys_as_its_rows_allow_and_at_least_one() {
        for (permissions, largest, count) in [(0, 166, 7), (2, 71, 15), (1000, 1, 1000)] {
            let portions = portions((0..1000).map(|index| key(index, permissions)).collect());
            assert_eq!(portions.len(), count, "{permissions} permissions");
            assert_eq!(portions.iter().map(Vec::len).max(), Some(largest), "{permissions} permissions");
            let order: Vec<_> = portions.iter().flatten().map(|key| key.index).collect();
            assert_eq!(order, (0..1000).collect::<Vec<_>>());
        }
    }
}
