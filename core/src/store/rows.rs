//! Adding and removing many rows with few statements.

use std::fmt::Write as _;

use sqlx::any::{Any, AnyArguments};
use sqlx::{Arguments as _, Encode, Type};

use super::{Connection, VALUES_PER_STATEMENT, placeholders};
use crate::error::Error;

/// Values that are sent in one step.
const VALUES_PER_STEP: usize = 10 * VALUES_PER_STATEMENT;

/// Where rows go.
#[derive(Debug)]
pub enum To<'a> {
    /// Into the database, at once.
    Now(&'a mut Connection),
    /// To others, with which they are added.
    With(&'a mut Rows),
}

impl<'a> From<&'a mut Connection> for To<'a> {
    fn from(connection: &'a mut Connection) -> Self {
        To::Now(connection)
    }
}

impl<'a> From<&'a mut Rows> for To<'a> {
    fn from(rows: &'a mut Rows) -> Self {
        To::With(rows)
    }
}

/// Rows of several tables that are added together. Asking the engine for one thing more costs more than the thing,
/// so all of them go in one step: SQLite takes several statements as one text, PostgreSQL several `INSERT`s as parts
/// of one statement. Rows that others refer to go first.
#[derive(Debug, Default)]
pub struct Rows {
    steps: Vec<Step>,
}

/// Statements that are sent together; their values are numbered through.
#[derive(Default)]
struct Step {
    statements: Vec<Insert>,
    values: AnyArguments,
    count: usize,
    fault: Option<sqlx::Error>,
}

impl std::fmt::Debug for Step {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(&self.statements).finish()
    }
}

/// A statement that adds some rows to a table.
#[derive(Debug)]
struct Insert {
    /// Up to the rows.
    head: String,
    rows: usize,
    columns: usize,
    /// What follows the rows.
    conflict: &'static str,
}

impl Insert {
    fn push_to(&self, text: &mut String, before: usize, is_postgres: bool) {
        text.push_str(&self.head);
        push_rows(text, (self.rows, self.columns), before, is_postgres);
        text.push_str(self.conflict);
    }
}

/// A row whose values are being bound.
#[derive(Debug)]
pub(super) struct Row<'a>(&'a mut Step);

impl Row<'_> {
    /// The value of the next column.
    pub(super) fn bind<'t, T: Encode<'t, Any> + Type<Any>>(self, value: T) -> Self {
        if let Err(error) = self.0.values.add(value) {
            self.0.fault.get_or_insert(sqlx::Error::Encode(error));
        }
        self
    }
}

impl Rows {
    /// Has others added after these.
    pub fn append(&mut self, others: Rows) {
        self.steps.extend(others.steps);
    }

    /// Adds all of them. Nothing else is to happen in the transaction if that fails.
    ///
    /// # Errors
    /// When the store does not answer or a row must not be.
    pub async fn add(self, connection: &mut Connection) -> Result<(), sqlx::Error> {
        for step in self.steps {
            if let Some(fault) = step.fault {
                return Err(fault);
            }
            let text = step_text(&step.statements, is_postgres(connection));
            let query = sqlx::query_with(sqlx::AssertSqlSafe(text), step.values);
            query.execute(&mut *connection).await?;
        }
        Ok(())
    }

    fn insert<T>(
        &mut self,
        head: &str,
        columns: usize,
        conflict: &'static str,
        rows: &[T],
        bind: &impl for<'a> Fn(Row<'a>, &T) -> Row<'a>,
    ) {
        let count = rows.len() * columns;
        if self.steps.last().is_none_or(|step| step.count + count > VALUES_PER_STEP) {
            self.steps.push(Step::default());
        }
        let Some(step) = self.steps.last_mut() else { return };
        step.statements.push(Insert { head: head.to_owned(), rows: rows.len(), columns, conflict });
        step.count += count;
        for row in rows {
            bind(Row(step), row);
        }
    }
}

pub(super) fn is_postgres(connection: &Connection) -> bool {
    connection.backend_name() == "PostgreSQL"
}

/// Appends placeholders for rows to insert: `($1, $2), ($3, $4), …` after `before` others on PostgreSQL, and
/// `(?, ?), (?, ?), …` on SQLite, which looks a name up among all others of a statement.
pub(super) fn push_rows(text: &mut String, (rows, columns): (usize, usize), before: usize, is_postgres: bool) {
    for at in 0..rows * columns {
        text.push_str(match at % columns {
            0 if at == 0 => "(",
            0 => "), (",
            _ => ", ",
        });
        if is_postgres {
            let _ = write!(text, "${}", before + at + 1);
        } else {
            text.push('?');
        }
    }
    text.push(')');
}

