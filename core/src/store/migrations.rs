//! The steps that bring the tables up to date, one file per step and engine.

use std::borrow::Cow;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{AnyPool, SqlSafeStr as _};

use super::Engine;
use crate::error::{Code, Error};

/// Version, description, and the step for SQLite and for PostgreSQL.
const STEPS: &[(i64, &str, &str, &str)] = &[
    (
        1,
        "foundation",
        include_str!("migrations/sqlite/0001_foundation.sql"),
        include_str!("migrations/postgres/0001_foundation.sql"),
    ),
    (
        2,
        "key migrations",
        include_str!("migrations/sqlite/0002_key_migrations.sql"),
        include_str!("migrations/postgres/0002_key_migrations.sql"),
    ),
    (
        3,
        "identity indexes",
        include_str!("migrations/sqlite/0003_identity_indexes.sql"),
        include_str!("migrations/postgres/0003_identity_indexes.sql"),
    ),
    (
        6,
        "vault",
        include_str!("migrations/sqlite/0006_vault.sql"),
        include_str!("migrations/postgres/0006_vault.sql"),
    ),
    (
        7,
        "upkeep",
        include_str!("migrations/sqlite/0007_upkeep.sql"),
        include_str!("migrations/postgres/0007_upkeep.sql"),
    ),
    (
        9,
        "usage",
        include_str!("migrations/sqlite/0009_usage.sql"),
        include_str!("migrations/postgres/0009_usage.sql"),
    ),
    (
        10,
        "audit",
        include_str!("migrations/sqlite/0010_audit.sql"),
        include_str!("migrations/postgres/0010_audit.sql"),
    ),
    (
        11,
        "rerolls",
        include_str!("migrations/sqlite/0011_rerolls.sql"),
        include_str!("migrations/postgres/0011_rerolls.sql"),
    ),
    (
        12,
        "override patterns",
        include_str!("migrations/sqlite/0012_override_patterns.sql"),
        include_str!("migrations/postgres/0012_override_patterns.sql"),
    ),
    (
        15,
        "data keys",
        include_str!("migrations/sqlite/0015_data_keys.sql"),
        include_str!("migrations/postgres/0015_data_keys.sql"),
    ),
    (
        16,
        "clustered",
        include_str!("migrations/sqlite/0016_clustered.sql"),
        include_str!("migrations/postgres/0016_clustered.sql"),
    ),
    (
        17,
        "texts of keys",
        include_str!("migrations/sqlite/0017_texts_of_keys.sql"),
        include_str!("migrations/postgres/0017_texts_of_keys.sql"),
    ),
    (
        18,
        "lists of keys",
        include_str!("migrations/sqlite/0018_lists_of_keys.sql"),
        include_str!("migrations/postgres/0018_lists_of_keys.sql"),
    ),
    (
        19,
        "confirmations",
        include_str!("migrations/sqlite/0019_confirmations.sql"),
        include_str!("migrations/postgres/0019_confirmations.sql"),
    ),
    (
        20,
        "claims",
        include_str!("migrations/sqlite/0020_claims.sql"),
        include_str!("migrations/postgres/0020_claims.sql"),
    ),
];

/// The versions of all steps, oldest first.
pub(super) fn versions() -> Vec<i64> {
    STEPS.iter().map(|(version, ..)| *version).collect()
}

/// All steps as they are for SQLite, oldest first.
pub(super) fn sqlite_steps() -> impl Iterator<Item = &'static str> {
    STEPS.iter().map(|(_, _, sqlite, _)| *sqlite)
}

/// Runs the steps that have not run yet, each in a transaction.
pub(super) async fn run(pool: &AnyPool, engine: Engine) -> Result<(), Error> {
    let steps = STEPS.iter().map(|(version, description, sqlite, postgres)| {
        let text = match engine {
            Engine::Sqlite => *sqlite,
            Engine::Postgres => *postgres,
        };
        Migration::new(*version, Cow::Borrowed(*description), MigrationType::Simple, text.into_sql_str(), false)
    });
    let migrator = Migrator::with_migrations(steps.collect());
    migrator.run(pool).await.map_err(|error| {
        let reason = match &error {
            MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _) => start_fault(cause),
            MigrateError::VersionMissing(_) => {
                "it was written by a newer Keyrack; use that version or a newer one".to_owned()
            }
            other => other.to_string(),
        };
        Error::new(
            Code::ServiceUnavailable,
            format!("The database's tables cannot be brought up to date: {reason}."),
        )
    })
}

