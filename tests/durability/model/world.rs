//! What the model holds to be true: a sequential Keyrack of one workspace, and what it answers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Value, json};

use super::requests::Request;

/// The namespace of all overrides, which comes and goes.
pub(super) const NAMESPACE: &str = "model";
/// A namespace that stays, in which root keys are tried.
pub(super) const LASTING_NAMESPACE: &str = "lasting";
/// Whom the overrides are for.
pub(super) const IDENTIFIERS: [&str; 3] = ["ann", "bob", "cyd"];
/// The limit that is asked for, and counts where no override does.
pub(super) const ASKED_LIMIT: i64 = 9;
/// How many keys, and root keys, that are gone are still asked about.
const REMEMBERED: usize = 3;

/// The state of the workspace.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct World {
    /// Whether its keys may be verified from elsewhere only, by id.
    pub(super) apis: BTreeMap<String, bool>,
    pub(super) keys: BTreeMap<String, Key>,
    /// Limits by the external id.
    pub(super) identities: BTreeMap<String, Limits>,
    pub(super) permissions: BTreeSet<String>,
    /// Slugs by the name of the role.
    pub(super) roles: BTreeMap<String, BTreeSet<String>>,
    /// Whether the namespace of the overrides was deleted.
    pub(super) namespace_gone: bool,
    /// Limits by the identifier.
    pub(super) overrides: BTreeMap<String, i64>,
    pub(super) root_keys: BTreeMap<String, RootKey>,
}

type Limits = BTreeMap<String, i64>;

/// A key, also one that was deleted.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Key {
    secret: String,
    pub(super) api: String,
    name: Option<String>,
    enabled: bool,
    pub(super) expired: bool,
    identity: Option<String>,
    pub(super) permissions: BTreeSet<String>,
    pub(super) roles: BTreeSet<String>,
    limits: Limits,
    pub(super) gone: bool,
}

/// A root key, also one that was deleted.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RootKey {
    pub(super) secret: String,
    /// Whether it may do everything; else it may read APIs.
    pub(super) full: bool,
    pub(super) enabled: bool,
    pub(super) gone: bool,
}

/// A thing whose state every process shows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Thing {
    pub(super) kind: Kind,
    /// Its id, or the identifier of an override.
    pub(super) id: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Key,
    Override,
    RootKey,
}

impl fmt::Display for Thing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} {}", self.kind, self.id)
    }
}

const NOT_FOUND: u16 = 404;
const CONFLICT: u16 = 409;

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn texts(value: &Value) -> BTreeSet<String> {
    value.as_array().into_iter().flatten().map(text).collect()
}

fn limits(value: &Value) -> Limits {
    let limit = |limit: &Value| (text(&limit["name"]), limit["limit"].as_i64().unwrap_or_default());
    value.as_array().into_iter().flatten().map(limit).collect()
}

impl World {
    /// Does what a request asks for. `made` is the data of its answer; without one, what was made has no name by which
    /// it could be asked about.
    ///
    /// # Errors
    /// The status with which it is refused; nothing is changed then.
    pub(super) fn apply(&mut self, request: &Request, made: Option<&Value>) -> Result<(), u16> {
        if request.by.as_ref().is_some_and(|by| !self.root_keys[by].may_change()) {
            return Err(403);
        }
        let body = &request.body;
        match request.operation.split_once('.').map_or("", |(namespace, _)| namespace) {
            "apis" => self.apply_to_apis(request.operation, body, made),
            "keys" => self.apply_to_keys(request.operation, body, made),
            "identities" => self.apply_to_identities(request.operation, body),
            "permissions" => self.apply_to_permissions(request.operation, body),
            "ratelimit" => self.apply_to_rate_limits(request.operation, body),
            _ => self.apply_to_root_keys(request.operation, body, made),
        }
    }

    fn apply_to_apis(&mut self, operation: &str, body: &Value, made: Option<&Value>) -> Result<(), u16> {
        let id = text(&body["apiId"]);
        match operation {
            "apis.createApi" => {
                self.apis.extend(made.map(|made| (text(&made["apiId"]), false)));
            }
            "apis.updateApi" => {
                *self.apis.get_mut(&id).ok_or(NOT_FOUND)? = body["ipWhitelist"].is_array();
            }
            _ => drop(self.apis.remove(&id).ok_or(NOT_FOUND)?),
        }
        Ok(())
    }

