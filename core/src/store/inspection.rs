//! Looking at a database without changing anything, not even its tables.

use sqlx::{Connection as _, Row as _};

use super::{Connection, Location, Only, encrypted_keys, file, migrations, root_keys};
use crate::calendar::UnixMs;
use crate::error::{Code, Error};
use crate::keys::secret::KeyHash;

/// How far the tables of a database are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// There is no table of ours; the first start makes them.
    Empty,
    /// As many steps as this are to be done; a start does them.
    Behind(usize),
    /// As this program wants it.
    Ready,
    /// A newer program has been here.
    Ahead,
}

/// What a database says of a root key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It may be used.
    Usable,
    /// It is there and disabled.
    Disabled,
    /// It is there and has expired.
    Expired,
    /// It is not there, or was deleted.
    Unknown,
}

/// A database that is looked at.
#[derive(Debug)]
pub struct Inspection(Connection);

impl Inspection {
    /// Connects to a database; `None` for a file that does not exist.
    ///
    /// # Errors
    /// When it cannot be reached or is no database.
    pub async fn open(location: &Location) -> Result<Option<Inspection>, Error> {
        sqlx::any::install_default_drivers();
        let url = match location {
            Location::Sqlite(path) if !path.exists() => return Ok(None),
            Location::Sqlite(path) => file::url(path, "ro"),
            Location::Postgres(url) => url.clone(),
        };
        let mut connection = Connection::connect(&url).await?;
        if let Location::Postgres(_) = location {
            check_encoding(&encoding(&mut connection).await?, location)?;
        }
        if let Location::Sqlite(_) = location {
            // The first statement that reads the file finds out whether it is one.
            sqlx::query("PRAGMA schema_version").fetch_one(&mut connection).await?;
        }
        Ok(Some(Inspection(connection)))
    }

    /// How far its tables are.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn condition(&mut self) -> Result<Condition, Error> {
        let rows = sqlx::query("SELECT version FROM _sqlx_migrations WHERE success").fetch_all(&mut self.0).await;
        let rows = match rows {
            Ok(rows) => rows,
            Err(sqlx::Error::Database(error)) if is_missing_table(&*error) => return Ok(Condition::Empty),
            Err(error) => return Err(error.into()),
        };
        let done: Vec<i64> = rows.iter().map(|row| row.try_get("version")).collect::<Result<_, _>>()?;
        let known = migrations::versions();
        if done.iter().any(|version| !known.contains(version)) {
            return Ok(Condition::Ahead);
        }
        let missing = known.iter().filter(|version| !done.contains(version)).count();
        Ok(if missing == 0 { Condition::Ready } else { Condition::Behind(missing) })
    }

    /// When the newest entry of the audit log was written.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn newest_entry(&mut self) -> Result<Option<UnixMs>, Error> {
        let row = sqlx::query("SELECT MAX(time) AS newest FROM audit_logs").fetch_one(&mut self.0).await?;
        Ok(row.try_get("newest")?)
    }

    /// The ids of the master keys that its data keys need, each once; a database from before there were any has none.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn master_keys_needed(&mut self) -> Result<Vec<String>, Error> {
        let mut ids: Vec<String> = match encrypted_keys::data_keys(&mut self.0).await {
            Ok(data_keys) => data_keys.into_iter().map(|data_key| data_key.master_key_id).collect(),
            // Tables that are behind are another line's matter.
            Err(error) if error.code() != Code::ServiceUnavailable => Vec::new(),
            Err(error) => return Err(error),
        };
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    /// What it says of a root key.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn standing(&mut self, hash: KeyHash, now: UnixMs) -> Result<Standing, Error> {
        let hash = hash.to_base64();
        let known = root_keys::live(&mut self.0, Only::All).await?.into_iter().find(|key| key.hash == hash);
        Ok(match known {
            None => Standing::Unknown,
            Some(key) if !key.enabled => Standing::Disabled,
            Some(key) if key.expires_at.is_some_and(|expires_at| now > expires_at) => Standing::Expired,
            Some(_) => Standing::Usable,
        })
    }
}

/// How a PostgreSQL database encodes texts.
pub(super) async fn encoding(connection: &mut Connection) -> Result<String, sqlx::Error> {
    sqlx::query_scalar("SELECT current_setting('server_encoding')").fetch_one(connection).await
}

/// Checks that a PostgreSQL database keeps every text: in another encoding than UTF-8 some requests would fail later.
///
/// # Errors
/// Says what to do instead.
pub(super) fn check_encoding(encoding: &str, location: &Location) -> Result<(), Error> {
    if encoding == "UTF8" {
        return Ok(());
    }
    let text = format!(
        "The database ({}) stores texts as {encoding}, which cannot hold every character. Create one with \
         `CREATE DATABASE keyrack ENCODING 'UTF8' TEMPLATE template0`.",
        location.label()
    );
    Err(Error::new(Code::ServiceUnavailable, text))
}

fn is_missing_table(error: &dyn sqlx::error::DatabaseError) -> bool {
    // PostgreSQL has a code for it, SQLite only words.
    error.code().as_deref() == Some("42P01") || error.message().starts_with("no such table")
}