/// Why a database cannot be used, for whoever starts the program: where the reason tells little, with what to do.
pub(super) fn start_fault(error: &sqlx::Error) -> String {
    match error.as_database_error().and_then(|error| error.code()).as_deref() {
        // A prepared statement that another session has, or that this one does not.
        Some("26000" | "42P05") => format!(
            "{error}. A pooler such as PgBouncer in transaction mode stands before it; connect to PostgreSQL itself, or \
             to a pooler in session mode"
        ),
        Some("11" | "26") => format!("{error}. The file is damaged; `keyrack restore FILE` puts a backup back"),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use sqlx::Connection as _;

    use super::*;

    /// Steps that say for one engine how it stores what the other stores in its own way.
    const STORED_OTHERWISE: [i64; 2] = [16, 17];

    /// Tables with their columns, and indexes, as the steps up to one make them on SQLite.
    fn shape(up_to: i64) -> Vec<String> {
        let schema = rusqlite::Connection::open_in_memory().unwrap();
        for (_, _, step, _) in STEPS.iter().filter(|step| step.0 <= up_to) {
            schema.execute_batch(step).unwrap();
        }
        let text = "SELECT t.name || ' ' || c.name || ' ' || c.type || ' ' || c.pk || ' ' || \
                    COALESCE(c.dflt_value, '-') FROM sqlite_master t, pragma_table_info(t.name) c WHERE t.type = 'table' \
                    UNION ALL SELECT sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL \
                    UNION ALL SELECT t.name || ' ' || f.\"from\" || ' ' || f.\"table\" FROM sqlite_master t, \
                    pragma_foreign_key_list(t.name) f WHERE t.type = 'table' ORDER BY 1";
        let mut statement = schema.prepare(text).unwrap();
        statement.query_map((), |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn how_tables_are_stored_changes_nothing_of_what_they_hold() {
        for step in STORED_OTHERWISE {
            assert_eq!(shape(step), shape(step - 1), "step {step}");
        }
    }

    #[tokio::test]
    async fn what_a_pooler_makes_of_prepared_statements_names_the_pooler() {
        let url = keyrack_test_harness::fresh_postgres_database().await;
        let mut connection = sqlx::postgres::PgConnection::connect(&url).await.unwrap();
        // What a session says that did not prepare the statement, and one in which another client prepared it.
        sqlx::raw_sql("PREPARE taken AS SELECT 1").execute(&mut connection).await.unwrap();
        for (text, code) in [("EXECUTE unknown", "26000"), ("PREPARE taken AS SELECT 1", "42P05")] {
            let error = sqlx::raw_sql(text).execute(&mut connection).await.unwrap_err();
            assert_eq!(error.as_database_error().and_then(|error| error.code()).as_deref(), Some(code));
            let told = start_fault(&error);
            assert!(told.contains("PgBouncer") && told.contains("session mode"), "{told}");
        }
        let other = sqlx::raw_sql("SELECT nothing").execute(&mut connection).await.unwrap_err();
        assert_eq!(start_fault(&other), other.to_string());
    }

    #[tokio::test]
    async fn a_damaged_file_names_the_way_back_to_a_backup() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keyrack.db");
        let whole = rusqlite::Connection::open(&path).unwrap();
        whole.execute_batch("CREATE TABLE facts (name TEXT); INSERT INTO facts VALUES ('a')").unwrap();
        drop(whole);
        let bytes = std::fs::read(&path).unwrap();
        // The name that a file begins with, and the first page behind it.
        for (from, to, code) in [(0, 16, "26"), (100, 4096, "11")] {
            let mut damaged = bytes.clone();
            damaged[from..to].fill(0xa5);
            std::fs::write(&path, damaged).unwrap();
            let url = format!("sqlite://{}", path.display());
            let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
            let error = sqlx::raw_sql("SELECT * FROM facts").execute(&mut connection).await.unwrap_err();
            assert_eq!(error.as_database_error().and_then(|error| error.code()).as_deref(), Some(code));
            let told = start_fault(&error);
            assert!(told.contains("The file is damaged") && told.contains("keyrack restore FILE"), "{told}");
        }
    }

    #[test]
    fn both_engines_have_the_same_tables() {
        for (version, _, sqlite, postgres) in STEPS.iter().filter(|step| !STORED_OTHERWISE.contains(&step.0)) {
            assert_eq!(*sqlite, postgres.replace(" COLLATE \"C\"", ""), "step {version}");
        }
    }
}
