//! What requests refer to: where in a body a thing is named, and the ways in which it can be.

use serde_json::{Value, json};

use self::Kind::{
    Api, Grant, Identity, Key, KeySpace, Log, Migration, Namespace, Permission, Role, RootKey, Workspace,
};

/// Kinds of things that requests refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An API.
    Api,
    /// What a root key may be granted about a workspace.
    Grant,
    /// An identity.
    Identity,
    /// A key.
    Key,
    /// The keys of an API.
    KeySpace,
    /// An entry of the audit log.
    Log,
    /// A migration of keys.
    Migration,
    /// A namespace of rate limits.
    Namespace,
    /// A permission of keys and roles.
    Permission,
    /// A role of keys.
    Role,
    /// A root key.
    RootKey,
    /// A workspace.
    Workspace,
}

/// Ways to name a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// The id of an identity that customers of the API chose.
    ExternalId,
    /// What Keyrack made.
    Id,
    /// What people chose.
    Name,
    /// The name of a permission that programs ask for.
    Slug,
    /// The key itself, or a whole grant.
    Text,
}

impl Kind {
    /// The ways in which a thing of this kind can be named.
    pub fn names(self) -> &'static [Name] {
        match self {
            Api | KeySpace | Log | Migration | RootKey | Workspace => &[Name::Id],
            Grant => &[Name::Text],
            Identity => &[Name::Id, Name::ExternalId],
            Key => &[Name::Id, Name::Text],
            Namespace | Role => &[Name::Id, Name::Name],
            Permission => &[Name::Id, Name::Slug],
        }
    }
}

/// A place of a request that names a thing, or that would if it were there. A name that is to be given to a thing and
/// must not belong to another one is a reference too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference {
    /// The JSON pointer of the place.
    pub at: &'static str,
    /// What is named there.
    pub kind: Kind,
    /// The member that says the same and cannot stand beside it.
    pub instead_of: Option<&'static str>,
}

impl Reference {
    const fn to(kind: Kind, at: &'static str) -> Self {
        Reference { at, kind, instead_of: None }
    }

    /// Puts a name there, with the objects and lists around it that are not there yet.
    ///
    /// # Panics
    /// When there is something else than an object or a list on the way.
    pub fn put(&self, body: &mut Value, name: &str) {
        if let (Some(other), Some(members)) = (self.instead_of, body.as_object_mut()) {
            members.remove(other);
        }
        let mut place = body;
        for step in self.at.split('/').skip(1) {
            place = match step.parse::<usize>() {
                Ok(number) => {
                    if place.is_null() {
                        *place = json!([]);
                    }
                    let items = place.as_array_mut().expect("a list");
                    if items.len() <= number {
                        items.resize(number + 1, Value::Null);
                    }
                    &mut items[number]
                }
                Err(_) => &mut place[step],
            };
        }
        *place = json!(name);
    }
}

/// What requests of an operation refer to.
pub(crate) fn references(operation: &str) -> Vec<Reference> {
    let to = Reference::to;
    match operation {
        "apis.deleteApi" | "apis.getApi" | "apis.updateApi" => vec![to(Api, "/apiId")],
        "apis.listKeys" => vec![to(Api, "/apiId"), to(Identity, "/externalId")],
        "audit.getLog" => vec![to(Log, "/logId")],
        // Other lists begin at the next thing they have, whatever thing the cursor named.
        "audit.listLogs" => {
            vec![to(Log, "/cursor"), to(RootKey, "/actorId"), to(Api, "/targetId"), to(Key, "/targetId")]
        }
        "identities.createIdentity" => vec![to(Identity, "/externalId")],
        "keys.verifyKey" => vec![
            to(Key, "/key"),
            to(KeySpace, "/keyspaces/0"),
            to(Permission, "/permissions"),
            to(Migration, "/migrationId"),
        ],
        "keys.explainKey" => vec![
            to(Key, "/keyId"),
            Reference { instead_of: Some("keyId"), ..to(Key, "/key") },
            to(KeySpace, "/keyspaces/0"),
            to(Permission, "/permissions"),
            to(RootKey, "/as"),
        ],
        "keys.listKeys" => {
            vec![to(Api, "/apiId"), to(Identity, "/identity"), to(Role, "/role"), to(Permission, "/permission")]
        }
        "keys.whoami" => vec![to(Key, "/key")],
        "workspace.updateWorkspace" => vec![to(Workspace, "/workspaceId")],
        _ => match operation.split_once('.') {
            Some(("identities", action)) if action.ends_with("Identity") => vec![to(Identity, "/identity")],
            Some(("keys", action)) => of_keys(action),
            Some(("permissions", action)) => of_permissions(action),
            Some(("ratelimit", "createNamespace")) => vec![to(Namespace, "/name")],
            Some(("ratelimit", "multiLimit")) => vec![to(Namespace, "/0/namespace")],
            Some(("ratelimit", action)) if action != "listNamespaces" => vec![to(Namespace, "/namespace")],
            Some(("rootKeys", "createKey")) => vec![to(Grant, "/permissions/0")],
            Some(("rootKeys", "updateKey")) => vec![to(RootKey, "/keyId"), to(Grant, "/permissions/0")],
            Some(("rootKeys", action)) if action != "listKeys" => vec![to(RootKey, "/keyId")],
            _ => Vec::new(),
        },
    }
}

fn of_keys(action: &str) -> Vec<Reference> {
    let to = Reference::to;
    let given = [to(Identity, "/externalId"), to(Permission, "/permissions/0"), to(Role, "/roles/0")];
    match action {
        "createKey" => [vec![to(Api, "/apiId")], given.to_vec()].concat(),
        "updateKey" => [vec![to(Key, "/keyId")], given.to_vec()].concat(),
        "migrateKeys" => vec![
            to(Api, "/apiId"),
            to(Migration, "/migrationId"),
            to(Identity, "/keys/0/externalId"),
            to(Permission, "/keys/0/permissions/0"),
            to(Role, "/keys/0/roles/0"),
        ],
        _ if action.ends_with("Permissions") => vec![to(Key, "/keyId"), to(Permission, "/permissions/0")],
        _ if action.ends_with("Roles") => vec![to(Key, "/keyId"), to(Role, "/roles/0")],
        _ => vec![to(Key, "/keyId")],
    }
}

fn of_permissions(action: &str) -> Vec<Reference> {
    let to = Reference::to;
    match action {
        "createPermission" => vec![to(Permission, "/slug")],
        "createRole" => vec![to(Role, "/name"), to(Permission, "/permissions/0")],
        "updatePermission" => vec![to(Permission, "/permission"), to(Permission, "/slug")],
        "updateRole" => vec![to(Role, "/role"), to(Role, "/name")],
        "setRolePermissions" => vec![
            to(Role, "/role"),
            Reference { instead_of: Some("role"), ..to(Role, "/roleId") },
            to(Permission, "/permissions/0"),
        ],
        _ if action.ends_with("Permission") => vec![to(Permission, "/permission")],
        _ if action.ends_with("Role") => vec![to(Role, "/role")],
        _ => Vec::new(),
    }
}
