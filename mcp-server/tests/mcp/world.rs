//! A Keyrack on a temporary SQLite file, and root keys for it.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use keyrack_core::Keyrack;
use keyrack_core::caller::{Origin, Via};
use keyrack_core::catalogue::run;
use keyrack_core::clock::Clock;
use keyrack_core::keyrack::Options;
use keyrack_core::keys::secret::Secret;
use keyrack_core::operations::workspace::CreateWorkspace;
use keyrack_core::root_keys::NewRootKey;
use keyrack_core::setup;
use keyrack_core::store::Location;
use keyrack_core::vault::{MasterKey, Vault};
use keyrack_mcp_server::Catalogue;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A Keyrack of its own.
pub(crate) struct World {
    pub(crate) keyrack: Keyrack,
    pub(crate) workspace_id: String,
    folder: TempDir,
}

impl World {
    /// An empty one, set up.
    pub(crate) async fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        let keyrack = open(&folder).await;
        assert!(setup::first_start(&keyrack, None, |_| Ok(())).await.unwrap());
        let workspace_id = setup::default_workspace(&keyrack).await.unwrap();
        World { keyrack, workspace_id, folder }
    }

    /// The same, where plaintexts can be stored.
    pub(crate) async fn with_vault() -> World {
        let folder = tempfile::tempdir().unwrap();
        let text = secret("AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=");
        let vault = Vault::new(MasterKey::parse(&text).unwrap(), None);
        let options = Options { vault: Some(vault), ..Options::default() };
        let location = Location::Sqlite(folder.path().join("keyrack.db"));
        let keyrack = Keyrack::open_with(&location, Clock::system(), options).await.unwrap();
        assert!(setup::first_start(&keyrack, None, |_| Ok(())).await.unwrap());
        let workspace_id = setup::default_workspace(&keyrack).await.unwrap();
        World { keyrack, workspace_id, folder }
    }

    /// Where its database is.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Changes the database under a Keyrack and opens it anew.
    pub(crate) async fn changed(self, statement: &'static str) -> World {
        let mut transaction = self.keyrack.store().write().await.unwrap();
        sqlx::query(statement).execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
        World { keyrack: open(&self.folder).await, ..self }
    }

    /// The actors of an event of the audit log, as stored.
    pub(crate) async fn actors_of(&self, event: &str) -> Vec<Value> {
        let mut connection = self.keyrack.store().read().await.unwrap();
        let actors: Vec<String> = sqlx::query_scalar("SELECT actor FROM audit_logs WHERE event = $1")
            .bind(event.to_owned())
            .fetch_all(&mut *connection)
            .await
            .unwrap();
        actors.iter().map(|actor| serde_json::from_str(actor).unwrap()).collect()
    }

    /// The text of a new root key.
    pub(crate) async fn root_key(&self, permissions: &[&str]) -> String {
        self.new_root_key(permissions, false).await
    }

    async fn new_root_key(&self, permissions: &[&str], operator: bool) -> String {
        let new = NewRootKey {
            name: None,
            permissions: permissions.iter().map(|permission| (*permission).to_owned()).collect(),
            operator,
            expires_at: None,
        };
        let (_, secret) = setup::create_root_key(&self.keyrack, &self.workspace_id, new).await.unwrap();
        secret.expose().to_owned()
    }

    /// The text of a root key that may do everything in another workspace.
    pub(crate) async fn root_key_elsewhere(&self) -> String {
        let operator = self.new_root_key(&["*"], true).await;
        let caller = self.keyrack.authenticate(&operator, Origin::local(Via::Mcp)).unwrap();
        let made = run::<CreateWorkspace>(&self.keyrack, caller, json!({ "name": "Elsewhere" })).await.unwrap();
        let made = serde_json::to_value(made.data).unwrap();
        made["rootKey"].as_str().unwrap().to_owned()
    }
}

async fn open(folder: &TempDir) -> Keyrack {
    let location = Location::Sqlite(folder.path().join("keyrack.db"));
    Keyrack::open(&location, Clock::system()).await.unwrap()
}

/// A root key as the server takes it.
pub(crate) fn secret(text: &str) -> Secret {
    Secret::from_string(text.to_owned())
}

/// The catalogue of all tests.
pub(crate) fn catalogue() -> &'static Arc<Catalogue> {
    static CATALOGUE: LazyLock<Arc<Catalogue>> = LazyLock::new(|| Arc::new(Catalogue::new()));
    &CATALOGUE
}
