//! The tables that only reports read: those per minute, hour, day and month with the time of the latest event in each row,
//! sums of which only APIs or namespaces are told apart, and gaps.

use super::*;

const LAST_TIME: TableColumn = TableColumn {
    role: Role::Latest,
    ..column("last_time", ColumnKind::UnixMs, "When the latest of them was decided, in Unix ms.")
};

/// A table that has no public meaning of its own.
const fn table(
    name: &'static str,
    tables: Tables,
    grain: Grain,
    of: Of,
    columns: &'static [TableColumn],
) -> Table {
    Table { name, meaning: "What reports read.", tables, grain, columns, of }
}

const fn verifications(name: &'static str, grain: Grain, columns: &'static [TableColumn]) -> Table {
    table(name, Tables::Verifications, grain, Of::Events, columns)
}

const fn ratelimits(name: &'static str, grain: Grain, columns: &'static [TableColumn]) -> Table {
    table(name, Tables::Ratelimits, grain, Of::Events, columns)
}

/// Gaps in what was recorded, of both kinds of events.
const GAPS: &[TableColumn] = &[
    column("time", ColumnKind::UnixMs, "When the first of them was missed, in Unix ms."),
    column("last_time", ColumnKind::UnixMs, "When the last of them was missed, in Unix ms."),
    column("reason", ColumnKind::Text, "Why they are missing."),
    column("events", ColumnKind::Unsigned, "How many they are; 0 when nobody knows."),
];

pub(super) static VERIFICATIONS: [Table; 6] = [
    verifications("minutes", Grain::Minute, verifications_per!(MINUTE, LAST_TIME)),
    verifications("hours", Grain::Hour, verifications_per!(HOUR, LAST_TIME)),
    verifications("days", Grain::Day, verifications_per!(DAY, LAST_TIME)),
    verifications("months", Grain::Month, verifications_per!(MONTH, LAST_TIME)),
    table(
        "hours_of_apis",
        Tables::Verifications,
        Grain::Hour,
        Of::Scopes,
        &[
            HOUR,
            WORKSPACE_ID,
            API_ID,
            OUTCOME,
            COUNT,
            CREDITS_SUM,
            LATENCY_AVG,
            LATENCY_P75,
            LATENCY_P99,
            LAST_TIME,
        ],
    ),
    table("gaps", Tables::Verifications, Grain::Raw, Of::Gaps, GAPS),
];

pub(super) static RATELIMITS: [Table; 6] = [
    ratelimits("minutes", Grain::Minute, ratelimits_per!(MINUTE, LAST_TIME)),
    ratelimits("hours", Grain::Hour, ratelimits_per!(HOUR, LAST_TIME)),
    ratelimits("days", Grain::Day, ratelimits_per!(DAY, LAST_TIME)),
    ratelimits("months", Grain::Month, ratelimits_per!(MONTH, LAST_TIME)),
    table(
        "hours_of_namespaces",
        Tables::Ratelimits,
        Grain::Hour,
        Of::Scopes,
        &[
            HOUR,
            WORKSPACE_ID,
            NAMESPACE_ID,
            PASSED,
            TOTAL,
            TOTAL_TOKENS,
            PASSED_TOKENS,
            LATENCY_AVG,
            LATENCY_P75,
            LATENCY_P99,
            LAST_TIME,
        ],
    ),
    table("gaps", Tables::Ratelimits, Grain::Raw, Of::Gaps, GAPS),
];
