//! The newest events, page by page.
//!
//! A request looks into one span of time after the other, each longer than the one before, until its page is full or its time is
//! up. A position is a time and a request: all that one request decided stands together, and is counted.

use std::time::{Duration, Instant};

use super::usage::Filters;
use super::{Reporting, Values, table};
use crate::analytics::sql::clickhouse::quoted;
use crate::analytics::sql::tables::Tables;
use crate::calendar::{DAY_MS, HOUR_MS, MINUTE_MS, UnixMs};
use crate::error::{Code, Error};

/// How long a request looks before it answers what it found.
const LOOKING: Duration = Duration::from_millis(200);
/// How long one span of time may take, and how long shorter ones are tried.
const SPAN_TIME: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(6);
/// How many times longer each span is than the one before.
const GROWTH: i64 = 16;
/// What stands behind every request in the order of texts.
const LAST: &str = "~";
/// Decisions of one request, at most.
const MOST_OF_A_REQUEST: usize = 1000;

/// Which events are wanted.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// What each has to be, as SQL.
    conditions: Vec<String>,
    /// Whether they are few wherever one looks, so that it is better to begin with a longer time.
    are_few: bool,
    /// Unix ms, inclusive.
    start: Option<UnixMs>,
    /// Unix ms, exclusive.
    end: Option<UnixMs>,
    /// Where the page starts.
    position: Option<Position>,
    /// How many at most.
    limit: usize,
}

impl Wanted {
    /// Events that are as these filters say.
    pub fn of(filters: &Filters) -> Self {
        let are_few = filters.key_id.is_some() || filters.identifier.is_some();
        Wanted { conditions: filters.conditions(), are_few, ..Wanted::default() }
    }

    /// Those from `start` on and before `end`, Unix ms, where these are given.
    pub fn between(self, start: Option<UnixMs>, end: Option<UnixMs>) -> Self {
        Wanted { start, end, ..self }
    }

    /// So many of them, from a position on or from the newest.
    pub fn page(self, position: Option<Position>, limit: usize) -> Self {
        Wanted { position, limit, ..self }
    }

    /// Those of one request besides.
    pub fn of_request(mut self, id: Option<&str>) -> Self {
        self.are_few |= id.is_some();
        self.conditions.extend(id.map(|id| format!("request_id = {}", quoted(id))));
        self
    }

    /// Those of verifications that had one of these outcomes; any, where none is given.
    pub fn with_outcomes(mut self, outcomes: &[&str]) -> Self {
        if !outcomes.is_empty() {
            let all: Vec<String> = outcomes.iter().map(|outcome| quoted(outcome)).collect();
            self.conditions.push(format!("outcome IN ({})", all.join(", ")));
        }
        self
    }

    /// Those of decisions on limits that passed or did not.
    pub fn that_passed(mut self, passed: Option<bool>) -> Self {
        self.conditions.extend(passed.map(|passed| if passed { "passed" } else { "NOT passed" }.to_owned()));
        self
    }
}

/// Where a page starts: at the events of a request, some of which may be on the page before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    time: UnixMs,
    request_id: String,
    skip: usize,
}

impl Position {
    /// Behind everything that is not older than this time.
    fn before(time: UnixMs) -> Self {
        Position { time: time.minus(1), request_id: LAST.to_owned(), skip: 0 }
    }

    /// The position that a cursor tells of.
    pub fn read(cursor: &str) -> Option<Self> {
        let mut parts = cursor.splitn(3, '.');
        let time = UnixMs::new(parts.next()?.parse().ok()?);
        let skip = parts.next()?.parse().ok().filter(|skip| *skip <= MOST_OF_A_REQUEST)?;
        Some(Position { time, skip, request_id: parts.next()?.to_owned() })
    }

    /// Its cursor: `<Unix ms>.<decisions to leave out>.<request>`.
    pub fn cursor(&self) -> String {
        format!("{}.{}.{}", self.time.get(), self.skip, self.request_id)
    }
}

/// An event that can be read from a row of its table.
pub trait Listed: Sized {
    /// Which table it is in.
    const OF: Tables;
    /// That table.
    const TABLE: &'static str;
    /// Its columns in SQL, behind `time` and `request_id`.
    const COLUMNS: &'static str;
    /// What orders those of one request.
    const ORDER: &'static str;

    /// Reads it; what stands behind these two comes in the order of its columns.
    fn read(time: UnixMs, request_id: String, rest: Values) -> Self;

