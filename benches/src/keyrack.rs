//! Keyrack with its data: made once through its own API, multiplied by the seeder, started when needed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::load::Target;
use crate::seed::{key_id, key_text, seed};
use crate::server::{ROOT_KEY, Server, free_port, mortal};
use crate::settings::Settings;

/// The permission that verifications ask for.
pub(crate) const PERMISSION: &str = "documents.read";
/// A limit or balance that no run reaches.
pub(crate) const PLENTY: u64 = 1_000_000_000;
/// The window of limits in ms.
pub(crate) const WINDOW_MS: u64 = 60_000;

/// How many different keys or identifiers a load asks for.
const ASKED: u32 = 10_000;

/// What the keys of a database have, besides a name, a permission and a role with another one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Population {
    pub(crate) keys: u32,
    /// A limit of their own that applies by itself.
    pub(crate) limited: bool,
    /// A balance.
    pub(crate) credits: bool,
    /// Every tenth key an identity and `meta`.
    pub(crate) owned: bool,
}

impl Population {
    /// The keys that the hot path is measured with.
    pub(crate) const HOT: Population = Population { keys: ASKED, limited: true, credits: false, owned: false };

    /// The keys that a large database is made of.
    pub(crate) const fn many(keys: u32) -> Population {
        Population { keys, limited: false, credits: false, owned: true }
    }
}

/// A database that was filled.
#[derive(Debug)]
pub(crate) struct Database {
    name: String,
    folder: PathBuf,
    pub(crate) api_id: String,
    population: Population,
}

/// The databases of this run by name: several sections use the large ones.
#[derive(Debug, Default)]
pub(crate) struct Databases(RefCell<HashMap<String, Rc<Database>>>);

impl Databases {
    /// The database with this name, filled with `population` when it is first asked for.
    pub(crate) fn get(&self, settings: &Settings, name: &str, population: Population) -> Result<Rc<Database>> {
        if let Some(known) = self.0.borrow().get(name) {
            return Ok(known.clone());
        }
        eprintln!("  preparing the database {name}: {} keys", population.keys);
        let made = Rc::new(Database::make(settings, name, population).context("preparing a database")?);
        self.0.borrow_mut().insert(name.to_owned(), made.clone());
        Ok(made)
    }
}

impl Database {
    fn make(settings: &Settings, name: &str, population: Population) -> Result<Database> {
        let folder = settings.scratch.join(name);
        let mut database = Database { name: name.to_owned(), folder, api_id: String::new(), population };
        let server = database.start(settings, &[])?;
        database.api_id = asked(&server, "apis.createApi", &json!({"name": "bench"}), "/data/apiId")?;
        let role = json!({"name": "editor"});
        asked(&server, "permissions.createRole", &role, "/data/roleId")?;
        let body = json!({"name": "documents.list", "slug": "documents.list"});
        asked(&server, "permissions.createPermission", &body, "/data/permissionId")?;
        let body = json!({"role": "editor", "permissions": ["documents.list"]});
        server.post("/v2/permissions.setRolePermissions", &body.to_string())?;
        let key = population.template(&database.api_id);
        let template_id = asked(&server, "keys.createKey", &key, "/data/keyId")?;
        drop(server);
        seed(&database.folder.join("keyrack.db"), &template_id, population.keys)?;
        Ok(database)
    }

    /// Where it is.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its SQLite file.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.join("keyrack.db")
    }

    /// Starts `keyrack serve` on it, with these settings besides.
    pub(crate) fn start(&self, settings: &Settings, environment: &[(&str, &str)]) -> Result<Server> {
        let port = free_port()?;
        let mut command = mortal(&settings.keyrack);
        command
            .arg("serve")
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &settings.scratch)
            .env("KEYRACK_DATA_DIR", &self.folder)
            .env("KEYRACK_LISTEN", format!("127.0.0.1:{port}"))
            // Requests are counted all the same; only the listener is off, which has one address for all.
            .env("KEYRACK_METRICS_LISTEN", "")
            .env("KEYRACK_BOOTSTRAP_ROOT_KEY", ROOT_KEY)
            .envs(environment.iter().copied());
        Server::start(command, port, "/readyz", &settings.scratch.join(format!("{}.log", self.name)))
    }

    /// Verifications of its keys, spread over all of them, in an order without pattern.
    pub(crate) fn verifications(&self, settings: &Settings) -> Result<Target> {
        let bodies: Vec<_> = self.asked_keys().into_iter().map(|number| verification(&key_text(number))).collect();
        Target::new(settings, &format!("{}-verify", self.name), "/v2/keys.verifyKey", "/data/valid", &bodies)
    }

    /// Full pages of 100 keys, from anywhere in the list.
    pub(crate) fn pages(&self, settings: &Settings) -> Result<Target> {
        let mut starts: Vec<_> = self.asked_keys().into_iter().map(key_id).collect();
        starts.sort();
        // The last pages are short.
        starts.truncate(starts.len() * 9 / 10);
        fastrand::Rng::with_seed(4).shuffle(&mut starts);
        let body = |start| json!({"apiId": self.api_id, "limit": 100, "cursor": start}).to_string();
        let bodies: Vec<_> = starts.into_iter().map(body).collect();
        Target::new(settings, &format!("{}-pages", self.name), "/v2/apis.listKeys", "/data", &bodies)
    }

    fn asked_keys(&self) -> Vec<u32> {
        let step = (self.population.keys / ASKED).max(1);
        let mut numbers: Vec<_> = (0..self.population.keys).step_by(step as usize).collect();
        fastrand::Rng::with_seed(4).shuffle(&mut numbers);
        numbers
    }
}

impl Population {
    /// The body that makes a key that all others are copies of.
    fn template(self, api_id: &str) -> Value {
        let mut key =
            json!({"apiId": api_id, "name": "Template", "permissions": [PERMISSION], "roles": ["editor"]});
        if self.limited {
            key["ratelimits"] =
                json!([{"name": "requests", "limit": PLENTY, "duration": WINDOW_MS, "autoApply": true}]);
        }
        if self.credits {
            key["credits"] = json!({"remaining": PLENTY});
        }
        if self.owned {
            key["externalId"] = json!("user_template");
            key["meta"] = json!({"plan": "team", "seats": 12});
        }
        key
    }
}

/// The body of a verification.
pub(crate) fn verification(key: &str) -> String {
    json!({"key": key, "permissions": PERMISSION}).to_string()
}

/// A text in the answer of an operation.
fn asked(server: &Server, operation: &str, body: &Value, pointer: &str) -> Result<String> {
    let answer = server.post(&format!("/v2/{operation}"), &body.to_string())?;
    let text = answer.pointer(pointer).and_then(Value::as_str);
    text.map(str::to_owned).with_context(|| format!("{operation} answered {answer}"))
}

/// Whether `keyrack serve` knows a flag: settings may be younger than these benchmarks.
pub(crate) fn knows_flag(keyrack: &Path, flag: &str) -> Result<bool> {
    let help = Command::new(keyrack).args(["serve", "--help"]).output().context("cannot run keyrack")?;
    Ok(String::from_utf8_lossy(&help.stdout).contains(flag))
}

/// Standalone limits of many identifiers.
pub(crate) fn limits(settings: &Settings) -> Result<Target> {
    let body = |number: u32| {
        json!({"namespace": "bench", "identifier": format!("user_{number}"), "limit": PLENTY, "duration": WINDOW_MS})
            .to_string()
    };
    let bodies: Vec<_> = (0..ASKED).map(body).collect();
    Target::new(settings, "limits", "/v2/ratelimit.limit", "/data/success", &bodies)
}
