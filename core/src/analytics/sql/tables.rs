//! The public tables: names, columns and types, said once.
//!
//! The checker resolves names against them, the documentation is made of them, and whoever stores events gives each
//! column as it is written here. Beside them stand the tables that only reports read ([`Table::inner`]).

use super::types::{State, Type};

/// Which tables an operation may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tables {
    /// Of `analytics.getVerifications`.
    Verifications,
    /// Of `analytics.getRatelimits`.
    Ratelimits,
}

/// A table.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name, case-sensitive.
    pub name: &'static str,
    /// What it holds.
    pub meaning: &'static str,
    /// Whose it is.
    pub tables: Tables,
    /// How long a time each row is about.
    pub grain: Grain,
    /// Its columns, in the order of `SELECT *`.
    pub columns: &'static [TableColumn],
    /// What it is made of.
    pub of: Of,
}

/// What the rows of a table are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// Events, each with all that is known of it.
    Events,
    /// Events of which only the API or namespace, the outcome and the hour are told apart: few rows, kept as sums.
    Scopes,
    /// Records of events that are missing.
    Gaps,
}

/// How long a time a row of a table is about, and with it the type of `time`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grain {
    /// One event; `time` is an `Int64`, Unix ms.
    Raw,
    /// A minute; `time` is a `DateTime`.
    Minute,
    /// An hour; `time` is a `DateTime`.
    Hour,
    /// A day; `time` is a `Date`.
    Day,
    /// A month; `time` is a `Date`, its first day.
    Month,
}

/// A column of a public table.
#[derive(Debug, PartialEq, Eq)]
pub struct TableColumn {
    /// Its name, case-sensitive.
    pub name: &'static str,
    /// What kind of values it has.
    pub kind: ColumnKind,
    /// What they mean.
    pub meaning: &'static str,
    /// What becomes of them when rows are put together.
    pub role: Role,
}

/// What becomes of a column's values when rows of a table per minute, hour, day or month are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// They tell rows apart.
    Apart,
    /// They are added.
    Sum,
    /// The latest one stays.
    Latest,
    /// They are states, which are merged.
    State,
}

/// The types that columns of tables have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// `String`.
    Text,
    /// `Array(String)`.
    Texts,
    /// `Int64`.
    Integer,
    /// `UInt64`.
    Unsigned,
    /// `Float64`.
    Double,
    /// `Bool`.
    Bool,
    /// `Int64`, a time in Unix ms.
    UnixMs,
    /// `DateTime`.
    Second,
    /// `Date`.
    Day,
    /// The state of an aggregate.
    State(State),
}

impl ColumnKind {
    /// The type of the values.
    pub fn of(self) -> Type {
        match self {
            ColumnKind::Text => Type::String,
            ColumnKind::Texts => Type::Array(Box::new(Type::String)),
            ColumnKind::Integer | ColumnKind::UnixMs => Type::Int64,
            ColumnKind::Unsigned => Type::UInt64,
            ColumnKind::Double => Type::Float64,
            ColumnKind::Bool => Type::Bool,
            ColumnKind::Second => Type::DateTime,
            ColumnKind::Day => Type::Date,
            ColumnKind::State(state) => Type::State(state),
        }
    }
}

impl ColumnKind {
    /// Whether the integers are times in Unix ms.
    pub fn is_unix_ms(self) -> bool {
        self == ColumnKind::UnixMs
    }
}

impl Table {
    /// The column by which grants for one API or namespace narrow it; `None` where rows are about the whole workspace.
    pub fn narrowed_by(&self) -> Option<&'static str> {
        match (self.of, self.tables) {
            (Of::Events, Tables::Verifications) => Some("key_space_id"),
            (Of::Scopes, Tables::Verifications) => Some("api_id"),
            (Of::Events | Of::Scopes, Tables::Ratelimits) => Some("namespace_id"),
            (Of::Gaps, _) => None,
        }
    }

    /// All public tables of an operation.
    pub fn all(of: Tables) -> &'static [Table] {
        match of {
            Tables::Verifications => &VERIFICATIONS,
            Tables::Ratelimits => &RATELIMITS,
        }
    }

    /// The tables that only reports of this server read, and no statement that somebody sends.
    pub fn inner(of: Tables) -> &'static [Table] {
        match of {
            Tables::Verifications => &inner::VERIFICATIONS,
            Tables::Ratelimits => &inner::RATELIMITS,
        }
    }

    /// The public table of this name, which is case-sensitive.
    pub fn named(of: Tables, name: &str) -> Option<&'static Table> {
        Table::all(of).iter().find(|table| table.name == name)
    }
}

