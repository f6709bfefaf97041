//! Chance against what lies in the data folder: rows of the database, the counts of rate limits, the settings file.
//! Whatever is damaged, the program starts or says what it cannot read, and what was not damaged works on.

use std::collections::BTreeMap;

use keyrack_test_harness::fuzz::rounds;
use keyrack_test_harness::{Answer, Server, ended};
use serde_json::json;
use sqlx::{Connection as _, Row as _, SqliteConnection};

use crate::program;

/// Tables of which a row of the first customer may be damaged without an end to all work, the column by which that
/// row is found, and whose id stands there.
const ROWS: [(&str, &str, &str); 20] = [
    ("workspaces", "id", "workspace"),
    ("root_keys", "id", "root key"),
    ("apis", "id", "API"),
    ("identities", "id", "identity"),
    ("keys", "id", "key"),
    ("credits", "key_id", "key"),
    ("ratelimits", "key_id", "key"),
    ("ratelimits", "identity_id", "identity"),
    ("permissions", "id", "permission"),
    ("roles", "id", "role"),
    ("key_permissions", "key_id", "key"),
    ("key_roles", "key_id", "key"),
    ("role_permissions", "role_id", "role"),
    ("ratelimit_namespaces", "id", "namespace"),
    ("ratelimit_overrides", "id", "override"),
    ("key_migrations", "id", "migration"),
    ("changes", "workspace_id", "workspace"),
    ("audit_logs", "workspace_id", "workspace"),
    ("audit_targets", "workspace_id", "workspace"),
    ("audit_heads", "workspace_id", "workspace"),
];
const VALUES: [&str; 10] =
    ["NULL", "''", "'x'", "-1", "0", "9223372036854775807", "1.5", "x'ff00fe'", "','", "'{'"];

/// Two customers with all that can belong to a key; the second one is there to be left alone.
struct Scene {
    server: Server,
    keys: Vec<String>,
    root_keys: Vec<String>,
    /// Ids of what the first one has, and of another workspace.
    ids: BTreeMap<&'static str, String>,
}

impl Scene {
    async fn new() -> Scene {
        let server = program().start().await;
        let (mut keys, mut root_keys, mut ids) = (Vec::new(), Vec::new(), BTreeMap::new());
        for name in ["second", "first"] {
            let api = server.call("apis.createApi", json!({"name": name})).await.expect(200).text_of("apiId");
            let limits = json!([{"name": "all", "limit": 100, "duration": 60_000, "autoApply": true}]);
            let meta = json!({"plan": name});
            let identity = json!({"externalId": name, "meta": meta, "ratelimits": limits});
            let identity = server.call("identities.createIdentity", identity).await.expect(200);
            let slug = format!("{name}.read");
            let permission = json!({"name": name, "slug": slug});
            let permission = server.call("permissions.createPermission", permission).await.expect(200);
            let role = server.call("permissions.createRole", json!({"name": name})).await.expect(200);
            let held = json!({"role": name, "permissions": [slug]});
            server.call("permissions.setRolePermissions", held).await.expect(200);
            let key = json!({
                "apiId": api, "externalId": name, "meta": meta, "permissions": [slug],
                "roles": [name], "credits": {"remaining": 1000}, "ratelimits": limits,
            });
            let key = server.call("keys.createKey", key).await.expect(200);
            let limit = json!({"namespace": name, "identifier": "a", "limit": 5, "duration": 60_000});
            server.call("ratelimit.limit", limit).await.expect(200);
            let rule = json!({"namespace": name, "identifier": "a*", "limit": 5, "duration": 60_000});
            let rule = server.call("ratelimit.setOverride", rule).await.expect(200);
            let root_key = json!({"name": name, "permissions": ["*"]});
            let root_key = server.call("rootKeys.createKey", root_key).await.expect(200);
            keys.push(key.text_of("key"));
            root_keys.push(root_key.text_of("key"));
            ids = BTreeMap::from([
                ("API", api),
                ("identity", identity.text_of("identityId")),
                ("key", key.text_of("keyId")),
                ("permission", permission.text_of("permissionId")),
                ("role", role.text_of("roleId")),
                ("override", rule.text_of("overrideId")),
                ("root key", root_key.text_of("keyId")),
            ]);
        }
        let other = server.call("workspace.createWorkspace", json!({"name": "other"})).await.expect(200);
        ids.insert("workspace", other.text_of("workspaceId"));
        let migration = ["migration", "create", "--algorithm", "sha256"];
        let migration = ended(&mut server.program().command(&migration));
        ids.insert("migration", String::from_utf8_lossy(&migration.stdout).trim().to_owned());
        let namespaces = server.call("ratelimit.listNamespaces", json!({})).await.expect(200);
        let namespaces = namespaces.data().as_array().expect("a list").clone();
        let namespace = namespaces.iter().find(|namespace| namespace["name"] == "first").expect("it is listed");
        ids.insert("namespace", namespace["id"].as_str().expect("an id").to_owned());
        Scene { server, keys, root_keys, ids }
    }

