//! What the tree promises of its types and references, asked of a tree that was made.

use super::functions::{Arithmetic, Function};
use super::tree::{Body, Checked, Expression, Kind, Query, Select};
use super::types::{Literal, Type};

/// Panics where a promise is broken.
pub(crate) fn check(checked: &Checked, text: &str) {
    for select in checked.selects() {
        references(select, text);
        for expression in select.expressions() {
            expression.each(|inner| types(inner, text));
        }
    }
    let named = checked.named.iter().map(|named| &named.query);
    named.chain([&checked.query]).for_each(|query| columns(query, text));
    let Body::Select(outermost) = &checked.query.body else { panic!("{text}: the outermost is no select") };
    assert!(outermost.limit.is_some(), "{text}");
}

fn columns(query: &Query, text: &str) {
    match &query.body {
        Body::Select(select) => {
            let shown = query.columns.iter().map(|column| &column.of);
            assert!(shown.eq(select.projection.iter().map(|column| &column.of)), "{text}");
            assert_eq!(select.joins.len() + 1, select.sources.len().max(1), "{text}");
        }
        Body::Combined { left, right, .. } => {
            for side in [left, right] {
                columns(side, text);
                assert!(query.columns.iter().map(|it| &it.of).eq(side.columns.iter().map(|it| &it.of)), "{text}");
            }
        }
    }
}

fn references(select: &Select, text: &str) {
    let is_grouped = select.grouping.is_some();
    let after: Vec<&Expression> = select
        .projection
        .iter()
        .chain(select.order_by.iter().map(|order| &order.by))
        .chain(select.grouping.iter().flat_map(|grouping| &grouping.having))
        .chain(
            select.windows.iter().flat_map(|window| window.aggregate.argument.iter().chain(&window.partition_by)),
        )
        .collect();
    for expression in after {
        expression.each(|inner| match inner.kind {
            Kind::Column { .. } | Kind::Element(_) => assert!(!is_grouped, "{text}: {inner:?}"),
            Kind::Key(index) => {
                let key = select.grouping.as_ref().and_then(|grouping| grouping.keys.get(index));
                assert_eq!(key.map(|key| &key.of), Some(&inner.of), "{text}");
            }
            Kind::Aggregate(index) => {
                let aggregate = select.grouping.as_ref().and_then(|grouping| grouping.aggregates.get(index));
                assert_eq!(aggregate.map(|aggregate| &aggregate.of), Some(&inner.of), "{text}");
            }
            Kind::Window(index) => assert_eq!(select.windows[index].aggregate.of, inner.of, "{text}"),
            Kind::Output(index) => assert_eq!(select.projection[index].of, inner.of, "{text}"),
            _ => {}
        });
    }
    let before = select.array_joins.iter().chain(&select.filter);
    let keys = select.grouping.iter().flat_map(|grouping| &grouping.keys);
    for expression in before.chain(keys) {
        expression.each(|inner| match inner.kind {
            Kind::Column { source, column } => {
                assert_eq!(select.sources[source].columns[column].of, inner.of, "{text}");
            }
            Kind::Element(index) => assert!(index < select.array_joins.len(), "{text}"),
            Kind::Key(_) | Kind::Aggregate(_) | Kind::Window(_) | Kind::Output(_) => panic!("{text}: {inner:?}"),
            _ => {}
        });
    }
}

