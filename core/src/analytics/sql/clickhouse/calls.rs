//! Names of functions and aggregates in ClickHouse.

use super::super::functions::{AggregateFunction, FormatPiece, Function, Period};
use super::quoted;

/// The name of an aggregate, and its parameters in parentheses.
pub(super) fn aggregate(function: &AggregateFunction) -> (&'static str, Option<String>) {
    match function {
        AggregateFunction::Count => ("count", None),
        AggregateFunction::Sum => ("sum", None),
        AggregateFunction::Average => ("avg", None),
        AggregateFunction::Minimum => ("min", None),
        AggregateFunction::Maximum => ("max", None),
        AggregateFunction::Any => ("any", None),
        AggregateFunction::GroupArray => ("groupArray", None),
        AggregateFunction::GroupUniqueArray => ("groupUniqArray", None),
        AggregateFunction::ApproximateUnique => ("uniq", None),
        AggregateFunction::ExactUnique => ("uniqExact", None),
        AggregateFunction::Quantile(level) => ("quantile", Some(format!("({level})"))),
        AggregateFunction::AverageMerge => ("avgMerge", None),
        AggregateFunction::QuantilesTDigestMerge(levels) => {
            let levels: Vec<_> = levels.iter().map(f64::to_string).collect();
            ("quantilesTDigestMerge", Some(format!("({})", levels.join(", "))))
        }
    }
}

/// A function whose arguments stand between what is given.
pub(super) fn function(function: &Function) -> (String, String) {
    let rest = |text: String| format!(", {text})");
    let (name, end) = match function {
        Function::Lower => ("lower", None),
        Function::Upper => ("upper", None),
        Function::Substring => ("substring", None),
        Function::Concat => ("concat", None),
        Function::Length | Function::ArrayLength => ("length", None),
        Function::Trim { leading: true, trailing: true } => ("trimBoth", None),
        Function::Trim { leading: true, trailing: false } => ("trimLeft", None),
        Function::Trim { leading: false, .. } => ("trimRight", None),
        Function::StartsWith => ("startsWith", None),
        Function::EndsWith => ("endsWith", None),
        Function::JsonExtractString => ("JSONExtractString", None),
        Function::Round { decimals } => ("round", Some(rest(decimals.to_string()))),
        Function::Floor { decimals } => ("floor", Some(rest(decimals.to_string()))),
        Function::Ceil { decimals } => ("ceil", Some(rest(decimals.to_string()))),
        Function::Abs => ("abs", None),
        Function::Coalesce => ("coalesce", None),
        Function::LowerInt32 => ("toInt32", None),
        Function::Has => ("has", None),
        Function::HasAny => ("hasAny", None),
        Function::HasAll => ("hasAll", None),
        Function::ArrayElement => ("arrayElement", None),
        Function::StartOf(period) => return start_of(*period),
        Function::FormatDateTime(pieces) => {
            ("formatDateTime", Some(format!(", {}, 'UTC')", quoted(&format(pieces)))))
        }
        Function::FromUnixMs => ("fromUnixTimestamp64Milli", Some(", 'UTC')".to_owned())),
        Function::ToUnixMs => ("toUnixTimestamp64Milli", None),
        Function::ToUnixSeconds => ("toUnixTimestamp", None),
    };
    (format!("{name}("), end.unwrap_or_else(|| ")".to_owned()))
}

fn start_of(period: Period) -> (String, String) {
    let utc = ", 'UTC')".to_owned();
    match period {
        Period::Second => ("toDateTime(".to_owned(), utc),
        Period::SundayWeek => ("toStartOfWeek(".to_owned(), ", 0, 'UTC')".to_owned()),
        Period::MondayWeek => ("toStartOfWeek(".to_owned(), ", 1, 'UTC')".to_owned()),
        other => (format!("toStartOf{}(", other.unit().name()), utc),
    }
}

fn format(pieces: &[FormatPiece]) -> String {
    let mut format = String::new();
    for piece in pieces {
        match piece {
            FormatPiece::Text(text) => format.push_str(&text.replace('%', "%%")),
            code => {
                let known = FormatPiece::ALL.iter().find(|(_, known)| known == code);
                format.extend(known.into_iter().flat_map(|(letter, _)| ['%', *letter]));
            }
        }
    }
    format
}