    /// Overwrites a column of a row with something else; what the database itself refuses is no damage. Says what was
    /// done.
    async fn damage(&self, database: &mut SqliteConnection, row: usize, column: usize, value: &str) -> String {
        let (table, by, whose) = ROWS[row % ROWS.len()];
        let columns = sqlx::query(sqlx::AssertSqlSafe(format!("SELECT name FROM pragma_table_info('{table}')")));
        let columns = columns.fetch_all(&mut *database).await.expect("the table is there");
        let column: String = columns[column % columns.len()].get(0);
        let text = format!("UPDATE {table} SET {column} = {value} WHERE {by} = '{}'", self.ids[whose]);
        match sqlx::query(sqlx::AssertSqlSafe(text.clone())).execute(database).await {
            Ok(done) => format!("{text}: {}", done.rows_affected()),
            Err(error) => format!("{text}: refused: {error}"),
        }
    }

    async fn database(&self) -> SqliteConnection {
        let file = self.server.data_dir().join("keyrack.db");
        let url = format!("sqlite://{}", file.display());
        let mut database = SqliteConnection::connect(&url).await.expect("the database can be opened");
        // Of what a row refers to, nothing is left, either.
        sqlx::query("PRAGMA foreign_keys = OFF").execute(&mut database).await.expect("it can be set");
        database
    }

    /// Starts the server again, and expects that only what was damaged is affected.
    async fn expect_the_second_to_go_on(&self, damage: &[String]) {
        let mut server = self.server.program().start().await;
        let damage = damage.join("\n");
        let first = server.call("keys.verifyKey", json!({"key": self.keys[1]})).await;
        assert!([200, 500, 503].contains(&first.status), "{damage}: {}", first.text);
        let is_well =
            |answer: &Answer| assert_eq!(answer.status, 200, "{damage}\n{}\n{}", answer.text, server.log());
        for root_key in [server.root_key(), &self.root_keys[0]] {
            let second = server.with_key(root_key).call("keys.verifyKey", json!({"key": self.keys[0]})).await;
            is_well(&second);
            assert_eq!(second.data()["code"], "VALID", "{damage}: {}\n{}", second.text, server.log());
        }
        let limit = json!({"namespace": "second", "identifier": "b", "limit": 5, "duration": 60_000});
        let changes = [
            ("ratelimit.limit", limit),
            ("apis.createApi", json!({"name": "another"})),
            (
                "keys.updateCredits",
                json!({"keyId": self.second_key(&server).await, "operation": "set", "value": 1000}),
            ),
        ];
        for (operation, body) in changes {
            is_well(&server.call(operation, body).await);
        }
        for operation in LISTS {
            server.call(operation, json!({})).await;
        }
        assert!(server.is_running() && !server.log().contains("panicked"), "{damage}: {}", server.log());
    }

    /// The id of the second customer's key.
    async fn second_key(&self, server: &Server) -> String {
        let known = server.call("keys.whoami", json!({"key": self.keys[0]})).await.expect(200);
        known.text_of("keyId")
    }
}

