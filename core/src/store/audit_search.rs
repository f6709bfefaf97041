//! Searching the audit log: newest first, through the index that narrows it most.
//!
//! A request looks at a bounded number of rows. When few of them match, its page is short and its cursor leads on.

use std::cmp::Reverse;

use serde_json::Value;

use super::Connection;
use super::audit_logs::{ENTRIES, read};
use super::rows::is_postgres;
use crate::calendar::UnixMs;
use crate::error::Error;
use crate::store::audit_entry::Entry;

/// Rows that one request looks at, where they are not all wanted.
const LOOKED_AT: usize = 1000;

/// Which entries are wanted; what is absent does not matter.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// One of these names; empty for any.
    pub events: Vec<String>,
    /// Id of who did it.
    pub actor_id: Option<String>,
    /// Id of something that it was done to.
    pub target_id: Option<String>,
    /// What kind of thing it was done to; with `target_id`, that thing.
    pub target_type: Option<String>,
    /// Shared by the entries of one request.
    pub correlation_id: Option<String>,
    /// Which door it came through, as in `actor.meta.via`; empty for plain HTTP.
    pub via: Option<String>,
    /// Unix ms, inclusive.
    pub start: Option<UnixMs>,
    /// Unix ms, exclusive.
    pub end: Option<UnixMs>,
}

/// Where an entry is in the order of a search: its time, and its place in the chain.
type Position = (UnixMs, i64);

/// The index that a search goes through.
enum Way<'a> {
    All,
    Column(&'static str, &'a str),
    Target(&'a str),
}

impl Wanted {
    /// The ways through which everything that is wanted is found.
    fn ways(&self) -> Vec<Way<'_>> {
        if let Some(id) = &self.correlation_id {
            vec![Way::Column("correlation_id", id)]
        } else if let Some(id) = &self.target_id {
            vec![Way::Target(id)]
        } else if !self.events.is_empty() {
            self.events.iter().map(|event| Way::Column("event", event)).collect()
        } else if let Some(id) = &self.actor_id {
            vec![Way::Column("actor_id", id)]
        } else {
            vec![Way::All]
        }
    }

    /// Whether not all that is found on those ways is wanted.
    fn picks(&self) -> bool {
        let indexed = [
            self.correlation_id.is_some(),
            self.target_id.is_some(),
            !self.events.is_empty(),
            self.actor_id.is_some(),
        ];
        indexed.into_iter().filter(|filter| *filter).count() > 1
            || self.target_type.is_some()
            || self.via.is_some()
    }

    fn wants(&self, entry: &Entry) -> bool {
        let is = |wanted: &Option<String>, text: Option<&str>| wanted.is_none() || wanted.as_deref() == text;
        let of_actor = self.actor_id.is_some() || self.via.is_some();
        let actor: Value = if of_actor { parsed(&entry.actor) } else { Value::Null };
        (self.events.is_empty() || self.events.contains(&entry.event))
            && is(&self.correlation_id, entry.correlation_id.as_deref())
            && is(&self.actor_id, actor["id"].as_str())
            && is(&self.via, Some(actor["meta"]["via"].as_str().unwrap_or_default()))
            && self.wants_targets(entry)
    }

    fn wants_targets(&self, entry: &Entry) -> bool {
        if self.target_id.is_none() && self.target_type.is_none() {
            return true;
        }
        let is = |wanted: &Option<String>, text: &Value| wanted.is_none() || wanted.as_deref() == text.as_str();
        let targets = parsed(&entry.targets);
        let mut targets = targets.as_array().into_iter().flatten();
        targets.any(|target| is(&self.target_id, &target["id"]) && is(&self.target_type, &target["type"]))
    }
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

/// Entries of a workspace, newest first, from the one with the id `cursor` on: at most `limit`, and the id of
/// where to go on. An unknown cursor belonged to an entry that retention has removed, and with it all older ones:
/// nothing follows.
///
/// # Errors
/// When the store does not answer.
pub async fn list(
    connection: &mut Connection,
    workspace_id: &str,
    cursor: &str,
    wanted: &Wanted,
    limit: usize,
) -> Result<(Vec<Entry>, Option<String>), Error> {
    let Some(from) = start(connection, workspace_id, cursor, wanted.end).await? else {
        return Ok((Vec::new(), None));
    };
    let ways = wanted.ways();
    let count = if wanted.picks() { (LOOKED_AT / ways.len()).max(limit + 1) } else { limit + 1 };
    let (mut looked_at, mut next) = (Vec::new(), None::<Entry>);
    for way in &ways {
        let mut found =
            portion(connection, workspace_id, way, from, wanted.start.unwrap_or(UnixMs::EPOCH), count).await?;
        // There may be more on this way: what is as old as its last row, or older, is for the next page.
        if found.len() == count
            && let Some(last) = found.pop()
            && next.as_ref().is_none_or(|next| position(next) < position(&last))
        {
            next = Some(last);
        }
        looked_at.append(&mut found);
    }
    if let Some(next) = &next {
        looked_at.retain(|entry| position(entry) > position(next));
    }
    looked_at.sort_unstable_by_key(|entry| Reverse(position(entry)));
    looked_at.retain(|entry| wanted.wants(entry));
    if let Some(first_of_next) = looked_at.get(limit) {
        let cursor = first_of_next.id.clone();
        looked_at.truncate(limit);
        return Ok((looked_at, Some(cursor)));
    }
    Ok((looked_at, next.map(|next| next.id)))
}