fn types(expression: &Expression, text: &str) {
    let of = &expression.of;
    let told = || format!("{text}: {expression:?}");
    assert!(!matches!(of, Type::Interval(_)), "{}", told());
    let alike = |left: &Expression, right: &Expression| {
        left.of.inner() == right.of.inner() || (left.of.is_integer() && right.of.is_integer())
    };
    let is_condition = |it: &Expression| *it.of.inner() == Type::Bool;
    match &expression.kind {
        Kind::Literal(literal) => {
            assert!(*literal == Literal::Null || literal.of() == *of.inner(), "{}", told());
            assert!(*literal != Literal::Null || of.is_nullable(), "{}", told());
        }
        Kind::Convert(inner) => {
            assert_ne!(inner.of, *of, "{}", told());
            assert!(!inner.of.is_nullable() || of.is_nullable(), "{}", told());
        }
        Kind::Arithmetic { operator, left, right } => {
            assert!(left.of.inner() == of.inner() && right.of.inner() == of.inner(), "{}", told());
            assert!(*operator != Arithmetic::Divide || *of.inner() == Type::Float64, "{}", told());
        }
        Kind::Later { time, amount, .. } => {
            assert!(
                time.of.inner() == of.inner() && of.is_time() && *amount.of.inner() == Type::Int64,
                "{}",
                told()
            );
        }
        Kind::Elapsed { left, right } => assert!(alike(left, right) && left.of.is_time(), "{}", told()),
        Kind::Comparison { left, right, .. } => assert!(alike(left, right), "{}", told()),
        Kind::Range { value, low, high, .. } => assert!(alike(value, low) && alike(value, high), "{}", told()),
        Kind::And(parts) | Kind::Or(parts) => {
            assert!(parts.len() > 1 && parts.iter().all(is_condition), "{}", told());
        }
        Kind::Not(inner) => assert!(is_condition(inner), "{}", told()),
        Kind::InList { value, list, .. } => {
            assert!(list.iter().all(|literal| literal.of() == *value.of.inner()), "{}", told());
        }
        Kind::InQuery { value, query, .. } => {
            assert_eq!(query.columns[0].of.inner(), value.of.inner(), "{}", told());
        }
        Kind::Case { branches, otherwise } => {
            assert!(
                branches.iter().all(|(condition, value)| is_condition(condition) && value.of == *of),
                "{}",
                told()
            );
            assert_eq!(otherwise.of, *of, "{}", told());
        }
        Kind::Array(elements) => {
            assert!(elements.iter().all(|it| Type::Array(Box::new(it.of.clone())) == *of), "{}", told());
        }
        Kind::ArrayFilter { array, condition, .. } => {
            assert!(array.of == *of && is_condition(condition), "{}", told());
        }
        Kind::Function { function, arguments } => arguments_of(function, arguments, &told()),
        _ => {}
    }
}

fn arguments_of(function: &Function, arguments: &[Expression], told: &str) {
    let inner: Vec<&Type> = arguments.iter().map(|argument| argument.of.inner()).collect();
    let is_right = match (function, &inner[..]) {
        (Function::Lower | Function::Upper | Function::Trim { .. } | Function::Length, [Type::String]) => true,
        (Function::StartsWith | Function::EndsWith, [Type::String, Type::String]) => true,
        (Function::Concat | Function::JsonExtractString, texts) => texts.iter().all(|text| **text == Type::String),
        (Function::Substring, [Type::String, rest @ ..]) => rest.iter().all(|place| **place == Type::Int64),
        (Function::ArrayLength, [Type::Array(_)]) => true,
        (Function::Has, [Type::Array(of), _]) => **of == arguments[1].of,
        (Function::HasAny | Function::HasAll, [left, right]) => left == right,
        (Function::ArrayElement, [Type::Array(_), Type::Int64]) => true,
        (Function::StartOf(_), [time]) => time.is_time(),
        (Function::FormatDateTime(_) | Function::ToUnixSeconds, [Type::DateTime]) => true,
        (Function::ToUnixMs, [Type::DateTime64]) => true,
        (Function::FromUnixMs | Function::LowerInt32, [Type::Int64]) => true,
        (Function::Coalesce, [.., _]) => {
            let (last, others) = arguments.split_last().unwrap();
            others.iter().all(|it| it.of.is_nullable() && it.of.inner() == last.of.inner())
        }
        (
            Function::Round { .. } | Function::Floor { .. } | Function::Ceil { .. } | Function::Abs,
            [Type::Int64 | Type::UInt64 | Type::Float64],
        ) => true,
        _ => false,
    };
    assert!(is_right, "{told}");
}