const LISTS: [&str; 8] = [
    "apis.listApis",
    "identities.listIdentities",
    "ratelimit.listNamespaces",
    "permissions.listPermissions",
    "permissions.listRoles",
    "rootKeys.listKeys",
    "audit.listLogs",
    "workspace.listWorkspaces",
];

/// Column by column: in each round one of every table is damaged, in the next ones with other values.
#[tokio::test]
async fn whatever_column_is_damaged_costs_what_its_rows_describe_and_nothing_else() {
    const MOST_COLUMNS: usize = 18;
    let mut scene = Scene::new().await;
    scene.server.kill();
    let mut database = scene.database().await;
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut database).await.expect("it can be done");
    database.close().await.expect("it closes");
    let file = scene.server.data_dir().join("keyrack.db");
    let whole = std::fs::read(&file).expect("the file can be read");
    for round in 0..3 * MOST_COLUMNS {
        std::fs::write(&file, &whole).expect("the file can be written");
        for beside in ["keyrack.db-wal", "keyrack.db-shm"] {
            let _ = std::fs::remove_file(file.with_file_name(beside));
        }
        let mut database = scene.database().await;
        let mut damage = Vec::new();
        for row in 0..ROWS.len() {
            let value = VALUES[(row + round) % VALUES.len()];
            damage.push(scene.damage(&mut database, row, round % MOST_COLUMNS, value).await);
        }
        database.close().await.expect("it closes");
        scene.expect_the_second_to_go_on(&damage).await;
    }
}

#[tokio::test]
async fn a_damaged_row_costs_what_it_describes_and_nothing_else() {
    for mut chance in rounds("stored rows") {
        let mut scene = Scene::new().await;
        scene.server.kill();
        let mut database = scene.database().await;
        let mut damage = Vec::new();
        for _ in 0..=chance.below(3) {
            let (row, column, value) = (chance.below(ROWS.len()), chance.below(100), *chance.one(&VALUES));
            damage.push(scene.damage(&mut database, row, column, value).await);
        }
        database.close().await.expect("it closes");
        scene.expect_the_second_to_go_on(&damage).await;
    }
}

#[tokio::test]
async fn damaged_counts_of_rate_limits_stop_no_start() {
    let program = program();
    let mut server = program.start().await;
    let limit = json!({"namespace": "mail", "identifier": "a", "limit": 10, "duration": 2_592_000_000_u64});
    server.call("ratelimit.limit", limit.clone()).await.expect(200);
    server.signal("TERM");
    assert!(server.wait_for_exit(std::time::Duration::from_secs(40)).await.success());
    let file = server.data_dir().join("ratelimit-counters");
    let whole = std::fs::read(&file).expect("the counts are there");
    for mut chance in rounds("counters file") {
        let mut bytes = whole.clone();
        chance.damage(&mut bytes);
        std::fs::write(&file, &bytes).expect("it can be written");
        let server = program.start().await;
        server.call("ratelimit.limit", limit.clone()).await.expect(200);
        assert!(!server.log().contains("panicked"), "{}", server.log());
    }
}

#[tokio::test]
async fn a_damaged_settings_file_is_read_or_refused_with_its_name() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("keyrack.toml");
    let whole = "listen = '127.0.0.1:9001'\ndrain_seconds = 7\nlog = \"info\"\nmcp_calls_per_minute = 0\n";
    let program = program().env("KEYRACK_CONFIG", &file.display().to_string());
    for mut chance in rounds("settings file") {
        let mut bytes = whole.as_bytes().to_vec();
        chance.damage(&mut bytes);
        std::fs::write(&file, &bytes).expect("it can be written");
        // It reads its settings and then finds that there is no server.
        let done = ended(&mut program.command(&["api", "apis", "list-apis"]));
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(
            matches!(done.status.code(), Some(1..=9)),
            "{:?}: {}: {said}",
            String::from_utf8_lossy(&bytes),
            done.status
        );
        assert!(!said.contains("panicked"), "{:?}: {said}", String::from_utf8_lossy(&bytes));
    }
}
