//! The database behind servers, looked at and made to fail from outside.

use std::collections::BTreeMap;

use crate::Server;
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _, Row as _};

/// Columns that are written in the background.
const BACKGROUND: [&str; 1] = ["last_used_at"];
/// A table that is.
const BACKGROUND_TABLE: &str = "usage_hours";

/// All rows of all tables, as text.
pub type Dump = BTreeMap<String, Vec<String>>;

/// A connection to a database of the program.
#[derive(Debug)]
pub struct Database {
    connection: AnyConnection,
    is_postgres: bool,
    /// Reads the rows of all tables.
    query: String,
}

/// Where a change is made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The change feed refuses its row.
    ChangeFeed,
    /// The audit log refuses its row.
    AuditLog,
    /// Everything is written, and the commit itself fails.
    Commit,
    /// A balance cannot be changed.
    Credits,
}

impl Database {
    /// The database of a server.
    pub async fn of(server: &Server) -> Self {
        Database::at(&server.program().database_url()).await
    }

    /// The database of a connection URL.
    pub async fn at(url: &str) -> Self {
        sqlx::any::install_default_drivers();
        let connection = AnyConnection::connect(url).await.expect("the database can be opened");
        Database { connection, is_postgres: url.starts_with("postgres"), query: String::new() }
    }

    async fn texts(&mut self, query: String) -> Vec<String> {
        let rows = sqlx::query(AssertSqlSafe(query)).fetch_all(&mut self.connection).await;
        rows.expect("the query works").iter().map(|row| row.get(0)).collect()
    }

    /// Executes statements, behind the back of the program.
    pub async fn execute(&mut self, statement: &str) {
        let done = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut self.connection).await;
        done.unwrap_or_else(|fault| panic!("{statement}: {fault}"));
    }

    /// Every row of every table of the program.
    pub async fn dump(&mut self) -> Dump {
        if self.query.is_empty() {
            self.query = self.query_of_all_tables().await;
        }
        let mut dump = Dump::new();
        let rows = sqlx::query(AssertSqlSafe(self.query.clone())).fetch_all(&mut self.connection).await;
        for row in rows.expect("every table can be read") {
            dump.entry(row.get(0)).or_default().push(row.get(1));
        }
        dump
    }

    /// One query for the rows of all tables, each with the name of its table.
    async fn query_of_all_tables(&mut self) -> String {
        let (tables, columns, array) = if self.is_postgres {
            (
                "SELECT CAST(tablename AS TEXT) FROM pg_tables WHERE schemaname = 'public'",
                "SELECT CAST(column_name AS TEXT) FROM information_schema.columns WHERE table_name = 'TABLE'",
                "json_build_array",
            )
        } else {
            (
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~'",
                "SELECT name FROM pragma_table_info('TABLE')",
                "json_array",
            )
        };
        let mut queries = Vec::new();
        // A name with `_` in front belongs to the migrations or to a fault.
        let tables = self.texts(tables.to_owned()).await.into_iter();
        for table in tables.filter(|table| !table.starts_with('_') && table != BACKGROUND_TABLE) {
            let columns = self.texts(columns.replace("TABLE", &table)).await;
            let columns: Vec<String> =
                columns.into_iter().filter(|column| !BACKGROUND.contains(&column.as_str())).collect();
            let array = format!("{array}({})", columns.join(", "));
            // What the program tries with whether it can write goes at once.
            let kept = if table == "facts" { " WHERE name <> 'room'" } else { "" };
            queries.push(format!("SELECT '{table}' AS name, CAST({array} AS TEXT) AS content FROM {table}{kept}"));
        }
        assert!(queries.len() > 10, "only {} tables were found", queries.len());
        format!("{} ORDER BY name, content", queries.join(" UNION ALL "))
    }

    /// Makes every change fail there until [`Database::mend`].
    pub async fn break_at(&mut self, fault: Fault) {
        let raise = if self.is_postgres {
            self.execute(
                "CREATE OR REPLACE FUNCTION _fault() RETURNS trigger LANGUAGE plpgsql AS \
                 $$ BEGIN RAISE EXCEPTION 'a fault of the test'; END $$",
            )
            .await;
            "FOR EACH ROW EXECUTE FUNCTION _fault()"
        } else {
            "BEGIN SELECT RAISE(ABORT, 'a fault of the test'); END"
        };
        let statement = match fault {
            Fault::ChangeFeed => format!("CREATE TRIGGER _fault BEFORE INSERT ON changes {raise}"),
            Fault::AuditLog => format!("CREATE TRIGGER _fault BEFORE INSERT ON audit_logs {raise}"),
            Fault::Credits => format!("CREATE TRIGGER _fault BEFORE UPDATE ON credits {raise}"),
            Fault::Commit if self.is_postgres => format!(
                "CREATE CONSTRAINT TRIGGER _fault AFTER INSERT ON audit_logs DEFERRABLE INITIALLY DEFERRED {raise}"
            ),
            Fault::Commit => {
                // A row that refers to nothing is found out by the commit.
                self.execute(
                    "CREATE TABLE IF NOT EXISTS _nothing (id TEXT PRIMARY KEY); \
                     CREATE TABLE IF NOT EXISTS _dangling \
                     (id TEXT REFERENCES _nothing (id) DEFERRABLE INITIALLY DEFERRED)",
                )
                .await;
                "CREATE TRIGGER _fault AFTER INSERT ON audit_logs BEGIN INSERT INTO _dangling VALUES ('x'); END"
                    .to_owned()
            }
        };
        self.execute(&statement).await;
    }

    /// Takes the fault away.
    pub async fn mend(&mut self, fault: Fault) {
        let table = match fault {
            Fault::ChangeFeed => "changes",
            Fault::AuditLog | Fault::Commit => "audit_logs",
            Fault::Credits => "credits",
        };
        let of_table = if self.is_postgres { format!(" ON {table}") } else { String::new() };
        self.execute(&format!("DROP TRIGGER _fault{of_table}")).await;
    }
}

/// How many events the audit logs have.
pub fn event_count(dump: &Dump) -> usize {
    dump.get("audit_logs").map_or(0, Vec::len)
}

/// The tables in which two dumps differ.
pub fn differing<'a>(one: &'a Dump, other: &'a Dump) -> Vec<&'a String> {
    one.keys().chain(other.keys()).filter(|table| one.get(*table) != other.get(*table)).collect()
}
