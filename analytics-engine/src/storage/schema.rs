//! What is stored: tables, their columns, and how their rows are sorted.
//!
//! The columns carry the names of the documented tables. What these do not have (`api_id`, `refused_by`, `last_time` and
//! the like) stands behind them, and whoever answers a `SELECT *` leaves it out or not. Texts are views: a row of the
//! tail shares them with others. Times of events are Unix ms, days and months are dates.

use std::fmt;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use keyrack_core::calendar::{DAY_MS, HOUR_MS};
use serde::{Deserialize, Serialize};

/// A table that has files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stored {
    /// A row per verification that was decided.
    Verifications,
    /// A row per decision on a limit.
    Ratelimits,
    /// A row per verification that found no key that its caller may know of.
    Refusals,
    /// A row for events that are missing: how many, when, and why.
    Gaps,
    /// Verifications summed per day and all that tells them apart. There may be several rows of one sum.
    VerificationsPerDay,
    /// The same per month.
    VerificationsPerMonth,
    /// Verifications summed per hour, API and outcome.
    VerificationsPerHour,
    /// Decisions on limits summed per day, namespace and identifier. There may be several rows of one sum.
    RatelimitsPerDay,
    /// The same per month.
    RatelimitsPerMonth,
    /// Decisions on limits summed per hour, namespace and outcome.
    RatelimitsPerHour,
}

/// What the rows of a table are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MadeOf {
    /// Events, as they come.
    Events,
    /// The rows of this table of events.
    Raw(Stored),
    /// The rows of this table, which has a row per day and is made of events itself.
    Days(Stored),
}

impl Stored {
    /// All of them.
    pub const ALL: [Stored; 10] = [
        Stored::Verifications,
        Stored::Ratelimits,
        Stored::Refusals,
        Stored::Gaps,
        Stored::VerificationsPerDay,
        Stored::VerificationsPerMonth,
        Stored::VerificationsPerHour,
        Stored::RatelimitsPerDay,
        Stored::RatelimitsPerMonth,
        Stored::RatelimitsPerHour,
    ];
    /// Those that events go into as they come.
    pub const RAW: [Stored; 4] = [Stored::Verifications, Stored::Ratelimits, Stored::Refusals, Stored::Gaps];

    /// What names of files begin with.
    pub fn name(self) -> &'static str {
        match self {
            Stored::Verifications => "verifications",
            Stored::Ratelimits => "ratelimits",
            Stored::Refusals => "refusals",
            Stored::Gaps => "gaps",
            Stored::VerificationsPerDay => "verifications_per_day",
            Stored::VerificationsPerMonth => "verifications_per_month",
            Stored::VerificationsPerHour => "verifications_per_hour",
            Stored::RatelimitsPerDay => "ratelimits_per_day",
            Stored::RatelimitsPerMonth => "ratelimits_per_month",
            Stored::RatelimitsPerHour => "ratelimits_per_hour",
        }
    }

    /// Its place in [`Stored::ALL`].
    pub(super) fn place(self) -> usize {
        self as usize
    }

    /// How much later than the `time` of a row an event in it may be, in ms.
    pub fn length_ms(self) -> i64 {
        match self {
            Stored::VerificationsPerDay | Stored::RatelimitsPerDay => DAY_MS,
            Stored::VerificationsPerMonth | Stored::RatelimitsPerMonth => 31 * DAY_MS,
            Stored::VerificationsPerHour | Stored::RatelimitsPerHour => HOUR_MS,
            Stored::Verifications | Stored::Ratelimits | Stored::Refusals | Stored::Gaps => 0,
        }
    }

    /// What its rows are made of.
    pub fn made_of(self) -> MadeOf {
        match self {
            Stored::Verifications | Stored::Ratelimits | Stored::Refusals | Stored::Gaps => MadeOf::Events,
            Stored::VerificationsPerDay | Stored::VerificationsPerHour => MadeOf::Raw(Stored::Verifications),
            Stored::RatelimitsPerDay | Stored::RatelimitsPerHour => MadeOf::Raw(Stored::Ratelimits),
            Stored::VerificationsPerMonth => MadeOf::Days(Stored::VerificationsPerDay),
            Stored::RatelimitsPerMonth => MadeOf::Days(Stored::RatelimitsPerDay),
        }
    }

    /// The columns of texts by which the rows of each of its files are sorted; the last one is always `time`.
    pub fn sorted_by(self) -> &'static [&'static str] {
        match self {
            Stored::Verifications | Stored::VerificationsPerDay | Stored::VerificationsPerMonth => {
                &["workspace_id", "key_id"]
            }
            Stored::Ratelimits | Stored::RatelimitsPerDay | Stored::RatelimitsPerMonth => {
                &["workspace_id", "namespace_id", "identifier"]
            }
            Stored::Refusals | Stored::Gaps => &["workspace_id"],
            Stored::VerificationsPerHour => &["workspace_id", "api_id"],
            Stored::RatelimitsPerHour => &["workspace_id", "namespace_id"],
        }
    }

    /// Its columns.
    pub fn schema(self) -> &'static SchemaRef {
        &SCHEMAS[self.place()]
    }
}

