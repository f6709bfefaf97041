//! Calls of aggregates, over groups and over windows.

use sqlparser::ast::{Expr, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowSpec, WindowType};

use super::super::functions::AggregateFunction;
use super::super::tree::{Aggregate, Expression, Frame, Kind, Order, Place as FramePlace, WindowCall};
use super::super::types::{Literal, State, Type};
use super::calls::Call;
use super::converting::{convert, wrong_type};
use super::query::Builder;
use super::scope::{Place, Scope};
use super::{excerpt, not_offered, refused};
use crate::error::Error;

/// Each aggregate that takes no state, with what it needs of its call.
const PLAIN: &[(&str, Plain)] = &[
    ("any", Plain::Any),
    ("avg", Plain::Average),
    ("count", Plain::Count),
    ("groupArray", Plain::GroupArray),
    ("groupUniqArray", Plain::GroupUniqueArray),
    ("max", Plain::Maximum),
    ("median", Plain::Quantile),
    ("min", Plain::Minimum),
    ("quantile", Plain::Quantile),
    ("sum", Plain::Sum),
    ("uniq", Plain::ApproximateUnique),
    ("uniqExact", Plain::ExactUnique),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plain {
    Any,
    ApproximateUnique,
    Average,
    Count,
    ExactUnique,
    GroupArray,
    GroupUniqueArray,
    Maximum,
    Minimum,
    Quantile,
    Sum,
}

fn plain(name: &str) -> Option<Plain> {
    PLAIN.iter().find(|(known, _)| *known == name).map(|(_, plain)| *plain)
}

impl Builder<'_> {
    /// A call of an aggregate.
    pub(super) fn aggregate<'q>(&mut self, scope: &mut Scope<'q>, call: &Call<'q>) -> Result<Expression, Error> {
        if let Some(over) = call.over {
            return self.window(scope, call, over);
        }
        if !scope.place.aggregates {
            return Err(misplaced(call.name, scope.place.name));
        }
        let place = std::mem::replace(&mut scope.place, Place { array_joins: true, ..Place::row("an aggregate") });
        let aggregate = self.aggregate_of(scope, call);
        scope.place = place;
        let aggregate = aggregate?;
        let of = aggregate.of.clone();
        let same = scope.aggregates.iter().position(|known| *known == aggregate);
        let index = same.unwrap_or_else(|| {
            scope.aggregates.push(aggregate);
            scope.aggregates.len() - 1
        });
        Ok(Expression { kind: Kind::Aggregate(index), of })
    }

    fn aggregate_of<'q>(&mut self, scope: &mut Scope<'q>, call: &Call<'q>) -> Result<Aggregate, Error> {
        if matches!(call.name, "avgMerge" | "quantilesTDigestMerge") {
            return self.merge(scope, call);
        }
        let (base, is_conditional) = match plain(call.name) {
            Some(_) => (call.name, false),
            None => (call.name.strip_suffix("If").unwrap_or(call.name), true),
        };
        let plain = plain(base).ok_or_else(|| call.wrong_number("other"))?;
        let mut arguments = call.arguments.clone();
        let mut conditions = Vec::new();
        if is_conditional {
            let written = arguments.pop().ok_or_else(|| call.wrong_number("more"))?;
            conditions.push(self.condition(scope, written)?);
        }
        if let Some(written) = call.filter {
            conditions.push(self.condition(scope, written)?);
        }
        let argument = match (plain, &arguments[..]) {
            (Plain::Count, []) => None,
            (_, [written]) if !call.is_star => Some((self.value(scope, written)?, *written)),
            _ if is_conditional => return Err(call.wrong_number("two")),
            _ => return Err(call.wrong_number("one")),
        };
        if argument.is_none() && call.distinct {
            return Err(refused("`count(DISTINCT …)` takes an expression."));
        }
        let function = self.function(scope, plain, base, call)?;
        let condition = match conditions.len() {
            0 | 1 => conditions.pop(),
            _ => {
                let is_nullable = conditions.iter().any(|condition| condition.of.is_nullable());
                Some(Expression::question(Kind::And(conditions), is_nullable))
            }
        };
        typed(function, argument, call.distinct, condition, base)
    }

    fn function<'q>(
        &mut self,
        scope: &mut Scope<'q>,
        plain: Plain,
        base: &str,
        call: &Call<'q>,
    ) -> Result<AggregateFunction, Error> {
        let levels = self.levels(scope, call)?;
        let level = match (plain, &levels[..]) {
            (Plain::Quantile, [level]) if base == "quantile" => *level,
            (Plain::Quantile, []) => 0.5,
            (_, []) => 0.0,
            _ => {
                return Err(refused(format!(
                    "`{}` takes no such parameters in front of its arguments.",
                    call.name
                )));
            }
        };
        Ok(match plain {
            Plain::Any => AggregateFunction::Any,
            Plain::ApproximateUnique => AggregateFunction::ApproximateUnique,
            Plain::Average => AggregateFunction::Average,
            Plain::Count => AggregateFunction::Count,
            Plain::ExactUnique => AggregateFunction::ExactUnique,
            Plain::GroupArray => AggregateFunction::GroupArray,
            Plain::GroupUniqueArray => AggregateFunction::GroupUniqueArray,
            Plain::Maximum => AggregateFunction::Maximum,
            Plain::Minimum => AggregateFunction::Minimum,
            Plain::Quantile => AggregateFunction::Quantile(level),
            Plain::Sum => AggregateFunction::Sum,
        })
    }

    /// Constants from 0 to 1 in front of the arguments.
    fn levels<'q>(&mut self, scope: &mut Scope<'q>, call: &Call<'q>) -> Result<Vec<f64>, Error> {
        let mut levels = Vec::with_capacity(call.parameters.len());
        for written in &call.parameters {
            let level = match convert(self.value(scope, written)?, &Type::Float64).kind {
                Kind::Literal(Literal::Float64(level)) => level,
                _ => f64::NAN,
            };
            if !(0.0..=1.0).contains(&level) {
                return Err(refused(format!(
                    "The level of `{}` is a constant from 0 to 1, not {}.",
                    call.name,
                    excerpt(written)
                )));
            }
            levels.push(level);
        }
        Ok(levels)
    }

    /// An aggregate of states.
    fn merge<'q>(&mut self, scope: &mut Scope<'q>, call: &Call<'q>) -> Result<Aggregate, Error> {
        if call.distinct || call.is_star {
            return Err(refused(format!("`{}` takes a column of states.", call.name)));
        }
        let [written] = call.exactly()?;
        let argument = self.value(scope, written)?;
        let condition = match call.filter {
            Some(written) => Some(self.condition(scope, written)?),
            None => None,
        };
        let levels = self.levels(scope, call)?;
        let (function, of) = match (call.name, &argument.of) {
            ("avgMerge", Type::State(State::Average)) if levels.is_empty() => {
                (AggregateFunction::AverageMerge, Type::Float64)
            }
            ("quantilesTDigestMerge", Type::State(State::Quantile75 | State::Quantile99))
                if !levels.is_empty() =>
            {
                (AggregateFunction::QuantilesTDigestMerge(levels), Type::Array(Box::new(Type::Float64)))
            }
            (name, of) => {
                let wanted = if name == "avgMerge" {
                    "`latency_avg`"
                } else {
                    "a level in front, and `latency_p75` or `latency_p99`"
                };
                return Err(wrong_type(name, wanted, of, written));
            }
        };
        Ok(Aggregate { function, argument: Some(argument), distinct: false, condition, of })
    }

    fn window<'q>(
        &mut self,
        scope: &mut Scope<'q>,
        call: &Call<'q>,
        over: &'q WindowType,
    ) -> Result<Expression, Error> {
        if !scope.place.windows {
            return Err(refused(format!(
                "A function with `OVER` cannot stand in {}. Use a subquery.",
                scope.place.name
            )));
        }
        let base = call.name.strip_suffix("If").unwrap_or(call.name);
        if !matches!(base, "avg" | "count" | "max" | "min" | "sum") || call.distinct {
            return Err(refused(format!(
                "`{}` with `OVER` is not offered. There are `count`, `sum`, `avg`, `min` and `max`, without `DISTINCT`.",
                call.name
            )));
        }
        let spec = match over {
            WindowType::WindowSpec(spec) => spec,
            WindowType::NamedWindow(name) => {
                let found = scope.window_names.iter().find(|(known, _)| *known == name.value);
                found
                    .map(|(_, spec)| *spec)
                    .ok_or_else(|| refused(format!("There is no window {}.", excerpt(name))))?
            }
        };
        let place = Place { name: "a window", aggregates: true, windows: false, array_joins: true };
        let place = std::mem::replace(&mut scope.place, place);
        let made = self.window_of(scope, call, spec);
        scope.place = place;
        let made = made?;
        let of = made.aggregate.of.clone();
        let same = scope.windows.iter().position(|known| *known == made);
        let index = same.unwrap_or_else(|| {
            scope.windows.push(made);
            scope.windows.len() - 1
        });
        Ok(Expression { kind: Kind::Window(index), of })
    }

    fn window_of<'q>(
        &mut self,
        scope: &mut Scope<'q>,
        call: &Call<'q>,
        spec: &'q WindowSpec,
    ) -> Result<WindowCall, Error> {
        let WindowSpec { window_name, partition_by: partition, order_by: keys, window_frame } = spec;
        if window_name.is_some() {
            return Err(not_offered("A window made of another"));
        }
        let aggregate = self.aggregate_of(scope, call)?;
        let mut partition_by = Vec::with_capacity(partition.len());
        for written in partition {
            partition_by.push(self.value(scope, written)?);
        }
        let mut order_by = Vec::with_capacity(keys.len());
        for key in keys {
            let by = self.value(scope, &key.expr)?;
            order_by.push(Order { by, ..super::ordering::direction(key)? });
        }
        let frame = frame(window_frame.as_ref(), order_by.is_empty())?;
        Ok(WindowCall { aggregate, partition_by, order_by, frame })
    }
}

