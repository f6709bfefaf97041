//! Keys by what is known of them, in an order, page by page.
//!
//! A page looks at a bounded number of rows. Filters that an index serves are asked first, for the ids of all keys that
//! could pass: where those are few, they are read and sorted. Else keys are read in their order, those that pass are
//! kept, and a page that is not full after [`MOST_LOOKED_AT`] rows says where to read on. Both ways give the same keys in
//! the same order, so a page may be read in one and the next in the other.

use std::collections::HashSet;

use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::calendar::{Calendar, UnixMs};
use crate::error::Error;
use crate::store::{Connection, VALUES_PER_STATEMENT, flag, placeholders, refills};

/// How many rows are looked at for one page.
pub const MOST_LOOKED_AT: usize = 3000;
/// Rows that are read at once after the first that might fill a page.
const PORTION: usize = 500;
/// Behind every id.
const LAST_ID: &str = "~";
/// Behind every other character.
const LAST_CHARACTER: char = '\u{10ffff}';

/// In which order keys come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// By when they were made.
    Created,
    /// By when they expire; those that never do are left out.
    Expires,
}

/// What becomes of a key that is verified: the first of these that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It is disabled.
    Disabled,
    /// It has expired.
    Expired,
    /// Nothing of its balance is left.
    NoCredits,
    /// None of these.
    Works,
}

/// Times from one on and before another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// The first.
    pub from: Option<UnixMs>,
    /// The first that is too late.
    pub before: Option<UnixMs>,
}

impl Span {
    fn has(&self, time: UnixMs) -> bool {
        self.from.is_none_or(|from| from <= time) && self.before.is_none_or(|before| time < before)
    }

    fn is_set(&self) -> bool {
        *self != Span::default()
    }
}

/// Which keys are wanted. Absent filters let every key pass.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Of this workspace.
    pub workspace_id: &'a str,
    /// Of this API.
    pub api_id: Option<&'a str>,
    /// Of this identity.
    pub identity_id: Option<&'a str>,
    /// With this role.
    pub role_id: Option<&'a str>,
    /// With this permission, themselves or through a role.
    pub permission_id: Option<&'a str>,
    /// With this id, or whose name in any case, first characters or external id begin so; empty for all.
    pub search: &'a str,
    /// In this state.
    pub status: Option<Status>,
    /// That were made then.
    pub created: Span,
    /// That expire then.
    pub expires: Span,
    /// That were not used since then, nor made.
    pub unused_since: Option<UnixMs>,
    /// Whether their plaintext is stored.
    pub recoverable: Option<bool>,
    /// Whether they were imported and not used yet.
    pub waiting: Option<bool>,
    /// In this order.
    pub order: Order,
    /// The other way round.
    pub descending: bool,
    /// When it is asked.
    pub now: UnixMs,
}

/// Where a key is in an order: what it is ordered by, then its id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Unix ms.
    pub time: UnixMs,
    /// `key_…`
    pub id: String,
}

/// Keys that pass, in their order.
#[derive(Debug)]
pub struct Searched {
    /// Their ids.
    pub ids: Vec<String>,
    /// Where the next page begins, if there may be more.
    pub next: Option<Position>,
}

/// What is looked at of a key.
struct Row {
    id: String,
    api_id: String,
    name: Option<String>,
    start: String,
    identity_id: Option<String>,
    external_id: Option<String>,
    enabled: bool,
    expires_at: Option<UnixMs>,
    last_used_at: Option<UnixMs>,
    created_at: UnixMs,
    is_waiting: bool,
    is_recoverable: bool,
}

/// Joins that leave no key out and add none, so that keys are read in the order of their own index.
const ROWS: &str = "SELECT k.id, k.api_id, k.name, k.start, k.identity_id, i.external_id, k.enabled, k.expires_at, \
                    k.last_used_at, k.created_at, k.pending_migration_id, e.key_id AS recoverable FROM keys k \
                    LEFT JOIN identities i ON i.id = k.identity_id AND i.deleted_at IS NULL \
                    LEFT JOIN encrypted_keys e ON e.key_id = k.id WHERE k.deleted_at IS NULL";