impl fmt::Display for Stored {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

static SCHEMAS: LazyLock<[SchemaRef; 10]> = LazyLock::new(|| {
    Stored::ALL.map(|stored| {
        let columns = match stored {
            Stored::Verifications => verifications(),
            Stored::Ratelimits => ratelimits(),
            Stored::Refusals => refusals(),
            Stored::Gaps => gaps(),
            Stored::VerificationsPerDay | Stored::VerificationsPerMonth => verifications_summed(),
            Stored::RatelimitsPerDay | Stored::RatelimitsPerMonth => ratelimits_summed(),
            Stored::VerificationsPerHour => per_hour("api_id", "spent_credits"),
            Stored::RatelimitsPerHour => per_hour("namespace_id", "total_tokens"),
        };
        Arc::new(Schema::new(columns))
    })
});

fn column(name: &str, of: DataType) -> Field {
    Field::new(name, of, false)
}

fn text(name: &str) -> Field {
    column(name, DataType::Utf8View)
}

fn integer(name: &str) -> Field {
    column(name, DataType::Int64)
}

fn unsigned(name: &str) -> Field {
    column(name, DataType::UInt64)
}

/// A list of texts, with the field that lists of other engines have inside.
fn texts(name: &str) -> Field {
    column(name, DataType::List(Arc::new(Field::new_list_field(DataType::Utf8View, true))))
}

fn latency() -> Field {
    column("latency", DataType::Float64)
}

/// A sum in ms, and a [`Digest`](super::digest::Digest) of it. How many values they are made of is a column of its own.
fn latencies() -> [Field; 2] {
    [column("latency_sum", DataType::Float64), column("latency_digest", DataType::BinaryView)]
}

fn verifications() -> Vec<Field> {
    vec![
        text("request_id"),
        integer("time"),
        text("workspace_id"),
        text("key_space_id"),
        text("key_id"),
        text("identity_id"),
        text("external_id"),
        text("region"),
        text("source"),
        text("app_id"),
        text("outcome"),
        texts("tags"),
        integer("spent_credits"),
        latency(),
        text("api_id"),
        texts("refused_by"),
        text("root_key_id"),
    ]
}

fn ratelimits() -> Vec<Field> {
    vec![
        text("request_id"),
        integer("time"),
        text("workspace_id"),
        text("namespace_id"),
        text("identifier"),
        column("passed", DataType::Boolean),
        latency(),
        text("override_id"),
        unsigned("limit"),
        unsigned("remaining"),
        integer("reset_at"),
        unsigned("tokens"),
        text("namespace"),
        text("root_key_id"),
    ]
}

fn refusals() -> Vec<Field> {
    vec![
        text("request_id"),
        integer("time"),
        text("workspace_id"),
        text("root_key_id"),
        text("reason"),
        text("api_id"),
        text("key_id"),
        texts("tags"),
    ]
}

fn gaps() -> Vec<Field> {
    let events = Field::new("events", DataType::UInt64, true);
    vec![integer("time"), integer("last_time"), text("workspace_id"), events, text("reason")]
}

fn verifications_summed() -> Vec<Field> {
    let mut columns = vec![
        column("time", DataType::Date32),
        text("workspace_id"),
        text("key_space_id"),
        text("identity_id"),
        text("external_id"),
        text("key_id"),
        text("outcome"),
        text("source"),
        text("app_id"),
        texts("tags"),
        integer("count"),
        integer("spent_credits"),
    ];
    columns.extend(latencies());
    columns.extend([text("api_id"), integer("last_time")]);
    columns
}

fn ratelimits_summed() -> Vec<Field> {
    let mut columns = vec![
        column("time", DataType::Date32),
        text("workspace_id"),
        text("namespace_id"),
        text("identifier"),
        integer("passed"),
        integer("total"),
        integer("total_tokens"),
        integer("passed_tokens"),
    ];
    columns.extend(latencies());
    columns.extend([text("namespace"), integer("last_time")]);
    columns
}

/// Of decisions on limits the outcome is `PASSED` or `REFUSED`.
fn per_hour(scope: &str, spent: &str) -> Vec<Field> {
    let mut columns = vec![
        integer("time"),
        text("workspace_id"),
        text(scope),
        text("outcome"),
        integer("count"),
        integer(spent),
    ];
    columns.extend(latencies());
    columns.push(integer("last_time"));
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_has_the_columns_by_which_it_is_sorted() {
        for stored in Stored::ALL {
            assert_eq!(Stored::ALL[stored.place()], stored);
            let schema = stored.schema();
            for name in stored.sorted_by() {
                assert_eq!(schema.field_with_name(name).unwrap().data_type(), &DataType::Utf8View, "{stored}");
            }
            assert!(schema.field_with_name("time").is_ok(), "{stored}");
        }
    }
}
