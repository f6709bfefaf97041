//! Ids as types: the signature of a function says of what thing it takes the id. The store keeps them as texts, and
//! whoever makes one of a text says of what it is.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use schemars::generate::Contract;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::Kind;

/// Characters of an id on the way in.
const PATTERN: &str = "^[a-zA-Z0-9_]+$";
const LEAST: usize = 3;
const MOST: usize = 255;

/// The id of a thing of this [`Kind`], in requests and in answers. In a request it is what the caller says it is: only
/// the store knows whether there is such a thing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Id<const KIND: u8>(String);

/// The id of an API.
pub type ApiId = Id<{ Kind::Api as u8 }>;
/// The id of an entry of the audit log.
pub type AuditLogId = Id<{ Kind::AuditLog as u8 }>;
/// The id of an identity.
pub type IdentityId = Id<{ Kind::Identity as u8 }>;
/// The id of a key.
pub type KeyId = Id<{ Kind::Key as u8 }>;
/// The id of a migration of keys.
pub type MigrationId = Id<{ Kind::Migration as u8 }>;
/// The id of a permission.
pub type PermissionId = Id<{ Kind::Permission as u8 }>;
/// The id of a limit that a key or an identity owns.
pub type RatelimitId = Id<{ Kind::Ratelimit as u8 }>;
/// The id of a namespace of rate limits.
pub type NamespaceId = Id<{ Kind::RatelimitNamespace as u8 }>;
/// The id of an override of a rate limit.
pub type OverrideId = Id<{ Kind::RatelimitOverride as u8 }>;
/// The id of a role.
pub type RoleId = Id<{ Kind::Role as u8 }>;
/// The id of a root key.
pub type RootKeyId = Id<{ Kind::RootKey as u8 }>;
/// The id of a workspace.
pub type WorkspaceId = Id<{ Kind::Workspace as u8 }>;

impl<const KIND: u8> Deref for Id<KIND> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<const KIND: u8> From<String> for Id<KIND> {
    fn from(id: String) -> Self {
        Id(id)
    }
}

impl<const KIND: u8> From<Id<KIND>> for String {
    fn from(id: Id<KIND>) -> Self {
        id.0
    }
}

impl<const KIND: u8> fmt::Display for Id<KIND> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<const KIND: u8> fmt::Debug for Id<KIND> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A string, with bounds in a request.
impl<const KIND: u8> JsonSchema for Id<KIND> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("Id_{KIND}").into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = String::json_schema(generator);
        if *generator.contract() == Contract::Deserialize {
            schema.insert("minLength".to_owned(), LEAST.into());
            schema.insert("maxLength".to_owned(), MOST.into());
            schema.insert("pattern".to_owned(), PATTERN.into());
        }
        schema
    }
}