    fn apply_to_keys(&mut self, operation: &str, body: &Value, made: Option<&Value>) -> Result<(), u16> {
        if operation == "keys.createKey" {
            let api = text(&body["apiId"]);
            self.apis.get(&api).ok_or(NOT_FOUND)?;
            let mut key = Key::new(api);
            self.fill(&mut key, body)?;
            self.keys.extend(made.map(|made| key.made(made)));
            return Ok(());
        }
        let id = text(&body["keyId"]);
        let known = self.keys.get(&id).filter(|key| !key.gone && self.apis.contains_key(&key.api));
        let mut key = known.ok_or(NOT_FOUND)?.clone();
        match operation {
            "keys.updateKey" => self.fill(&mut key, body)?,
            "keys.deleteKey" => key.gone = true,
            "keys.rerollKey" => {
                self.keys.extend(made.map(|made| key.clone().made(made)));
                key.expired = true;
            }
            _ => self.link(operation, &mut key, body)?,
        }
        self.keys.insert(id, key);
        Ok(())
    }

    /// Changes the members of a key that are there.
    fn fill(&mut self, key: &mut Key, body: &Value) -> Result<(), u16> {
        let sent = |member: &str| body.get(member);
        let roles = sent("roles").map(texts);
        self.known_roles(roles.iter().flatten())?;
        if let Some(name) = sent("name") {
            key.name = name.as_str().map(str::to_owned);
        }
        if let Some(external_id) = sent("externalId") {
            key.identity = external_id.as_str().map(str::to_owned);
            if let Some(external_id) = &key.identity {
                self.identities.entry(external_id.clone()).or_default();
            }
        }
        if let Some(permissions) = sent("permissions").map(texts) {
            self.permissions.extend(permissions.iter().cloned());
            key.permissions = permissions;
        }
        key.enabled = sent("enabled").map_or(key.enabled, |enabled| enabled == true);
        key.expired = sent("expires").map_or(key.expired, |expires| !expires.is_null());
        key.limits = sent("ratelimits").map_or_else(|| key.limits.clone(), limits);
        key.roles = roles.unwrap_or_else(|| key.roles.clone());
        Ok(())
    }

    /// Adds, removes or sets permissions or roles of a key.
    fn link(&mut self, operation: &str, key: &mut Key, body: &Value) -> Result<(), u16> {
        let (held, named) = if operation.ends_with("Roles") {
            let named = texts(&body["roles"]);
            self.known_roles(named.iter())?;
            (&mut key.roles, named)
        } else {
            let named = texts(&body["permissions"]);
            if operation == "keys.removePermissions" && !named.is_subset(&self.permissions) {
                return Err(NOT_FOUND);
            }
            self.permissions.extend(named.iter().cloned());
            (&mut key.permissions, named)
        };
        match operation.trim_start_matches("keys.") {
            add if add.starts_with("add") => held.extend(named),
            remove if remove.starts_with("remove") => held.retain(|one| !named.contains(one)),
            _ => *held = named,
        }
        Ok(())
    }

