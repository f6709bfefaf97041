//! Random changes, most of which the world admits.

use serde_json::{Value, json};

use super::world::{IDENTIFIERS, NAMESPACE, World};

const SLUGS: [&str; 4] = ["doc.read", "doc.write", "mail.send", "bill.pay"];
const ROLES: [&str; 3] = ["reader", "writer", "owner"];
const EXTERNAL_IDS: [&str; 3] = ["user_1", "user_2", "user_3"];
const LIMITS: [&str; 2] = ["requests", "tokens"];
const MOST_APIS: usize = 3;
const MOST_KEYS: usize = 7;
const MOST_ROOT_KEYS: usize = 4;
/// More than any test counts, so that no limit is ever reached.
const LEAST_LIMIT: u64 = 1_000_000_000;

/// Numbers that a seed decides (SplitMix64, Steele, Lea and Flood 2014).
#[derive(Debug)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 up to this one, itself excluded.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Whether something happens that happens so many times in a thousand.
    pub(super) fn permille(&mut self, chance: u64) -> bool {
        self.below(1000) < chance
    }

    pub(super) fn place(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("an index")
    }

    fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.place(all.len())].clone()
    }

    fn some_of(&mut self, all: &[&str]) -> Value {
        all.iter().filter(|_| self.permille(400)).copied().collect()
    }
}

/// A change, and who asks for it.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) operation: &'static str,
    pub(super) body: Value,
    /// The id of a root key of the world; otherwise the operator's.
    pub(super) by: Option<String>,
}

fn request(operation: &'static str, body: Value) -> Request {
    Request { operation, body, by: None }
}

/// A random change of this world.
pub(super) fn any(world: &World, random: &mut Random) -> Request {
    let request = match random.below(100) {
        0..16 => of_apis(world, random),
        16..50 => of_keys(world, random),
        50..60 => of_identities(random),
        60..78 => of_permissions(random),
        78..88 => of_rate_limits(world, random),
        _ => return of_root_keys(world, random),
    };
    let root_keys: Vec<&String> = world.root_keys.keys().collect();
    let by = (!root_keys.is_empty() && random.permille(250)).then(|| random.one_of(&root_keys).clone());
    Request { by, ..request }
}

fn of_apis(world: &World, random: &mut Random) -> Request {
    let apis: Vec<&String> = world.apis.keys().collect();
    if apis.len() < 2 || apis.len() < MOST_APIS && random.permille(400) {
        return request("apis.createApi", json!({"name": "payments"}));
    }
    let api = random.one_of(&apis);
    if random.permille(300) {
        return request("apis.deleteApi", json!({"apiId": api}));
    }
    let addresses = if random.permille(400) { json!(["203.0.113.9"]) } else { Value::Null };
    request("apis.updateApi", json!({"apiId": api, "ipWhitelist": addresses}))
}

/// Limits with these chances.
fn limits(random: &mut Random) -> Value {
    let mut limits = Vec::new();
    for name in LIMITS {
        if random.permille(400) {
            let limit = LEAST_LIMIT + random.below(1000);
            limits.push(json!({"name": name, "limit": limit, "duration": 60_000, "autoApply": true}));
        }
    }
    json!(limits)
}

/// Some members of a key, as they are sent to make or to change it.
fn members(world: &World, random: &mut Random, mut body: Value) -> Value {
    let roles: Vec<&str> = world.roles.keys().map(String::as_str).collect();
    for member in ["name", "externalId", "permissions", "roles", "enabled", "expires", "ratelimits"] {
        if random.permille(300) {
            body[member] = match member {
                "name" => json!(format!("name {}", random.below(100))),
                "externalId" => json!(random.one_of(&EXTERNAL_IDS)),
                "permissions" => random.some_of(&SLUGS),
                "roles" => random.some_of(&roles),
                "enabled" => json!(random.permille(600)),
                "expires" => json!(1),
                _ => limits(random),
            };
        }
    }
    body
}