fn read(row: &AnyRow) -> Result<Row, sqlx::Error> {
    Ok(Row {
        id: row.try_get("id")?,
        api_id: row.try_get("api_id")?,
        name: row.try_get("name")?,
        start: row.try_get("start")?,
        identity_id: row.try_get("identity_id")?,
        external_id: row.try_get("external_id")?,
        enabled: flag(row, "enabled")?,
        expires_at: row.try_get("expires_at")?,
        last_used_at: row.try_get("last_used_at")?,
        created_at: row.try_get("created_at")?,
        is_waiting: row.try_get::<Option<String>, _>("pending_migration_id")?.is_some(),
        is_recoverable: row.try_get::<Option<String>, _>("recoverable")?.is_some(),
    })
}

/// A page of the keys that pass and whose API `may_see` lets through, from a position on.
///
/// # Errors
/// When the store does not answer.
pub async fn search(
    connection: &mut Connection,
    wanted: &Wanted<'_>,
    from: Option<Position>,
    count: usize,
    may_see: &mut (dyn FnMut(&str) -> bool + Send),
) -> Result<Searched, Error> {
    let Some(ids) = wanted.few(connection).await? else {
        return wanted.in_order(connection, from, count, may_see).await;
    };
    let mut rows = Vec::new();
    for portion in ids.chunks(VALUES_PER_STATEMENT) {
        let these = placeholders(2, portion.len());
        let text = format!("{ROWS} AND k.workspace_id = $1 AND k.id IN ({these})");
        let query = sqlx::query(sqlx::AssertSqlSafe(text)).bind(wanted.workspace_id.to_owned());
        let query = portion.iter().fold(query, |query, id| query.bind(id.clone()));
        for row in query.fetch_all(&mut *connection).await? {
            rows.push(read(&row)?);
        }
    }
    let mut passing = wanted.passing(connection, rows, may_see).await?;
    if let Some(from) = from {
        passing.retain(|position| if wanted.descending { *position <= from } else { *position >= from });
    }
    passing.sort_unstable();
    if wanted.descending {
        passing.reverse();
    }
    Ok(page_of(passing, count, None))
}

/// A page of what was found, of which there is more behind `rest`.
fn page_of(mut found: Vec<Position>, count: usize, rest: Option<Position>) -> Searched {
    let next = found.get(count).cloned().or(rest);
    found.truncate(count);
    Searched { ids: found.into_iter().map(|position| position.id).collect(), next }
}

