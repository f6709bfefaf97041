//! Where a database is, and which engine it is of.

use std::fmt;
use std::path::PathBuf;

/// Where the data is.
#[derive(Clone, PartialEq, Eq)]
pub enum Location {
    /// A SQLite file.
    Sqlite(PathBuf),
    /// A PostgreSQL connection URL, which may hold a password: never print it.
    Postgres(String),
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label())
    }
}

impl Location {
    /// Reads `sqlite://PATH` or `postgres://…`.
    ///
    /// # Errors
    /// Says which forms are known.
    pub fn parse(url: &str) -> Result<Location, String> {
        if let Some(path) = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:")) {
            if path.is_empty() || path.starts_with(":memory:") || path.contains(['?', '#']) {
                return Err("a SQLite database is a file: write `sqlite:///path/to/keyrack.db`".to_owned());
            }
            return Ok(Location::Sqlite(PathBuf::from(path)));
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Location::Postgres(url.to_owned()));
        }
        Err("unknown kind of database: write `sqlite://PATH` or `postgres://USER@HOST/NAME`".to_owned())
    }

    /// For people: the file, or the server and database without user and password.
    pub fn label(&self) -> String {
        match self {
            Location::Sqlite(path) => format!("SQLite, {}", path.display()),
            Location::Postgres(url) => {
                let after_user = url.rsplit_once('@').map_or_else(
                    || url.split_once("://").map_or(url.as_str(), |(_, rest)| rest),
                    |(_, rest)| rest,
                );
                format!("PostgreSQL, {}", after_user.split('?').next().unwrap_or_default())
            }
        }
    }
}

/// Which engine answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// SQLite, embedded.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}
