//! `--new-root-key`: a root key with no more than a preset's permissions, for one assistant.
//!
//! For an assistant that starts `keyrack mcp` it is made over the database, which that opens too; for one that connects to
//! a server, by that server.

use anyhow::{Context as _, bail};
use clap::ArgMatches;
use keyrack_core::keys::secret::Secret;
use keyrack_core::root_keys::NewRootKey;
use keyrack_core::root_keys::presets::Preset;
use keyrack_core::setup;
use reqwest::Url;
use serde_json::{Value, json};

use crate::instance::{self, need_database, told};
use crate::remote::Remote;
use crate::settings::{self, Settings};

/// The root key to make.
#[derive(Debug)]
pub(super) struct Wanted {
    preset: &'static Preset,
    /// In the list of root keys.
    name: String,
    workspace: Option<String>,
}

/// One that was made.
#[derive(Debug)]
pub(super) struct Issued {
    pub(super) id: String,
    pub(super) secret: Secret,
}

impl Wanted {
    /// What the command line asks for.
    pub(super) fn of(matches: &ArgMatches, client: &str, name: &str) -> Option<Wanted> {
        let preset = Preset::named(matches.get_one::<String>("new-root-key")?)?;
        let workspace = matches.get_one::<String>("workspace").cloned();
        Some(Wanted { preset, name: format!("{} ({client}, {name})", preset.name), workspace })
    }

    /// What it may do, in words.
    pub(super) fn purpose(&self) -> String {
        format!("a new root key `{}`: {}", self.preset.name, self.preset.purpose)
    }

    /// Makes it over the database.
    ///
    /// # Errors
    /// When there is no database, or no such workspace.
    pub(super) async fn offline(&self, settings: &Settings) -> anyhow::Result<Issued> {
        need_database(&settings.get(&settings::DATABASE_URL)?)?;
        instance::start_log(settings)?;
        let instance = instance::open(settings).await?;
        let keyrack = &instance.keyrack;
        let issued = async {
            let workspace_id = match &self.workspace {
                Some(id) => id.clone(),
                None => setup::default_workspace(keyrack).await.map_err(told)?,
            };
            if keyrack.resident().workspace(&workspace_id).is_none() {
                bail!("--workspace: there is no workspace {workspace_id}");
            }
            let permissions = self.preset.permissions().into_iter().map(str::to_owned).collect();
            let new = NewRootKey { name: Some(self.name.clone()), permissions, operator: false, expires_at: None };
            setup::create_root_key(keyrack, &workspace_id, new).await.map_err(told)
        };
        let issued = issued.await;
        keyrack.store().close().await;
        issued.map(|(id, secret)| Issued { id, secret })
    }

    /// Has a server make it, by the root key of a caller who may.
    ///
    /// # Errors
    /// When the server is away, or refuses.
    pub(super) async fn by_server(&self, base: Url, root_key: &Secret) -> anyhow::Result<Issued> {
        let remote = Remote::new(base, root_key)?;
        let request = json!({ "name": self.name, "permissions": self.preset.permissions() });
        let mut answer = remote.call("rootKeys.createKey", &request).await?;
        if !answer.is_success() {
            let detail = answer.body.pointer("/error/detail").and_then(Value::as_str).unwrap_or("no reason");
            bail!("the server made no root key: {detail}");
        }
        let text = |value: Option<&mut Value>| match value.map(Value::take) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        };
        let id = text(answer.body.pointer_mut("/data/keyId"));
        let secret = text(answer.body.pointer_mut("/data/key"));
        let (id, secret) = id.zip(secret).context("the server answered without a root key")?;
        Ok(Issued { id, secret: Secret::from_string(secret) })
    }
}