fn misplaced(name: &str, place: &str) -> Error {
    let help = match place {
        "`WHERE`" => {
            "Use `HAVING` for what is computed of groups. If a column is meant that an alias hides, qualify it with its table."
        }
        "an aggregate" => {
            "Compute the inner one in a subquery. If a column is meant that an alias hides, qualify it with its table."
        }
        _ => "Compute it in a subquery.",
    };
    refused(format!("The aggregate `{name}` cannot stand in {place}. {help}"))
}

/// The aggregate with the type of its result.
fn typed(
    function: AggregateFunction,
    argument: Option<(Expression, &Expr)>,
    distinct: bool,
    condition: Option<Expression>,
    name: &str,
) -> Result<Aggregate, Error> {
    use AggregateFunction as F;
    let Some((mut argument, written)) = argument else {
        return Ok(Aggregate { function, argument: None, distinct, condition, of: Type::UInt64 });
    };
    let is_nullable = argument.of.is_nullable();
    let needs_number = matches!(function, F::Sum | F::Average | F::Quantile(_));
    let is_number = argument.of.is_number() || *argument.of.inner() == Type::Bool;
    let is_usable = match &argument.of {
        Type::State(_) | Type::Null | Type::Interval(_) => false,
        Type::Array(_) => matches!(function, F::Count | F::ApproximateUnique | F::ExactUnique | F::Any),
        _ => !needs_number || is_number,
    };
    if !is_usable {
        let wanted = if needs_number { "a number" } else { "another type" };
        return Err(wrong_type(name, wanted, &argument.of, written));
    }
    if needs_number && *argument.of.inner() == Type::Bool {
        argument = convert(argument, &Type::UInt64);
    }
    let inner = argument.of.inner().clone();
    let of = match function {
        F::Count | F::ApproximateUnique | F::ExactUnique => {
            return Ok(Aggregate { function, argument: Some(argument), distinct, condition, of: Type::UInt64 });
        }
        F::GroupArray | F::GroupUniqueArray => {
            let of = Type::Array(Box::new(inner));
            return Ok(Aggregate { function, argument: Some(argument), distinct, condition, of });
        }
        F::Average | F::Quantile(_) => Type::Float64,
        _ => inner,
    };
    let of = if is_nullable { of.nullable() } else { of };
    Ok(Aggregate { function, argument: Some(argument), distinct, condition, of })
}