fn of_keys(world: &World, random: &mut Random) -> Request {
    let live = |key: &super::world::Key| !key.gone && world.apis.contains_key(&key.api);
    let keys: Vec<&String> = world.keys.iter().filter(|(_, key)| live(key)).map(|(id, _)| id).collect();
    let apis: Vec<&String> = world.apis.keys().collect();
    if keys.len() < 2 || keys.len() < MOST_KEYS && random.permille(250) {
        let api = if apis.is_empty() { "api_unknown".to_owned() } else { random.one_of(&apis).clone() };
        return request("keys.createKey", members(world, random, json!({"apiId": api})));
    }
    let id = random.one_of(&keys);
    let key = &world.keys[id];
    match random.below(10) {
        0 => request("keys.deleteKey", json!({"keyId": id})),
        1 if !key.expired && keys.len() < MOST_KEYS => {
            request("keys.rerollKey", json!({"keyId": id, "expiration": 0}))
        }
        2 | 3 => {
            let operation =
                random.one_of(&["keys.addPermissions", "keys.removePermissions", "keys.setPermissions"]);
            request(operation, json!({"keyId": id, "permissions": [random.one_of(&SLUGS)]}))
        }
        4 | 5 => {
            let operation = random.one_of(&["keys.addRoles", "keys.removeRoles", "keys.setRoles"]);
            request(operation, json!({"keyId": id, "roles": [random.one_of(&ROLES)]}))
        }
        6 => request("keys.updateKey", json!({"keyId": id, "externalId": null, "name": null})),
        7 => request("keys.updateKey", json!({"keyId": id, "enabled": true, "expires": null})),
        _ => {
            let enabled = random.permille(700);
            request("keys.updateKey", members(world, random, json!({"keyId": id, "enabled": enabled})))
        }
    }
}

fn of_identities(random: &mut Random) -> Request {
    let (external_id, limits) = (random.one_of(&EXTERNAL_IDS), limits(random));
    match random.below(4) {
        0 => request("identities.createIdentity", json!({"externalId": external_id, "ratelimits": limits})),
        1 => request("identities.deleteIdentity", json!({"identity": external_id})),
        _ => request("identities.updateIdentity", json!({"identity": external_id, "ratelimits": limits})),
    }
}

fn of_permissions(random: &mut Random) -> Request {
    let (slug, role, slugs) = (random.one_of(&SLUGS), random.one_of(&ROLES), random.some_of(&SLUGS));
    match random.below(6) {
        0 => request("permissions.createPermission", json!({"name": slug, "slug": slug})),
        1 => request("permissions.deletePermission", json!({"permission": slug})),
        2 => request("permissions.createRole", json!({"name": role, "permissions": slugs})),
        3 => request("permissions.deleteRole", json!({"role": role})),
        _ => request("permissions.setRolePermissions", json!({"role": role, "permissions": slugs})),
    }
}

fn of_rate_limits(world: &World, random: &mut Random) -> Request {
    match random.below(10) {
        0 => return request("ratelimit.deleteNamespace", json!({"namespace": NAMESPACE})),
        // It is seldom gone for long, or there would be few overrides.
        1 => return request("ratelimit.createNamespace", json!({"name": NAMESPACE})),
        2..5 if world.namespace_gone => return request("ratelimit.createNamespace", json!({"name": NAMESPACE})),
        _ => {}
    }
    let mut body = json!({"namespace": NAMESPACE, "identifier": random.one_of(&IDENTIFIERS)});
    if random.permille(300) {
        return request("ratelimit.deleteOverride", body);
    }
    body["limit"] = json!(10 + random.below(1000));
    body["duration"] = json!(60_000);
    request("ratelimit.setOverride", body)
}

fn of_root_keys(world: &World, random: &mut Random) -> Request {
    let live: Vec<&String> =
        world.root_keys.iter().filter(|(_, root_key)| !root_key.gone).map(|(id, _)| id).collect();
    let permissions = if random.permille(600) { json!(["*"]) } else { json!(["api.*.read_api"]) };
    if live.is_empty() || live.len() < MOST_ROOT_KEYS && random.permille(350) {
        return request("rootKeys.createKey", json!({"permissions": permissions}));
    }
    let id = random.one_of(&live);
    match random.below(4) {
        0 => request("rootKeys.deleteKey", json!({"keyId": id})),
        1 => request("rootKeys.updateKey", json!({"keyId": id, "permissions": permissions})),
        _ => request("rootKeys.updateKey", json!({"keyId": id, "enabled": random.permille(600)})),
    }
}
