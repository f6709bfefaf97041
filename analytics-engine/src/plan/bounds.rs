//! From when to when the rows of a table can matter to a select, as its `WHERE` says: files of other times are not opened,
//! and other rows not looked at.
//!
//! It is a hint: the condition itself is asked of every row all the same.

use datafusion::common::DFSchema;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::physical_expr::create_physical_expr;
use keyrack_core::analytics::sql::functions::{Comparison, Function};
use keyrack_core::analytics::sql::tables::Grain;
use keyrack_core::analytics::sql::tree::{Expression, From, JoinKind, Kind, Select};
use keyrack_core::analytics::sql::types::Type;

use super::Planner;
use super::expression::Scope;
use crate::filling::value_of;

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 86_400_000;

/// Times of events in Unix ms, both included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// None is earlier.
    pub(crate) from: Option<i64>,
    /// None is later.
    pub(crate) to: Option<i64>,
}

impl Bounds {
    fn not_before(&mut self, time: i64) {
        self.from = Some(self.from.map_or(time, |from| from.max(time)));
    }

    fn not_after(&mut self, time: i64) {
        self.to = Some(self.to.map_or(time, |to| to.min(time)));
    }
}

impl Planner<'_> {
    /// What a select's condition says of the times of a source. Rows that an outer join fills up have other times than
    /// their table, so of such joins nothing is said.
    pub(super) fn bounds(&self, select: &Select, source: usize) -> Bounds {
        let mut bounds = Bounds::default();
        let are_inner = select.joins.iter().all(|join| matches!(join.kind, JoinKind::Inner | JoinKind::Cross));
        let (From::Table(read), Some(filter), true) = (&select.sources[source].from, &select.filter, are_inner)
        else {
            return bounds;
        };
        let column = select.sources[source].columns.iter().position(|column| column.name == "time");
        // How much later than its row's `time` an event may be.
        let within = match read.table().grain {
            Grain::Raw => 0,
            Grain::Minute => MINUTE_MS,
            Grain::Hour => 60 * MINUTE_MS,
            Grain::Day => DAY_MS,
            Grain::Month => 31 * DAY_MS,
        };
        if let Some(column) = column {
            self.narrow(filter, &Kind::Column { source, column }, within, &mut bounds);
        }
        bounds
    }

    fn narrow(&self, condition: &Expression, time: &Kind, within: i64, bounds: &mut Bounds) {
        match &condition.kind {
            Kind::And(all) => all.iter().for_each(|one| self.narrow(one, time, within, bounds)),
            Kind::Range { value, low, high, negated: false } if is_time(value, time) => {
                self.constant(low).into_iter().for_each(|low| bounds.not_before(low));
                self.constant(high).into_iter().for_each(|high| bounds.not_after(high.saturating_add(within)));
            }
            Kind::Comparison { operator, left, right } => {
                let (operator, constant) = if is_time(left, time) {
                    (*operator, self.constant(right))
                } else if is_time(right, time) {
                    (mirrored(*operator), self.constant(left))
                } else {
                    return;
                };
                let Some(constant) = constant else { return };
                if matches!(operator, Comparison::Equal | Comparison::Greater | Comparison::GreaterOrEqual) {
                    bounds.not_before(constant);
                }
                if matches!(operator, Comparison::Equal | Comparison::Less | Comparison::LessOrEqual) {
                    bounds.not_after(constant.saturating_add(within));
                }
            }
            _ => {}
        }
    }

    /// The Unix ms that a constant means beside a time.
    fn constant(&self, expression: &Expression) -> Option<i64> {
        let mut is_constant = true;
        expression.each(|one| {
            is_constant &= !matches!(
                one.kind,
                Kind::Column { .. }
                    | Kind::Element(_)
                    | Kind::Parameter(_)
                    | Kind::Scalar(_)
                    | Kind::InQuery { .. }
            );
        });
        if !is_constant {
            return None;
        }
        let planned = self.expression(expression, &Scope::default()).ok()?;
        let physical = create_physical_expr(
            &planned,
            &DFSchema::empty(),
            &ExecutionProps::new(),
            &PhysicalPlanningContext::default(),
        )
        .ok()?;
        let value = value_of(&*physical).ok().flatten()?;
        match expression.of.inner() {
            Type::Int64 | Type::DateTime64 => Some(value),
            Type::DateTime => value.checked_mul(1000),
            Type::Date => value.checked_mul(DAY_MS),
            _ => None,
        }
    }
}

