//! An import that the database breaks off between two portions: what went in stays, and the same request again brings
//! the rest.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use keyrack_test_harness::{Answer, Road, Server, Traffic, ended, fresh_postgres_database, sha256_base64};
use serde_json::{Value, json};
use sqlx::{AnyConnection, Connection as _, Row as _};

use crate::{database, program};

/// So many that there are several portions.
const KEYS: usize = 4_000;

struct Import {
    server: Server,
    body: Value,
}

impl Import {
    async fn on(server: Server) -> Import {
        let api = server.call("apis.createApi", json!({"name": "payments"})).await.expect(200).text_of("apiId");
        let line = ["migration", "create", "--algorithm", "sha256"];
        let migration = ended(&mut server.program().command(&line));
        let migration = String::from_utf8_lossy(&migration.stdout).trim().to_owned();
        let hash = |number: usize| json!({"hash": sha256_base64(&plaintext(number))});
        let keys: Vec<Value> = (0..KEYS).map(hash).collect();
        Import { server, body: json!({"migrationId": migration, "apiId": api, "keys": keys}) }
    }

    async fn run(&self) -> Answer {
        self.server.call("keys.migrateKeys", self.body.clone()).await
    }

    /// Runs it and meanwhile waits until some keys are there.
    async fn run_until_some_are_there(&self, connection: &mut AnyConnection, stop: impl AsyncFnOnce()) -> Answer {
        let stopping = async {
            let started = Instant::now();
            while stored(connection).await == 0 {
                assert!(started.elapsed() < Duration::from_secs(30), "no portion was ever stored");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            stop().await;
        };
        tokio::join!(self.run(), stopping).0
    }

    /// Repeats the request, and expects the keys that were there to be told and the others to be new.
    async fn expect_the_rest(&self, there: usize) {
        assert!(
            (1..KEYS).contains(&there),
            "{there} of {KEYS} went in: it was not broken off between two portions"
        );
        let answer = self.run().await.expect(200);
        let list = |name: &str| answer.data()[name].as_array().expect("a list").clone();
        let (failed, migrated, failures) = (list("failed"), list("migrated"), list("failures"));
        assert_eq!((failed.len(), migrated.len()), (there, KEYS - there));
        assert_eq!(failures.len(), there, "each with its reason");
        let hashes = failed.iter().chain(migrated.iter().map(|key| &key["hash"]));
        let hashes: BTreeSet<&str> = hashes.map(|hash| hash.as_str().expect("a text")).collect();
        assert_eq!(hashes.len(), KEYS, "every key is told once");
        for number in [0, KEYS / 2, KEYS - 1] {
            let verified = self.server.call("keys.verifyKey", json!({"key": plaintext(number)})).await.expect(200);
            assert_eq!(verified.data()["code"], "VALID", "{number}");
        }
    }
}

fn plaintext(number: usize) -> String {
    format!("imported-key-{number}-not-a-secret")
}

async fn stored(connection: &mut AnyConnection) -> usize {
    let row = sqlx::query("SELECT COUNT(*) AS number FROM keys").fetch_one(connection).await;
    usize::try_from(row.expect("keys can be counted").get::<i64, _>("number")).expect("a number")
}

fn expect_broken_off(answer: Answer) {
    let answer = answer.expect_error(503, "unkey/application/service_unavailable");
    assert!(answer.header("retry-after").parse::<u32>().is_ok(), "{:?}", answer.headers);
}

#[tokio::test]
async fn an_import_that_a_lock_breaks_off_goes_on_with_the_same_request() {
    let import = Import::on(program().start().await).await;
    let (mut watching, mut locking) = (database(&import.server).await, database(&import.server).await);
    let lock = async || {
        // Between two portions there is little time.
        sqlx::raw_sql("PRAGMA busy_timeout = 0").execute(&mut locking).await.expect("it can be set");
        let started = Instant::now();
        while sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut locking).await.is_err() {
            assert!(
                started.elapsed() < Duration::from_secs(30),
                "the database was never free between two portions"
            );
        }
    };
    expect_broken_off(import.run_until_some_are_there(&mut watching, lock).await);
    sqlx::raw_sql("ROLLBACK").execute(&mut locking).await.expect("it can be let go");
    locking.close().await.expect("it closes");
    let there = stored(&mut watching).await;
    import.expect_the_rest(there).await;
}

// The command line, for which the test waits, goes over the road, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_loses_its_database_goes_on_with_the_same_request() {
    let url = fresh_postgres_database().await;
    let (road, detour) = Road::to(&url).await;
    let import = Import::on(program().env("KEYRACK_DATABASE_URL", &detour).start().await).await;
    sqlx::any::install_default_drivers();
    let mut watching = AnyConnection::connect(&url).await.expect("the database can be reached");
    let stop = async || road.set(Traffic::Stops);
    let answer = import.run_until_some_are_there(&mut watching, stop).await;
    let answer = answer.expect_error(503, "unkey/application/service_unavailable");
    assert!(answer.text.contains("database"), "{}", answer.text);
    road.set(Traffic::Flows);
    // What was sent before may still be done, and the server has to find its way back.
    let started = Instant::now();
    while import.server.get("/readyz").await.status != 200 {
        assert!(started.elapsed() < Duration::from_secs(20), "{}", import.server.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let there = stored(&mut watching).await;
    import.expect_the_rest(there).await;
}
