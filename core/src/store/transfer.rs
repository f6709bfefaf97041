//! Everything of one database into another, of whichever engines.
//!
//! What there is to copy is read from the steps that make the tables, so that no table and no column is forgotten.
//! The source is read in one transaction and the target is written in one: what arrives is of one moment, and all of
//! it or nothing.

use futures_util::TryStreamExt as _;
use rusqlite::Connection as Sqlite;
use sqlx::any::AnyRow;
use sqlx::{Connection as _, Row as _};

use super::rows::{is_postgres, push_rows};
use super::{Connection, Engine, Store, migrations};
use crate::error::{Code, Error};

/// Values that one statement inserts at most.
const VALUES_PER_INSERT: usize = 5000;

/// A table, and what its columns hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: String,
    columns: Vec<Column>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Column {
    name: String,
    is_text: bool,
}

/// All tables, each after those that its rows refer to.
///
/// # Errors
/// When the steps that make the tables cannot be run.
pub fn tables() -> Result<Vec<Table>, Error> {
    let read = || {
        let schema = Sqlite::open_in_memory()?;
        for step in migrations::sqlite_steps() {
            schema.execute_batch(step)?;
        }
        let named = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
                     ORDER BY name";
        let mut left = texts(&schema, named, None)?;
        let mut ordered: Vec<Table> = Vec::new();
        while !left.is_empty() {
            let (known, mut waiting) = (ordered.len(), Vec::new());
            for name in left.drain(..) {
                let refers = texts(&schema, "SELECT \"table\" FROM pragma_foreign_key_list($1)", Some(&name))?;
                let is_known = |other: &String| *other == name || ordered.iter().any(|table| table.name == *other);
                if refers.iter().all(is_known) {
                    let columns = columns(&schema, &name)?;
                    ordered.push(Table { name, columns });
                } else {
                    waiting.push(name);
                }
            }
            if ordered.len() == known {
                return Ok(Err(format!("these tables refer to each other: {}", waiting.join(", "))));
            }
            left = waiting;
        }
        Ok::<_, rusqlite::Error>(Ok(ordered))
    };
    read().map_err(Error::unexpected)?.map_err(Error::unexpected)
}

fn texts(schema: &Sqlite, text: &str, of: Option<&str>) -> Result<Vec<String>, rusqlite::Error> {
    let mut statement = schema.prepare(text)?;
    let found: Result<Vec<String>, _> = match of {
        Some(of) => statement.query_map([of], |row| row.get(0))?.collect(),
        None => statement.query_map((), |row| row.get(0))?.collect(),
    };
    found
}

fn columns(schema: &Sqlite, table: &str) -> Result<Vec<Column>, rusqlite::Error> {
    let mut statement = schema.prepare("SELECT name, type FROM pragma_table_info($1) ORDER BY cid")?;
    let column = |row: &rusqlite::Row<'_>| {
        Ok(Column { name: row.get(0)?, is_text: row.get::<_, String>(1)?.eq_ignore_ascii_case("TEXT") })
    };
    let found: Result<Vec<Column>, _> = statement.query_map([table], column)?.collect();
    found
}

/// Copies every row of `source` into `target`, which must be empty: how many. `progress` hears of each table how many
/// rows were copied so far.
///
/// # Errors
/// When the target is not empty, or one of them does not answer; then the target stays empty.
pub async fn copy(source: &Store, target: &Store, mut progress: impl FnMut(&str, u64)) -> Result<u64, Error> {
    let tables = tables()?;
    let mut from = source.read().await?;
    let begin = match source.engine() {
        Engine::Sqlite => "BEGIN",
        Engine::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    };
    let mut from = from.begin_with(begin).await?;
    let mut to = target.write().await?;
    for table in &tables {
        refuse_filled(&mut to, table).await?;
    }
    let mut copied = 0;
    for table in &tables {
        copied += copy_table(&mut from, &mut to, table, &mut progress).await?;
    }
    to.commit().await?;
    Ok(copied)
}

async fn refuse_filled(target: &mut Connection, table: &Table) -> Result<(), Error> {
    let text = format!("SELECT 1 FROM {} LIMIT 1", table.name);
    match sqlx::query(sqlx::AssertSqlSafe(text)).fetch_optional(target).await? {
        None => Ok(()),
        Some(_) => Err(Error::new(
            Code::PreconditionFailed,
            format!(
                "The target is not empty: it has rows in `{}`. Name a database that holds nothing.",
                table.name
            ),
        )),
    }
}

async fn copy_table(
    from: &mut Connection,
    to: &mut Connection,
    table: &Table,
    progress: &mut impl FnMut(&str, u64),
) -> Result<u64, Error> {
    let names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
    let select = format!("SELECT {} FROM {}", names.join(", "), table.name);
    let mut rows = sqlx::query(sqlx::AssertSqlSafe(select)).fetch(from);
    let most = (VALUES_PER_INSERT / names.len()).max(1);
    let (mut portion, mut copied) = (Vec::with_capacity(most), 0);
    while let Some(row) = rows.try_next().await? {
        portion.push(row);
        if portion.len() == most {
            copied += insert(to, table, &names, &mut portion).await?;
            progress(&table.name, copied);
        }
    }
    copied += insert(to, table, &names, &mut portion).await?;
    progress(&table.name, copied);
    Ok(copied)
}

async fn insert(
    to: &mut Connection,
    table: &Table,
    names: &[&str],
    portion: &mut Vec<AnyRow>,
) -> Result<u64, Error> {
    if portion.is_empty() {
        return Ok(0);
    }
    let mut text = format!("INSERT INTO {} ({}) VALUES ", table.name, names.join(", "));
    push_rows(&mut text, (portion.len(), names.len()), 0, is_postgres(to));
    let mut query = sqlx::query(sqlx::AssertSqlSafe(text));
    for row in portion.drain(..) {
        for column in &table.columns {
            query = if column.is_text {
                query.bind(row.try_get::<Option<String>, _>(column.name.as_str())?)
            } else {
                query.bind(row.try_get::<Option<i64>, _>(column.name.as_str())?)
            };
        }
    }
    Ok(query.execute(to).await?.rows_affected())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_copied_after_those_that_its_rows_refer_to() {
        let names: Vec<String> = tables().unwrap().into_iter().map(|table| table.name).collect();
        let made: usize =
            migrations::sqlite_steps().map(|step| step.matches("CREATE TABLE").count()).sum::<usize>()
                - migrations::sqlite_steps().map(|step| step.matches("DROP TABLE").count()).sum::<usize>();
        assert_eq!(names.len(), made, "{names:?}");
        let place = |name: &str| names.iter().position(|known| known == name).unwrap();
        for (parent, child) in
            [("workspaces", "keys"), ("apis", "keys"), ("keys", "credits"), ("roles", "key_roles")]
        {
            assert!(place(parent) < place(child), "{parent} comes after {child}");
        }
    }
}