fn position(entry: &Entry) -> Position {
    (entry.time, entry.sequence)
}

/// The newest position that may be on the page; `None` when the cursor is unknown.
async fn start(
    connection: &mut Connection,
    workspace_id: &str,
    cursor: &str,
    end: Option<UnixMs>,
) -> Result<Option<Position>, Error> {
    let newest = end.map_or((UnixMs::new(i64::MAX), i64::MAX), |end| (end.minus(1), i64::MAX));
    if cursor.is_empty() {
        return Ok(Some(newest));
    }
    let found = super::audit_logs::find(connection, workspace_id, cursor).await?;
    Ok(found.map(|entry| position(&entry).min(newest)))
}

async fn portion(
    connection: &mut Connection,
    workspace_id: &str,
    way: &Way<'_>,
    (time, sequence): Position,
    start: UnixMs,
    count: usize,
) -> Result<Vec<Entry>, Error> {
    let (text, value) = query_of(way, is_postgres(connection));
    let mut query = sqlx::query(sqlx::AssertSqlSafe(text))
        .bind(workspace_id.to_owned())
        .bind(time)
        .bind(sequence)
        .bind(start)
        .bind(i64::try_from(count).unwrap_or(i64::MAX));
    if let Some(value) = value {
        query = query.bind(value.to_owned());
    }
    let rows = query.fetch_all(connection).await?;
    Ok(rows.iter().map(read).collect())
}

/// The query of a way, and what it is asked for as `$6`.
fn query_of<'a>(way: &Way<'a>, is_postgres: bool) -> (String, Option<&'a str>) {
    let (from, filed, value) = match way {
        Way::All => (String::from("FROM audit_logs l WHERE l.workspace_id = $1"), "l", None),
        Way::Column(column, value) => {
            let is_wanted = format!("l.{column} = $6");
            // SQLite would otherwise read all entries by time and pick: it takes any column for a common value.
            let is_wanted = if is_postgres { is_wanted } else { format!("unlikely({is_wanted})") };
            (format!("FROM audit_logs l WHERE l.workspace_id = $1 AND {is_wanted}"), "l", Some(*value))
        }
        Way::Target(id) => (
            "FROM audit_targets t JOIN audit_logs l ON l.workspace_id = t.workspace_id AND l.sequence = t.sequence \
             WHERE t.workspace_id = $1 AND t.target_id = $6"
                .to_owned(),
            "t",
            Some(*id),
        ),
    };
    let text = format!(
        "{ENTRIES} {from} AND ({filed}.time, {filed}.sequence) <= ($2, $3) AND {filed}.time >= $4 \
         ORDER BY {filed}.time DESC, {filed}.sequence DESC LIMIT $5"
    );
    (text, value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::migrations;

    #[test]
    fn each_way_goes_through_its_index() {
        let schema = rusqlite::Connection::open_in_memory().unwrap();
        for step in migrations::sqlite_steps() {
            schema.execute_batch(step).unwrap();
        }
        for (way, index) in [
            (Way::All, "audit_logs_by_time"),
            (Way::Column("event", "key.reroll"), "audit_logs_by_event"),
            (Way::Column("actor_id", "key_1"), "audit_logs_by_actor"),
            (Way::Column("correlation_id", "cor_1"), "audit_logs_by_correlation"),
            (Way::Target("key_1"), "PRIMARY KEY"),
        ] {
            let mut statement =
                schema.prepare(&format!("EXPLAIN QUERY PLAN {}", query_of(&way, false).0)).unwrap();
            let mut rows = statement.raw_query();
            let mut plan = Vec::new();
            while let Some(row) = rows.next().unwrap() {
                plan.push(row.get::<_, String>(3).unwrap());
            }
            assert!(plan[0].contains(index) && !plan.concat().contains("TEMP B-TREE"), "{index}: {plan:?}");
        }
    }
}