impl Wanted<'_> {
    fn position(&self, row: &Row) -> Option<Position> {
        let time = match self.order {
            Order::Created => Some(row.created_at),
            Order::Expires => row.expires_at,
        };
        time.map(|time| Position { time, id: row.id.clone() })
    }

    /// Reads keys in their order until the page is full or enough were looked at.
    async fn in_order(
        &self,
        connection: &mut Connection,
        from: Option<Position>,
        count: usize,
        may_see: &mut (dyn FnMut(&str) -> bool + Send),
    ) -> Result<Searched, Error> {
        let (mut found, mut looked, mut at) = (Vec::new(), 0, self.begin(from));
        loop {
            let portion = if looked == 0 { count + 1 } else { PORTION.min(MOST_LOOKED_AT - looked) };
            let mut rows = self.rows_from(connection, &at, portion + 1).await?;
            // One more, which says where to read on.
            let after = if rows.len() > portion { rows.pop().and_then(|row| self.position(&row)) } else { None };
            looked += rows.len();
            found.extend(self.passing(connection, rows, may_see).await?);
            match after {
                Some(after) if found.len() <= count && looked < MOST_LOOKED_AT => at = after,
                after => return Ok(page_of(found, count, after)),
            }
        }
    }

    /// The first position that is looked at.
    fn begin(&self, from: Option<Position>) -> Position {
        let span = self.span();
        if self.descending {
            let last = span.before.map_or(UnixMs::new(i64::MAX), |before| before.minus(1));
            let last = Position { time: last, id: LAST_ID.to_owned() };
            from.map_or(last.clone(), |from| from.min(last))
        } else {
            let first = Position { time: span.from.unwrap_or(UnixMs::new(i64::MIN)), id: String::new() };
            from.map_or(first.clone(), |from| from.max(first))
        }
    }

    /// The span of the times that keys are ordered by.
    fn span(&self) -> Span {
        match self.order {
            Order::Created => self.created,
            Order::Expires => self.expires,
        }
    }

    async fn rows_from(
        &self,
        connection: &mut Connection,
        at: &Position,
        count: usize,
    ) -> Result<Vec<Row>, Error> {
        let (time, is_there) = match self.order {
            Order::Created => ("k.created_at", ""),
            Order::Expires => ("k.expires_at", " AND k.expires_at IS NOT NULL"),
        };
        let (owner, owner_id) = match self.api_id.filter(|_| self.order == Order::Created) {
            Some(api_id) => ("k.api_id", api_id),
            None => ("k.workspace_id", self.workspace_id),
        };
        let span = self.span();
        let (way, begins, ends, end) = if self.descending {
            ("DESC", "<=", ">=", span.from.unwrap_or(UnixMs::new(i64::MIN)))
        } else {
            ("ASC", ">=", "<", span.before.unwrap_or(UnixMs::new(i64::MAX)))
        };
        let text = format!(
            "{ROWS} AND {owner} = $1{is_there} AND ({time}, k.id) {begins} ($2, $3) AND {time} {ends} $4 \
             ORDER BY {time} {way}, k.id {way} LIMIT $5"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(text))
            .bind(owner_id.to_owned())
            .bind(at.time)
            .bind(at.id.clone())
            .bind(end)
            .bind(i64::try_from(count).unwrap_or(i64::MAX))
            .fetch_all(connection)
            .await?;
        Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
    }

    /// The positions of those of these keys that pass, in their order.
    async fn passing(
        &self,
        connection: &mut Connection,
        mut rows: Vec<Row>,
        may_see: &mut (dyn FnMut(&str) -> bool + Send),
    ) -> Result<Vec<Position>, Error> {
        rows.retain(|row| self.passes(row) && may_see(&row.api_id));
        if matches!(self.status, Some(Status::Works | Status::NoCredits)) {
            let empty = with_empty_balance(connection, &rows, self.now).await?;
            let wants_empty = self.status == Some(Status::NoCredits);
            rows.retain(|row| empty.contains(&row.id) == wants_empty);
        }
        if let Some(role_id) = self.role_id {
            let text = "SELECT key_id AS id FROM key_roles WHERE role_id = $1 AND key_id";
            let having = among(connection, text, role_id, &rows).await?;
            rows.retain(|row| having.contains(&row.id));
        }
        if let Some(permission_id) = self.permission_id {
            let mut having = HashSet::new();
            for text in [
                "SELECT key_id AS id FROM key_permissions WHERE permission_id = $1 AND key_id",
                "SELECT l.key_id AS id FROM key_roles l JOIN role_permissions r ON r.role_id = l.role_id \
                 WHERE r.permission_id = $1 AND l.key_id",
            ] {
                having.extend(among(connection, text, permission_id, &rows).await?);
            }
            rows.retain(|row| having.contains(&row.id));
        }
        Ok(rows.iter().filter_map(|row| self.position(row)).collect())
    }

    /// Whether a key passes all filters that its row alone decides.
    fn passes(&self, row: &Row) -> bool {
        let has_expired = row.expires_at.is_some_and(|expires_at| expires_at < self.now);
        let is_in_state = match self.status {
            None => true,
            Some(Status::Disabled) => !row.enabled,
            Some(Status::Expired) => row.enabled && has_expired,
            Some(Status::Works | Status::NoCredits) => row.enabled && !has_expired,
        };
        let is_unused = |since| row.last_used_at.is_none_or(|used| used < since) && row.created_at < since;
        is_in_state
            && self.api_id.is_none_or(|api_id| row.api_id == api_id)
            && self.identity_id.is_none_or(|id| row.identity_id.as_deref() == Some(id))
            && self.created.has(row.created_at)
            && (!self.expires.is_set() || row.expires_at.is_some_and(|expires_at| self.expires.has(expires_at)))
            && self.unused_since.is_none_or(is_unused)
            && self.recoverable.is_none_or(|wanted| row.is_recoverable == wanted)
            && self.waiting.is_none_or(|wanted| row.is_waiting == wanted)
            && (self.search.is_empty() || self.is_found(row))
    }

    fn is_found(&self, row: &Row) -> bool {
        let begins = |text: &Option<String>| text.as_deref().is_some_and(|text| text.starts_with(self.search));
        let is_named = |name: &String| lower(name).starts_with(&lower(self.search));
        row.id == self.search
            || row.start.starts_with(self.search)
            || begins(&row.external_id)
            || row.name.as_ref().is_some_and(is_named)
    }

    /// The ids of all keys that could pass, as the first index says that finds few enough; `None` where none does.
    async fn few(&self, connection: &mut Connection) -> Result<Option<Vec<String>>, Error> {
        if let Some(id) = self.identity_id
            && let Some(few) = ids(connection, "SELECT id FROM keys WHERE identity_id = $1", &[id]).await?
        {
            return Ok(Some(few));
        }
        if !self.search.is_empty()
            && let Some(few) = self.found_by_text(connection).await?
        {
            return Ok(Some(few));
        }
        if let Some(id) = self.role_id
            && let Some(few) =
                ids(connection, "SELECT key_id AS id FROM key_roles WHERE role_id = $1", &[id]).await?
        {
            return Ok(Some(few));
        }
        if let Some(id) = self.permission_id
            && let Some(few) = holding(connection, id).await?
        {
            return Ok(Some(few));
        }
        if self.expires.is_set() && self.order != Order::Expires {
            return self.expiring(connection).await;
        }
        Ok(None)
    }

    async fn expiring(&self, connection: &mut Connection) -> Result<Option<Vec<String>>, Error> {
        let from = self.expires.from.unwrap_or(UnixMs::new(i64::MIN));
        let before = self.expires.before.unwrap_or(UnixMs::new(i64::MAX));
        let rows = sqlx::query(
            "SELECT id FROM keys WHERE workspace_id = $1 AND expires_at IS NOT NULL AND deleted_at IS NULL \
             AND expires_at >= $2 AND expires_at < $3 LIMIT $4",
        )
        .bind(self.workspace_id.to_owned())
        .bind(from)
        .bind(before)
        .bind(ONE_TOO_MANY)
        .fetch_all(connection)
        .await?;
        if_few(&rows)
    }

    async fn found_by_text(&self, connection: &mut Connection) -> Result<Option<Vec<String>>, Error> {
        const NAMED: &str = "SELECT id FROM keys WHERE workspace_id = $1 AND LOWER(name) >= $2 AND LOWER(name) < $3 \
                             AND name IS NOT NULL AND deleted_at IS NULL";
        const STARTING: &str =
            "SELECT id FROM keys WHERE workspace_id = $1 AND start >= $2 AND start < $3 AND deleted_at IS NULL";
        const IDENTITIES: &str = "SELECT id FROM identities WHERE workspace_id = $1 AND external_id >= $2 \
                                  AND external_id < $3 AND deleted_at IS NULL";
        // Engines fold the case of other letters each in a way of its own; the rest of the name is compared later.
        let head: String = self.search.chars().take_while(char::is_ascii).collect::<String>().to_ascii_lowercase();
        if head.is_empty() {
            return Ok(None);
        }
        let mut found = HashSet::from([self.search.to_owned()]);
        for (text, begin) in [(NAMED, head.as_str()), (STARTING, self.search)] {
            let end = format!("{begin}{LAST_CHARACTER}");
            let Some(few) = ids(connection, text, &[self.workspace_id, begin, &end]).await? else {
                return Ok(None);
            };
            found.extend(few);
        }
        let end = format!("{}{LAST_CHARACTER}", self.search);
        let identities = ids(connection, IDENTITIES, &[self.workspace_id, self.search, &end]).await?;
        let Some(identities) = identities else { return Ok(None) };
        for portion in identities.chunks(VALUES_PER_STATEMENT) {
            let text = format!("SELECT id FROM keys WHERE identity_id IN ({})", placeholders(1, portion.len()));
            let portion: Vec<&str> = portion.iter().map(String::as_str).collect();
            let Some(few) = ids(connection, &text, &portion).await? else { return Ok(None) };
            found.extend(few);
        }
        Ok((found.len() <= MOST_LOOKED_AT).then(|| found.into_iter().collect()))
    }
}