/// Whether an expression is the column, or only says how its number is meant.
fn is_time(expression: &Expression, time: &Kind) -> bool {
    match &expression.kind {
        kind if kind == time => true,
        Kind::Convert(inner) => {
            let is_widened = matches!(
                (inner.of.inner(), expression.of.inner()),
                (Type::Date, Type::DateTime | Type::DateTime64) | (Type::DateTime, Type::DateTime64)
            );
            is_widened && is_time(inner, time)
        }
        Kind::Function { function: Function::FromUnixMs, arguments } => {
            arguments.first().is_some_and(|inner| is_time(inner, time))
        }
        _ => false,
    }
}

fn mirrored(operator: Comparison) -> Comparison {
    match operator {
        Comparison::Less => Comparison::Greater,
        Comparison::LessOrEqual => Comparison::GreaterOrEqual,
        Comparison::Greater => Comparison::Less,
        Comparison::GreaterOrEqual => Comparison::LessOrEqual,
        same => same,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::common::{Result, internal_err};
    use datafusion::logical_expr::LogicalPlan;
    use keyrack_core::analytics::sql::tables::Tables as Whose;
    use keyrack_core::analytics::sql::tree::{Body, Read};
    use keyrack_core::analytics::sql::{Asked, check};
    use keyrack_core::calendar::UnixMs;

    use super::*;
    use crate::plan::{Rows, Tables};

    /// 2026-11-29T12:00:00Z
    const NOW: i64 = 1_795_953_600_000;
    const TODAY: i64 = NOW - DAY_MS / 2;

    struct NoTables;

    impl Tables for NoTables {
        fn read(&self, _: &Read, _: Rows, _: Bounds) -> Result<LogicalPlan> {
            internal_err!("nothing is read")
        }
    }

    fn bounds(from_and_where: &str) -> [Option<i64>; 2] {
        let asked = Asked {
            operation: Whose::Verifications,
            workspace_id: "ws_1".to_owned(),
            narrowed: None,
            retention_days: 0,
            now: UnixMs::new(NOW),
            most_rows: 10,
            reports: false,
        };
        let checked = check(&format!("SELECT 1 AS a FROM {from_and_where}"), &asked).unwrap();
        let Body::Select(select) = &checked.query.body else { panic!("no select") };
        let Bounds { from, to } = Planner::new(&checked, &NoTables).bounds(select, 0);
        [from, to]
    }

    #[test]
    fn a_condition_on_time_bounds_what_is_read_and_others_do_not() {
        let raw = |condition: &str| bounds(&format!("key_verifications_v1 WHERE {condition}"));
        let week = NOW - 7 * DAY_MS;
        assert_eq!(raw("time >= now() - INTERVAL 7 DAY AND outcome = 'VALID'"), [Some(week), None]);
        assert_eq!(raw(&format!("{NOW} > time AND time > 5 AND time >= 9")), [Some(9), Some(NOW)]);
        assert_eq!(raw("time BETWEEN 5 AND 9"), [Some(5), Some(9)]);
        assert_eq!(
            raw("fromUnixTimestamp64Milli(time) >= toDateTime('2026-11-29 00:00:00')"),
            [Some(TODAY), None]
        );
        for open in [
            "time >= 5 OR outcome = 'VALID'",
            "NOT time >= 5",
            "time + 1 >= 5",
            "time != 5",
            "time NOT BETWEEN 5 AND 9",
        ] {
            assert_eq!(raw(open), [None, None], "{open}");
        }
    }

    #[test]
    fn an_event_may_be_later_than_the_time_of_its_row_by_what_the_row_is_about() {
        let per =
            |grain: &str| bounds(&format!("key_verifications_per_{grain}_v1 WHERE time = toDate('2026-11-29')"));
        assert_eq!(per("day"), [Some(TODAY), Some(TODAY + DAY_MS)]);
        assert_eq!(per("month"), [Some(TODAY), Some(TODAY + 31 * DAY_MS)]);
        let hour = bounds("key_verifications_per_hour_v1 WHERE time <= toDateTime('2026-11-29 00:00:00')");
        assert_eq!(hour, [None, Some(TODAY + 60 * MINUTE_MS)]);
    }

    #[test]
    fn nothing_is_said_of_a_side_that_an_outer_join_fills_up() {
        let joined = |kind: &str| {
            bounds(&format!(
                "key_verifications_v1 AS a {kind} JOIN key_verifications_v1 AS b ON a.key_id = b.key_id WHERE a.time >= 5"
            ))
        };
        assert_eq!([joined("INNER"), joined("LEFT"), joined("FULL")], [[Some(5), None], [None; 2], [None; 2]]);
    }
}