    fn known_roles<'a>(&self, mut names: impl Iterator<Item = &'a String>) -> Result<(), u16> {
        if names.all(|name| self.roles.contains_key(name)) { Ok(()) } else { Err(NOT_FOUND) }
    }

    fn apply_to_identities(&mut self, operation: &str, body: &Value) -> Result<(), u16> {
        match operation {
            "identities.createIdentity" => {
                let external_id = text(&body["externalId"]);
                if self.identities.contains_key(&external_id) {
                    return Err(CONFLICT);
                }
                self.identities.insert(external_id, limits(&body["ratelimits"]));
            }
            "identities.updateIdentity" => {
                *self.identities.get_mut(&text(&body["identity"])).ok_or(NOT_FOUND)? = limits(&body["ratelimits"]);
            }
            _ => {
                let external_id = text(&body["identity"]);
                self.identities.remove(&external_id).ok_or(NOT_FOUND)?;
                for key in self.keys.values_mut() {
                    key.identity.take_if(|identity| *identity == external_id);
                }
            }
        }
        Ok(())
    }

    fn apply_to_permissions(&mut self, operation: &str, body: &Value) -> Result<(), u16> {
        let (slug, role, slugs) = (text(&body["permission"]), text(&body["role"]), texts(&body["permissions"]));
        match operation {
            "permissions.createPermission" => {
                if !self.permissions.insert(text(&body["slug"])) {
                    return Err(CONFLICT);
                }
            }
            "permissions.deletePermission" => {
                if !self.permissions.remove(&slug) {
                    return Err(NOT_FOUND);
                }
                let of_keys = self.keys.values_mut().map(|key| &mut key.permissions);
                for held in of_keys.chain(self.roles.values_mut()) {
                    held.remove(&slug);
                }
            }
            "permissions.createRole" => {
                let name = text(&body["name"]);
                if self.roles.contains_key(&name) {
                    return Err(CONFLICT);
                }
                self.permissions.extend(slugs.iter().cloned());
                self.roles.insert(name, slugs);
            }
            "permissions.setRolePermissions" => {
                self.permissions.extend(slugs.iter().filter(|_| self.roles.contains_key(&role)).cloned());
                *self.roles.get_mut(&role).ok_or(NOT_FOUND)? = slugs;
            }
            _ => {
                self.roles.remove(&role).ok_or(NOT_FOUND)?;
                for key in self.keys.values_mut() {
                    key.roles.remove(&role);
                }
            }
        }
        Ok(())
    }

    fn apply_to_rate_limits(&mut self, operation: &str, body: &Value) -> Result<(), u16> {
        let identifier = text(&body["identifier"]);
        match operation {
            "ratelimit.createNamespace" if !self.namespace_gone => return Err(CONFLICT),
            "ratelimit.createNamespace" => self.namespace_gone = false,
            _ if self.namespace_gone => return Err(NOT_FOUND),
            "ratelimit.deleteNamespace" => {
                self.namespace_gone = true;
                self.overrides.clear();
            }
            "ratelimit.setOverride" => {
                self.overrides.insert(identifier, body["limit"].as_i64().unwrap_or_default());
            }
            _ => drop(self.overrides.remove(&identifier).ok_or(NOT_FOUND)?),
        }
        Ok(())
    }

    fn apply_to_root_keys(&mut self, operation: &str, body: &Value, made: Option<&Value>) -> Result<(), u16> {
        let is_full = |permissions: &Value| permissions[0] == "*";
        if operation == "rootKeys.createKey" {
            let full = is_full(&body["permissions"]);
            let root_key = |made: &Value| RootKey { secret: text(&made["key"]), full, enabled: true, gone: false };
            self.root_keys.extend(made.map(|made| (text(&made["keyId"]), root_key(made))));
            return Ok(());
        }
        let known = self.root_keys.get_mut(&text(&body["keyId"])).filter(|root_key| !root_key.gone);
        let root_key = known.ok_or(NOT_FOUND)?;
        root_key.gone = operation == "rootKeys.deleteKey";
        root_key.full = body.get("permissions").map_or(root_key.full, is_full);
        root_key.enabled = body.get("enabled").map_or(root_key.enabled, |enabled| enabled == true);
        Ok(())
    }

    /// Forgets things that are gone, but for a few.
    pub(super) fn forget(&mut self) {
        let gone = self.keys.iter().filter(|(_, key)| key.gone || !self.apis.contains_key(&key.api));
        let forgotten: Vec<String> = gone.map(|(id, _)| id.clone()).skip(REMEMBERED).collect();
        self.keys.retain(|id, _| !forgotten.contains(id));
        let gone = self.root_keys.iter().filter(|(_, root_key)| root_key.gone);
        let forgotten: Vec<String> = gone.map(|(id, _)| id.clone()).skip(REMEMBERED).collect();
        self.root_keys.retain(|id, _| !forgotten.contains(id));
    }

    /// Everything whose state can be asked about.
    pub(super) fn things(&self) -> Vec<Thing> {
        let thing = |kind: Kind| move |id: String| Thing { kind, id };
        let keys = self.keys.keys().cloned().map(thing(Kind::Key));
        let overrides = IDENTIFIERS.iter().map(|&id| id.to_owned()).map(thing(Kind::Override));
        let root_keys = self.root_keys.keys().cloned().map(thing(Kind::RootKey));
        keys.chain(overrides).chain(root_keys).collect()
    }

    /// The secret of a key or root key.
    pub(super) fn secret(&self, thing: &Thing) -> &str {
        match thing.kind {
            Kind::Key => &self.keys[&thing.id].secret,
            Kind::RootKey => &self.root_keys[&thing.id].secret,
            Kind::Override => "",
        }
    }

    /// What a process that knows this state shows of a thing. What is not there yet is like what is gone.
    pub(super) fn view(&self, thing: &Thing) -> Value {
        match thing.kind {
            Kind::Key => self.keys.get(&thing.id).map_or_else(not_found, |key| self.view_of_key(key)),
            Kind::Override if self.namespace_gone => json!("gone"),
            Kind::Override => json!(self.overrides.get(&thing.id).copied().unwrap_or(ASKED_LIMIT)),
            Kind::RootKey => json!(self.root_keys.get(&thing.id).map_or(UNKNOWN_ROOT_KEY, RootKey::view)),
        }
    }

    fn view_of_key(&self, key: &Key) -> Value {
        let Some(is_restricted) = self.apis.get(&key.api).filter(|_| !key.gone) else { return not_found() };
        let code = match key {
            Key { enabled: false, .. } => "DISABLED",
            Key { expired: true, .. } => "EXPIRED",
            _ if *is_restricted => "FORBIDDEN",
            _ => "VALID",
        };
        let shared = key.identity.as_ref().map(|external_id| {
            let mut limits = self.identities.get(external_id).cloned().unwrap_or_default();
            limits.retain(|name, _| !key.limits.contains_key(name));
            (external_id, limits)
        });
        let shared_limits = shared.iter().flat_map(|(_, limits)| limits);
        let mut checked: BTreeMap<&String, &i64> = key.limits.iter().chain(shared_limits).collect();
        if code != "VALID" {
            checked.clear();
        }
        let of_roles = key.roles.iter().filter_map(|role| self.roles.get(role)).flatten();
        let permissions: BTreeSet<&String> = key.permissions.iter().chain(of_roles).collect();
        json!({
            "code": code,
            "enabled": key.enabled,
            "name": key.name,
            "permissions": permissions,
            "roles": key.roles,
            "identity": shared.as_ref().map(|(external_id, limits)| json!([external_id, limits])),
            "checked": checked,
        })
    }
}

