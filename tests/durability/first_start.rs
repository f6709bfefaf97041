//! The first start on an empty database: once, whoever else starts at the same time and however often it is cut off.

use std::process::Stdio;
use std::time::Duration;

use keyrack_test_harness::{Program, Server, free_port};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use tokio::task::JoinSet;

use crate::program;

async fn workspace_of(server: &Server) -> Value {
    let overview = server.call("workspace.getOverview", json!({})).await.expect(200);
    overview.data()["workspace"].clone()
}

/// Starts several processes at the same moment and returns the workspaces they show.
async fn start_together(program: &Program) -> Vec<(Server, Value)> {
    let mut starts = JoinSet::new();
    for _ in 0..4 {
        let program = program.clone();
        starts.spawn(async move {
            let server = program.start().await;
            let workspace = workspace_of(&server).await;
            (server, workspace)
        });
    }
    starts.join_all().await
}

async fn assert_one_installation(program: Program) {
    let program = program.without_env("KEYRACK_BOOTSTRAP_ROOT_KEY");
    let started = start_together(&program).await;
    let first = &started[0];
    assert!(started.iter().all(|(_, workspace)| *workspace == first.1), "more than one workspace was made");
    let path = program.data_dir().join("root-key");
    let key = std::fs::read_to_string(path).expect("a root-key file");
    for (server, _) in &started {
        let overview = server.with_key(key.trim()).call("workspace.getOverview", json!({})).await.expect(200);
        assert_eq!(overview.data()["rootKey"]["operator"], true);
    }
}

#[tokio::test]
async fn processes_that_start_together_share_one_workspace_and_one_root_key_on_sqlite() {
    assert_one_installation(program()).await;
}

#[tokio::test]
async fn processes_that_start_together_share_one_workspace_and_one_root_key_on_postgres() {
    assert_one_installation(program().on_postgres().await).await;
}

/// Runs `keyrack serve` for that long and kills it, ready or not.
async fn start_and_kill(program: &Program, after: Duration) {
    let mut command = program.command(&["serve"]);
    command
        .env("KEYRACK_LISTEN", format!("127.0.0.1:{}", free_port()))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = command.spawn().expect("it runs");
    tokio::time::sleep(after).await;
    // Fails only when it has ended already.
    let _ = child.kill();
    child.wait().expect("it ends");
}

async fn assert_usable_after_cuts(program: Program) {
    let program = program.without_env("KEYRACK_BOOTSTRAP_ROOT_KEY");
    for milliseconds in [1, 5, 10, 15, 20, 25, 30, 40, 50, 70] {
        start_and_kill(&program, Duration::from_millis(milliseconds)).await;
    }
    let server = program.start().await;
    let key = std::fs::read_to_string(program.data_dir().join("root-key")).expect("a root-key file");
    let overview = server.with_key(key.trim()).call("workspace.getOverview", json!({})).await.expect(200);
    assert_eq!(overview.data()["rootKey"]["permissions"], json!(["*"]));
}

#[tokio::test]
async fn a_first_start_that_was_cut_off_is_completed_by_the_next_on_sqlite() {
    for _ in 0..3 {
        assert_usable_after_cuts(program()).await;
    }
}

#[tokio::test]
async fn a_first_start_that_was_cut_off_is_completed_by_the_next_on_postgres() {
    for _ in 0..3 {
        assert_usable_after_cuts(program().on_postgres().await).await;
    }
}

#[tokio::test]
async fn a_postgres_database_that_cannot_hold_every_character_stops_the_start() {
    let program = program().on_postgres().await;
    let url = program.database_url();
    let (server, name) = url.rsplit_once('/').expect("the URL names a database");
    let text =
        format!("CREATE DATABASE {name}_latin1 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
    let mut admin = PgConnection::connect(&url).await.expect("the database can be opened");
    sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut admin).await.expect("it can be created");
    let told = program.env("KEYRACK_DATABASE_URL", &format!("{server}/{name}_latin1")).start_refused().await;
    assert!(told.contains("as LATIN1") && told.contains("ENCODING 'UTF8'"), "{told}");
}