const fn column(name: &'static str, kind: ColumnKind, meaning: &'static str) -> TableColumn {
    let role = if let ColumnKind::State(_) = kind { Role::State } else { Role::Apart };
    TableColumn { name, kind, meaning, role }
}

/// A column of sums.
const fn sum(name: &'static str, meaning: &'static str) -> TableColumn {
    TableColumn { role: Role::Sum, ..column(name, ColumnKind::Integer, meaning) }
}

const REQUEST_ID: TableColumn =
    column("request_id", ColumnKind::Text, "The request that asked; it is in the answer's `meta`.");
const TIME: TableColumn = column("time", ColumnKind::UnixMs, "When it was decided, in Unix ms.");
const MINUTE: TableColumn = column("time", ColumnKind::Second, "The minute, in UTC.");
const HOUR: TableColumn = column("time", ColumnKind::Second, "The hour, in UTC.");
const DAY: TableColumn = column("time", ColumnKind::Day, "The day, in UTC.");
const MONTH: TableColumn = column("time", ColumnKind::Day, "The first day of the month, in UTC.");
const WORKSPACE_ID: TableColumn = column("workspace_id", ColumnKind::Text, "Your workspace.");
const KEY_SPACE_ID: TableColumn =
    column("key_space_id", ColumnKind::Text, "The key space of the key, which belongs to one API.");
const API_ID: TableColumn = column("api_id", ColumnKind::Text, "The API of the key.");
const KEY_ID: TableColumn = column("key_id", ColumnKind::Text, "The key.");
const IDENTITY_ID: TableColumn =
    column("identity_id", ColumnKind::Text, "The key's identity, empty if it has none.");
const EXTERNAL_ID: TableColumn =
    column("external_id", ColumnKind::Text, "What you call that identity, empty if the key has none.");
const SOURCE: TableColumn = column("source", ColumnKind::Text, "Who asked: `api` or `gateway`.");
const APP_ID: TableColumn = column("app_id", ColumnKind::Text, "The gateway's app, empty otherwise.");
const OUTCOME: TableColumn = column(
    "outcome",
    ColumnKind::Text,
    "VALID, RATE_LIMITED, EXPIRED, DISABLED, FORBIDDEN, INSUFFICIENT_PERMISSIONS or USAGE_EXCEEDED.",
);
const TAGS: TableColumn =
    column("tags", ColumnKind::Texts, "The tags of the verification, in the order they were sent.");
const COUNT: TableColumn = sum("count", "How many verifications this row stands for. Always sum it.");
const CREDITS_SUM: TableColumn = sum("spent_credits", "The credits that these spent.");
const PASSED: TableColumn = sum("passed", "How many of the decisions passed.");
const TOTAL: TableColumn = sum("total", "How many decisions this row stands for. Always sum it.");
const TOTAL_TOKENS: TableColumn = sum("total_tokens", "The cost that they asked for.");
const PASSED_TOKENS: TableColumn = sum("passed_tokens", "The cost of those that passed.");
const LATENCY: TableColumn = column("latency", ColumnKind::Double, "How long the decision took, in ms.");
const LATENCY_AVG: TableColumn =
    column("latency_avg", ColumnKind::State(State::Average), "Read it with `avgMerge(latency_avg)`.");
const LATENCY_P75: TableColumn = column(
    "latency_p75",
    ColumnKind::State(State::Quantile75),
    "Read it with `quantilesTDigestMerge(0.75)(latency_p75)`.",
);
const LATENCY_P99: TableColumn = column(
    "latency_p99",
    ColumnKind::State(State::Quantile99),
    "Read it with `quantilesTDigestMerge(0.99)(latency_p99)`.",
);
const NAMESPACE_ID: TableColumn = column("namespace_id", ColumnKind::Text, "The namespace of the limit.");
const NAMESPACE: TableColumn = column("namespace", ColumnKind::Text, "The namespace's name.");
const IDENTIFIER: TableColumn = column("identifier", ColumnKind::Text, "Who was counted.");
const ROOT_KEY_ID: TableColumn = column("root_key_id", ColumnKind::Text, "The root key that asked.");

/// The columns of verifications by time.
macro_rules! verifications_per {
    ($time:ident $(, $more:ident)*) => {
        &[
            $time,
            WORKSPACE_ID,
            KEY_SPACE_ID,
            API_ID,
            IDENTITY_ID,
            EXTERNAL_ID,
            KEY_ID,
            OUTCOME,
            SOURCE,
            APP_ID,
            TAGS,
            COUNT,
            CREDITS_SUM,
            LATENCY_AVG,
            LATENCY_P75,
            LATENCY_P99,
            $($more,)*
        ]
    };
}