/// What is shown of a root key that does not exist.
const UNKNOWN_ROOT_KEY: &str = "unkey/authentication/key_not_found";

fn not_found() -> Value {
    json!({"code": "NOT_FOUND"})
}

/// What the answer of a verification shows, in the form of [`World::view`].
pub(super) fn shown_of_key(data: &Value) -> Value {
    if data["code"] == "NOT_FOUND" {
        return data["code"].as_str().map_or(Value::Null, |_| not_found());
    }
    let identity =
        data.get("identity").map(|identity| json!([identity["externalId"], limits(&identity["ratelimits"])]));
    json!({
        "code": data["code"],
        "enabled": data["enabled"],
        "name": data["name"],
        "permissions": texts(&data["permissions"]),
        "roles": texts(&data["roles"]),
        "identity": identity,
        "checked": limits(&data["ratelimits"]),
    })
}

impl Key {
    fn new(api: String) -> Self {
        Key {
            secret: String::new(),
            api,
            name: None,
            enabled: true,
            expired: false,
            identity: None,
            permissions: BTreeSet::new(),
            roles: BTreeSet::new(),
            limits: Limits::new(),
            gone: false,
        }
    }

    /// The key under the id and with the secret that an answer tells.
    fn made(self, made: &Value) -> (String, Key) {
        (text(&made["keyId"]), Key { secret: text(&made["key"]), ..self })
    }
}

impl RootKey {
    /// Whether it may make the changes of the model.
    pub(super) fn may_change(&self) -> bool {
        self.full && self.enabled && !self.gone
    }

    /// The code with which a request is answered that it may make only if it is full.
    fn view(&self) -> &'static str {
        match self {
            RootKey { gone: true, .. } => UNKNOWN_ROOT_KEY,
            RootKey { enabled: false, .. } => "unkey/authorization/key_disabled",
            RootKey { full: false, .. } => "unkey/authorization/insufficient_permissions",
            _ => "OK",
        }
    }
}