const ONE_TOO_MANY: i64 = MOST_LOOKED_AT as i64 + 1;

/// The ids that a statement finds, unless they are too many.
async fn ids(connection: &mut Connection, text: &str, values: &[&str]) -> Result<Option<Vec<String>>, Error> {
    let query = sqlx::query(sqlx::AssertSqlSafe(format!("{text} LIMIT {ONE_TOO_MANY}")));
    let query = values.iter().fold(query, |query, value| query.bind((*value).to_owned()));
    if_few(&query.fetch_all(connection).await?)
}

fn if_few(rows: &[AnyRow]) -> Result<Option<Vec<String>>, Error> {
    if rows.len() > MOST_LOOKED_AT {
        return Ok(None);
    }
    Ok(Some(rows.iter().map(|row| row.try_get("id")).collect::<Result<_, _>>()?))
}

/// The keys that hold a permission, themselves or through a role, unless they are too many.
async fn holding(connection: &mut Connection, permission_id: &str) -> Result<Option<Vec<String>>, Error> {
    let mut found = HashSet::new();
    for text in [
        "SELECT key_id AS id FROM key_permissions WHERE permission_id = $1",
        "SELECT l.key_id AS id FROM role_permissions r CROSS JOIN key_roles l \
         WHERE l.role_id = r.role_id AND r.permission_id = $1",
    ] {
        let Some(few) = ids(connection, text, &[permission_id]).await? else { return Ok(None) };
        found.extend(few);
    }
    Ok((found.len() <= MOST_LOOKED_AT).then(|| found.into_iter().collect()))
}