/// The columns of decisions on limits by time.
macro_rules! ratelimits_per {
    ($time:ident $(, $more:ident)*) => {
        &[
            $time,
            WORKSPACE_ID,
            NAMESPACE_ID,
            NAMESPACE,
            IDENTIFIER,
            PASSED,
            TOTAL,
            TOTAL_TOKENS,
            PASSED_TOKENS,
            LATENCY_AVG,
            LATENCY_P75,
            LATENCY_P99,
            $($more,)*
        ]
    };
}

// Behind the macros, which it uses.
mod inner;

static VERIFICATIONS: [Table; 5] = [
    Table {
        name: "key_verifications_v1",
        meaning: "One row for every verification that was decided.",
        tables: Tables::Verifications,
        grain: Grain::Raw,
        columns: &[
            REQUEST_ID,
            TIME,
            WORKSPACE_ID,
            KEY_SPACE_ID,
            API_ID,
            IDENTITY_ID,
            EXTERNAL_ID,
            KEY_ID,
            column("region", ColumnKind::Text, "The region of the server that decided."),
            SOURCE,
            APP_ID,
            OUTCOME,
            TAGS,
            column("spent_credits", ColumnKind::Integer, "The credits that it spent, 0 if none."),
            LATENCY,
            column(
                "refused_by",
                ColumnKind::Texts,
                "What refused it: the names of exceeded limits, the permission query, or the client's address.",
            ),
            ROOT_KEY_ID,
        ],
        of: Of::Events,
    },
    Table {
        name: "key_verifications_per_minute_v1",
        meaning: "Verifications per minute, key, outcome and tags.",
        tables: Tables::Verifications,
        grain: Grain::Minute,
        columns: verifications_per!(MINUTE),
        of: Of::Events,
    },
    Table {
        name: "key_verifications_per_hour_v1",
        meaning: "Verifications per hour, key, outcome and tags.",
        tables: Tables::Verifications,
        grain: Grain::Hour,
        columns: verifications_per!(HOUR),
        of: Of::Events,
    },
    Table {
        name: "key_verifications_per_day_v1",
        meaning: "Verifications per day, key, outcome and tags.",
        tables: Tables::Verifications,
        grain: Grain::Day,
        columns: verifications_per!(DAY),
        of: Of::Events,
    },
    Table {
        name: "key_verifications_per_month_v1",
        meaning: "Verifications per month, key, outcome and tags.",
        tables: Tables::Verifications,
        grain: Grain::Month,
        columns: verifications_per!(MONTH),
        of: Of::Events,
    },
];

static RATELIMITS: [Table; 5] = [
    Table {
        name: "ratelimits_v1",
        meaning: "One row for every decision on a limit.",
        tables: Tables::Ratelimits,
        grain: Grain::Raw,
        columns: &[
            REQUEST_ID,
            TIME,
            WORKSPACE_ID,
            NAMESPACE_ID,
            NAMESPACE,
            IDENTIFIER,
            column("passed", ColumnKind::Bool, "Whether it passed."),
            LATENCY,
            column("override_id", ColumnKind::Text, "The override that applied, empty if none."),
            column("limit", ColumnKind::Unsigned, "The cost that is admitted per window."),
            column("remaining", ColumnKind::Unsigned, "What was left in the window."),
            column("reset_at", ColumnKind::UnixMs, "When the window ends, in Unix ms."),
            column("tokens", ColumnKind::Unsigned, "The cost that was asked for."),
            ROOT_KEY_ID,
        ],
        of: Of::Events,
    },
    Table {
        name: "ratelimits_per_minute_v1",
        meaning: "Decisions on limits per minute and identifier.",
        tables: Tables::Ratelimits,
        grain: Grain::Minute,
        columns: ratelimits_per!(MINUTE),
        of: Of::Events,
    },
    Table {
        name: "ratelimits_per_hour_v1",
        meaning: "Decisions on limits per hour and identifier.",
        tables: Tables::Ratelimits,
        grain: Grain::Hour,
        columns: ratelimits_per!(HOUR),
        of: Of::Events,
    },
    Table {
        name: "ratelimits_per_day_v1",
        meaning: "Decisions on limits per day and identifier.",
        tables: Tables::Ratelimits,
        grain: Grain::Day,
        columns: ratelimits_per!(DAY),
        of: Of::Events,
    },
    Table {
        name: "ratelimits_per_month_v1",
        meaning: "Decisions on limits per month and identifier.",
        tables: Tables::Ratelimits,
        grain: Grain::Month,
        columns: ratelimits_per!(MONTH),
        of: Of::Events,
    },
];