fn step_text(statements: &[Insert], is_postgres: bool) -> String {
    let (mut text, mut before) = (String::new(), 0);
    for (at, statement) in statements.iter().enumerate() {
        let is_last = at + 1 == statements.len();
        let (begin, end) = match (is_postgres, at, is_last) {
            (false, 0, _) | (true, 0, true) => (String::new(), ""),
            (false, ..) => ("; ".to_owned(), ""),
            (true, 0, false) => ("WITH part0 AS (".to_owned(), ")"),
            (true, _, false) => (format!(", part{at} AS ("), ")"),
            (true, _, true) => (" ".to_owned(), ""),
        };
        text.push_str(&begin);
        statement.push_to(&mut text, before, is_postgres);
        text.push_str(end);
        before += statement.rows * statement.columns;
    }
    text
}

/// Adds rows to a table. `conflict` is what follows the rows, such as ` ON CONFLICT DO NOTHING`, or empty; `bind`
/// binds the values of a row in the order of `columns`.
///
/// # Errors
/// When the store does not answer.
pub(super) async fn insert<T>(
    to: impl Into<To<'_>>,
    table: &'static str,
    columns: &[&'static str],
    conflict: &'static str,
    rows: &[T],
    bind: impl for<'a> Fn(Row<'a>, &T) -> Row<'a>,
) -> Result<(), Error> {
    let head = format!("INSERT INTO {table} ({}) VALUES ", columns.join(", "));
    let mut alone = Rows::default();
    let (with, now) = match to.into() {
        To::With(others) => (others, None),
        To::Now(connection) => (&mut alone, Some(connection)),
    };
    for portion in rows.chunks(VALUES_PER_STATEMENT / columns.len()) {
        with.insert(&head, columns.len(), conflict, portion, &bind);
    }
    if let Some(connection) = now {
        alone.add(connection).await?;
    }
    Ok(())
}

/// Removes what `text`, which ends before `IN`, says of an owner and these ids; the owner is `$1`.
///
/// # Errors
/// When the store does not answer.
pub(super) async fn unlink(
    connection: &mut Connection,
    text: &'static str,
    owner: &str,
    ids: &[&str],
) -> Result<(), Error> {
    for portion in ids.chunks(VALUES_PER_STATEMENT) {
        let text = format!("{text} IN ({})", placeholders(2, portion.len()));
        let statement = sqlx::query(sqlx::AssertSqlSafe(text)).bind(owner.to_owned());
        let statement = portion.iter().fold(statement, |statement, id| statement.bind((*id).to_owned()));
        statement.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Locks rows in the order of their ids, before a statement changes them in an order of its own: so no two writers
/// of many rows wait for each other in a circle. SQLite has one writer at a time.
///
/// # Errors
/// When the store does not answer.
pub(super) async fn lock(
    connection: &mut Connection,
    table: &'static str,
    id: &'static str,
    ids: &mut [&str],
) -> Result<(), Error> {
    if connection.backend_name() != "PostgreSQL" {
        return Ok(());
    }
    ids.sort_unstable();
    for portion in ids.chunks(VALUES_PER_STATEMENT) {
        let these = placeholders(1, portion.len());
        let text = format!("SELECT {id} FROM {table} WHERE {id} IN ({these}) ORDER BY {id} FOR NO KEY UPDATE");
        let query = sqlx::query(sqlx::AssertSqlSafe(text));
        portion.iter().fold(query, |query, id| query.bind((*id).to_owned())).execute(&mut *connection).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(head: &str, rows: usize, columns: usize, conflict: &'static str) -> Insert {
        Insert { head: head.to_owned(), rows, columns, conflict }
    }

    #[test]
    fn a_step_is_several_statements_or_one_with_parts() {
        let statements = || vec![insert("A ", 2, 2, ""), insert("B ", 1, 1, " C"), insert("D ", 1, 2, "")];
        assert_eq!(step_text(&statements(), false), "A (?, ?), (?, ?); B (?) C; D (?, ?)");
        let parts = "WITH part0 AS (A ($1, $2), ($3, $4)), part1 AS (B ($5) C) D ($6, $7)";
        assert_eq!(step_text(&statements(), true), parts);
        assert_eq!(step_text(&statements()[..1], true), "A ($1, $2), ($3, $4)");
        assert_eq!(step_text(&[], true), "");
    }
}
