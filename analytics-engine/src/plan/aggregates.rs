//! Aggregates, in groups and over windows.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::ScalarValue;
use datafusion::functions_aggregate::array_agg::array_agg_udaf;
use datafusion::functions_aggregate::average::avg_udaf;
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::expr::{AggregateFunction as Call, WindowFunction};
use datafusion::logical_expr::{
    AggregateUDF, Expr, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition, and, lit,
};
use keyrack_core::analytics::sql::functions::AggregateFunction;
use keyrack_core::analytics::sql::tree::{Aggregate, Frame, Place, WindowCall};
use keyrack_core::analytics::sql::types::{Literal, Type};

use super::Planner;
use super::expression::{Scope, coalesce};
use crate::kernels::{Kernel, Work};
use crate::values::constant;
use crate::{quantiles, saturating, states, unique};

/// A call of DataFusion's.
struct Asked {
    function: Arc<AggregateUDF>,
    arguments: Vec<Expr>,
    distinct: bool,
    filter: Option<Box<Expr>>,
}

impl Planner<'_> {
    /// An aggregate of a group.
    pub(super) fn aggregate(&self, aggregate: &Aggregate, scope: &Scope) -> Result<Expr> {
        let Asked { function, arguments, distinct, filter } = self.asked(aggregate, scope)?;
        Ok(Expr::AggregateFunction(Call::new_udf(function, arguments, distinct, filter, vec![], None)))
    }

    /// An aggregate over a window.
    pub(super) fn window(&self, window: &WindowCall, scope: &Scope) -> Result<Expr> {
        let Asked { function, arguments, filter, .. } = self.asked(&window.aggregate, scope)?;
        let mut made = WindowFunction::new(WindowFunctionDefinition::AggregateUDF(function), arguments);
        made.params.partition_by = self.all(&window.partition_by, scope)?;
        made.params.order_by =
            window.order_by.iter().map(|order| self.sort(order, scope)).collect::<Result<_>>()?;
        made.params.filter = filter;
        made.params.window_frame = frame(window.frame);
        Ok(Expr::WindowFunction(Box::new(made)))
    }

    fn asked(&self, aggregate: &Aggregate, scope: &Scope) -> Result<Asked> {
        let argument = aggregate.argument.as_ref().map(|one| self.expression(one, scope)).transpose()?;
        let mut filter = aggregate.condition.as_ref().map(|one| self.expression(one, scope)).transpose()?;
        let mut distinct = aggregate.distinct;
        // NULLs are left out by all; DataFusion keeps them in these.
        let keeps_nulls = matches!(
            aggregate.function,
            AggregateFunction::GroupArray | AggregateFunction::GroupUniqueArray | AggregateFunction::Any
        );
        if let (true, Some(argument), Some(of)) = (keeps_nulls, &argument, aggregate.argument.as_ref())
            && of.of.is_nullable()
        {
            let is_there = Expr::IsNotNull(Box::new(argument.clone()));
            filter = Some(filter.into_iter().fold(is_there, and));
        }
        let mut arguments: Vec<Expr> = argument.into_iter().collect();
        let function = match &aggregate.function {
            AggregateFunction::Count => {
                if arguments.is_empty() {
                    arguments.push(lit(1_i64));
                }
                count_udaf()
            }
            AggregateFunction::Sum => {
                let of = aggregate.argument.as_ref().map(|argument| argument.of.inner());
                let is_integer = matches!(of, Some(Type::Int64 | Type::UInt64));
                if is_integer && !distinct { saturating::sum() } else { sum_udaf() }
            }
            AggregateFunction::Average => avg_udaf(),
            AggregateFunction::Minimum => min_udaf(),
            AggregateFunction::Maximum => max_udaf(),
            AggregateFunction::Any => {
                distinct = false;
                first_value_udaf()
            }
            AggregateFunction::GroupArray => array_agg_udaf(),
            AggregateFunction::GroupUniqueArray => {
                distinct = true;
                array_agg_udaf()
            }
            // Doubles (NaN, -0), truth values and arrays are told apart by what compares them.
            AggregateFunction::ApproximateUnique => {
                let of = aggregate.argument.as_ref().map(|argument| argument.of.inner());
                distinct = !matches!(of, Some(of) if of.is_integer() || of.is_time() || *of == Type::String);
                if distinct { count_udaf() } else { unique::unique() }
            }
            AggregateFunction::ExactUnique => {
                distinct = true;
                count_udaf()
            }
            AggregateFunction::Quantile(level) => {
                let of = aggregate.argument.iter().map(|argument| argument.of.clone());
                arguments = arguments.into_iter().zip(of).map(as_double).collect();
                quantiles::quantile(*level)
            }
            AggregateFunction::AverageMerge => states::average_merge(),
            AggregateFunction::QuantilesTDigestMerge(levels) => states::digest_merge(levels),
        };
        Ok(Asked { function, arguments, distinct, filter: filter.map(Box::new) })
    }
}

/// The value of an aggregate that DataFusion computed: of no rows it says NULL where ClickHouse says the default. Counts
/// are `UInt64`.
pub(super) fn valued(aggregate: &Aggregate, computed: Expr) -> Expr {
    use AggregateFunction as Function;
    let computed = match aggregate.function {
        Function::Count | Function::ExactUnique | Function::ApproximateUnique => {
            return datafusion::logical_expr::cast(computed, arrow::datatypes::DataType::UInt64);
        }
        _ => computed,
    };
    let nothing = match aggregate.function {
        _ if aggregate.of.is_nullable() => return computed,
        Function::Average | Function::Quantile(_) | Function::AverageMerge => ScalarValue::Float64(Some(f64::NAN)),
        Function::QuantilesTDigestMerge(_) => return computed,
        _ => constant(&aggregate.of.default_value().unwrap_or(Literal::Null), &aggregate.of),
    };
    coalesce([computed, Expr::Literal(nothing, None)])
}

fn as_double((value, of): (Expr, Type)) -> Expr {
    if *of.inner() == Type::Float64 {
        return value;
    }
    Kernel::call(Work::Convert, vec![(value, of)], Type::Float64.nullable())
}

fn frame(frame: Frame) -> WindowFrame {
    let start_of_partition = WindowFrameBound::Preceding(ScalarValue::UInt64(None));
    let end_of_partition = WindowFrameBound::Following(ScalarValue::UInt64(None));
    let place = |place: Place, end: WindowFrameBound| match place {
        Place::End => end,
        Place::Offset(0) => WindowFrameBound::CurrentRow,
        Place::Offset(rows) if rows < 0 => {
            WindowFrameBound::Preceding(ScalarValue::UInt64(Some(rows.unsigned_abs())))
        }
        Place::Offset(rows) => WindowFrameBound::Following(ScalarValue::UInt64(Some(rows.unsigned_abs()))),
    };
    match frame {
        Frame::Partition => WindowFrame::new_bounds(WindowFrameUnits::Rows, start_of_partition, end_of_partition),
        Frame::UpToPeers => WindowFrame::new(Some(false)),
        Frame::Rows { from, to } => WindowFrame::new_bounds(
            WindowFrameUnits::Rows,
            place(from, start_of_partition),
            place(to, end_of_partition),
        ),
    }
}