/// The keys among these that a statement finds with one value.
async fn among(
    connection: &mut Connection,
    text: &str,
    value: &str,
    rows: &[Row],
) -> Result<HashSet<String>, Error> {
    let mut found = HashSet::new();
    for portion in rows.chunks(VALUES_PER_STATEMENT) {
        let text = format!("{text} IN ({})", placeholders(2, portion.len()));
        let query = sqlx::query(sqlx::AssertSqlSafe(text)).bind(value.to_owned());
        let query = portion.iter().fold(query, |query, row| query.bind(row.id.clone()));
        for row in query.fetch_all(&mut *connection).await? {
            found.insert(row.try_get("id")?);
        }
    }
    Ok(found)
}

/// The keys among these of whose balance nothing is left; a refill that is due counts.
async fn with_empty_balance(
    connection: &mut Connection,
    rows: &[Row],
    now: UnixMs,
) -> Result<HashSet<String>, Error> {
    let mut empty = HashSet::new();
    for portion in rows.chunks(VALUES_PER_STATEMENT) {
        let ids: Vec<&str> = portion.iter().map(|row| row.id.as_str()).collect();
        let balances = refills::balances(connection, &ids, Calendar::at(now)).await?;
        empty.extend(balances.into_iter().filter(|(_, balance)| *balance == 0).map(|(id, _)| id));
    }
    Ok(empty)
}

fn lower(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}