    /// When it was, and the request that it belongs to.
    fn place(&self) -> (UnixMs, &str);
}

/// A page of events, and where the next one starts.
pub type Found<E> = (Vec<E>, Option<Position>);

impl Reporting<'_> {
    /// The newest events that are wanted. A page may be short, or even empty, and have more behind it.
    ///
    /// # Errors
    /// 422 when it takes too long or too much, 503 when the engine does not answer.
    pub async fn newest<E: Listed>(&self, wanted: &Wanted) -> Result<Found<E>, Error> {
        let read = table(E::OF, E::TABLE)?;
        let kept = self.kept_since(read).unwrap_or(UnixMs::EPOCH);
        let floor = wanted.start.unwrap_or(UnixMs::EPOCH).max(kept);
        let now = self.reader().now;
        // What a clock that was ahead wrote is in the first span, too.
        let mut until = wanted.end.unwrap_or(UnixMs::new(i64::MAX));
        let mut position = wanted.position.clone();
        if let Some(position) = &position {
            until = until.min(position.time.plus(1));
        }
        let mut span = if wanted.are_few { 2 * DAY_MS } else { HOUR_MS };
        let (began, mut found, mut has_looked) = (Instant::now(), Vec::new(), false);
        while until > floor {
            let from = until.min(now.plus(1)).minus(span).max(floor);
            let skip = position.as_ref().map_or(0, |position| position.skip);
            let missing = wanted.limit - found.len();
            let looked = self.span::<E>(wanted, (from, until), position.as_ref(), missing + skip + 1).await;
            let mut events = match looked {
                Ok(events) => events,
                // Too much at once: a shorter time may do, and what was found is an answer.
                Err(error) if error.code() == Code::QueryExecutionTimeout && began.elapsed() < PATIENCE => {
                    span = (span / GROWTH).max(MINUTE_MS);
                    continue;
                }
                Err(_) if has_looked => return Ok((found, Some(Position::before(until)))),
                Err(error) => return Err(error),
            };
            has_looked = true;
            let next = events.get(skip + missing).map(|next| {
                let (time, request_id) = next.place();
                let before = events[..skip + missing].iter().filter(|event| event.place() == (time, request_id));
                Position { time, request_id: request_id.to_owned(), skip: before.count() }
            });
            events.truncate(skip + missing);
            found.extend(events.into_iter().skip(skip));
            if next.is_some() {
                return Ok((found, next));
            }
            (until, position) = (from, None);
            if until > floor && (found.len() == wanted.limit || began.elapsed() > LOOKING) {
                return Ok((found, Some(Position::before(until))));
            }
            span = span.saturating_mul(GROWTH);
        }
        Ok((found, None))
    }

    /// So many events of a span of time, the newest first.
    async fn span<E: Listed>(
        &self,
        wanted: &Wanted,
        (from, until): (UnixMs, UnixMs),
        position: Option<&Position>,
        count: usize,
    ) -> Result<Vec<E>, Error> {
        let read = table(E::OF, E::TABLE)?;
        let mut conditions = vec![format!("time >= {}", from.get()), format!("time < {}", until.get())];
        conditions.extend(wanted.conditions.iter().cloned());
        conditions.extend(position.map(|Position { time, request_id, .. }| {
            format!("(time < {} OR request_id <= {})", time.get(), quoted(request_id))
        }));
        let statement = format!(
            "SELECT time, request_id, {} FROM {} WHERE {} ORDER BY time DESC, request_id DESC, {} LIMIT {count}",
            E::COLUMNS,
            read.name,
            conditions.join(" AND "),
            E::ORDER,
        );
        let rows = self.rows_within(SPAN_TIME, read, &statement).await?.rows.into_iter();
        let read = rows.map(|row| {
            let mut values = Values::of(row);
            let (time, request_id) = (values.time(), values.text());
            E::read(time, request_id, values)
        });
        Ok(read.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_the_position_that_it_was_made_of() {
        let position = Position { time: UnixMs::new(17), request_id: "req_1.2".to_owned(), skip: 3 };
        assert_eq!(Position::read(&position.cursor()), Some(position));
        for nonsense in ["", "1", "1.2", "x.0.req", "1.-1.req", "1.1001.req", "99999999999999999999.0.req"] {
            assert_eq!(Position::read(nonsense), None, "{nonsense}");
        }
    }
}