fn frame(written: Option<&WindowFrame>, is_unordered: bool) -> Result<Frame, Error> {
    let Some(WindowFrame { units, start_bound, end_bound }) = written else {
        return Ok(if is_unordered { Frame::Partition } else { Frame::UpToPeers });
    };
    let end_bound = end_bound.as_ref().unwrap_or(&WindowFrameBound::CurrentRow);
    let (from, to) = (bound(start_bound, true)?, bound(end_bound, false)?);
    match (units, from, to) {
        (_, FramePlace::End, FramePlace::End) => Ok(Frame::Partition),
        (WindowFrameUnits::Rows, FramePlace::Offset(from), FramePlace::Offset(to)) if from > to => {
            Err(refused("The frame of a window ends before it begins."))
        }
        (WindowFrameUnits::Rows, from, to) => Ok(Frame::Rows { from, to }),
        (WindowFrameUnits::Range, FramePlace::End, FramePlace::Offset(0)) if !is_unordered => Ok(Frame::UpToPeers),
        _ => Err(refused("The frame of a window is counted in `ROWS` here, or is `RANGE UNBOUNDED PRECEDING`.")),
    }
}

fn bound(written: &WindowFrameBound, is_start: bool) -> Result<FramePlace, Error> {
    let number = |written: &Expr| match written {
        Expr::Value(value) => match &value.value {
            sqlparser::ast::Value::Number(digits, _) => digits.parse::<u32>().ok().map(i64::from),
            _ => None,
        },
        _ => None,
    };
    let offset = |written: &Expr, sign: i64| {
        let number =
            number(written).ok_or_else(|| refused("The frame of a window is counted in whole numbers."))?;
        Ok(FramePlace::Offset(sign * number))
    };
    match written {
        WindowFrameBound::CurrentRow => Ok(FramePlace::Offset(0)),
        WindowFrameBound::Preceding(None) if is_start => Ok(FramePlace::End),
        WindowFrameBound::Following(None) if !is_start => Ok(FramePlace::End),
        WindowFrameBound::Preceding(Some(written)) => offset(written, -1),
        WindowFrameBound::Following(Some(written)) => offset(written, 1),
        WindowFrameBound::Preceding(None) | WindowFrameBound::Following(None) => {
            Err(refused("A frame cannot end at the first row, or begin at the last."))
        }
    }
}
