//! Expressions of a checked tree in ClickHouse's words.

use super::super::functions::{Arithmetic, Comparison, Function, Period};
use super::super::tree::{Expression, Kind};
use super::super::types::{Literal, Type};
use super::{Around, Printer, calls, quoted};

impl Printer<'_> {
    /// An expression; whatever is made of several parts is in parentheses or is a call.
    pub(super) fn expression(&mut self, around: Around<'_>, expression: &Expression) {
        match &expression.kind {
            Kind::Literal(literal) => self.literal(literal, &expression.of),
            Kind::Column { source, column } => self.push(&around.column(*source, *column)),
            Kind::Element(index) => self.push(&around.element(*index)),
            Kind::Key(index) => self.push(&around.key(*index)),
            Kind::Aggregate(index) => self.push(&around.aggregate(*index)),
            Kind::Window(index) => self.push(&around.window(*index)),
            Kind::Output(index) => self.push(&format!("c{index}")),
            Kind::Parameter(number) => self.push(&format!("x{number}")),
            Kind::Convert(inner) => self.convert(around, inner, &expression.of),
            Kind::Arithmetic { operator, left, right } => {
                self.between(around, left, arithmetic(*operator), right);
            }
            Kind::Later { time, amount, unit } => {
                self.push("(");
                self.expression(around, time);
                self.push(&format!(" + toInterval{}(", unit.name()));
                self.expression(around, amount);
                self.push("))");
            }
            Kind::Elapsed { left, right } => {
                self.push("toInt64(");
                self.between(around, left, "-", right);
                self.push(")");
            }
            Kind::Comparison { operator, left, right } => self.between(around, left, comparison(*operator), right),
            Kind::Range { value, low, high, negated } => {
                self.push("(");
                self.expression(around, value);
                self.push(if *negated { " NOT BETWEEN " } else { " BETWEEN " });
                self.expression(around, low);
                self.push(" AND ");
                self.expression(around, high);
                self.push(")");
            }
            Kind::And(parts) => self.joined(around, " AND ", parts),
            Kind::Or(parts) => self.joined(around, " OR ", parts),
            Kind::Not(inner) => {
                self.push("not(");
                self.expression(around, inner);
                self.push(")");
            }
            other => self.rarer(around, other, &expression.of),
        }
    }

    fn rarer(&mut self, around: Around<'_>, kind: &Kind, of: &Type) {
        match kind {
            Kind::IsNull { value, negated } => {
                self.push(if *negated { "isNotNull(" } else { "isNull(" });
                self.expression(around, value);
                self.push(")");
            }
            Kind::Like { value, pattern, negated, ignores_case } => {
                self.push(match (negated, ignores_case) {
                    (false, false) => "like(",
                    (true, false) => "notLike(",
                    (false, true) => "ilike(",
                    (true, true) => "notILike(",
                });
                self.expression(around, value);
                self.push(&format!(", {})", quoted(pattern)));
            }
            Kind::InList { value, list, negated } => self.in_list(around, value, list, *negated),
            Kind::InQuery { value, query, negated } => {
                self.push("(");
                self.expression(around, value);
                self.push(if *negated { " NOT IN (" } else { " IN (" });
                self.query(query);
                self.push("))");
            }
            Kind::Scalar(query) => {
                self.push("(");
                self.query(query);
                self.push(")");
            }
            Kind::Case { branches, otherwise } => {
                self.push("CASE");
                for (condition, value) in branches {
                    self.push(" WHEN ");
                    self.expression(around, condition);
                    self.push(" THEN ");
                    self.expression(around, value);
                }
                self.push(" ELSE ");
                self.expression(around, otherwise);
                self.push(" END");
            }
            Kind::Array(elements) => {
                self.push(if elements.is_empty() { "CAST([" } else { "[" });
                self.separated(", ", elements, |printer, element| printer.expression(around, element));
                self.push("]");
                if elements.is_empty() {
                    self.push(&format!(", {})", quoted(&empty_array(of))));
                }
            }
            Kind::ArrayFilter { array, parameter, condition } => {
                self.push(&format!("arrayFilter(x{parameter} -> "));
                self.expression(around, condition);
                self.push(", ");
                self.expression(around, array);
                self.push(")");
            }
            Kind::Function { function, arguments } => self.function(around, function, arguments),
            // `expression` has the others.
            _ => {}
        }
    }

    fn function(&mut self, around: Around<'_>, function: &Function, arguments: &[Expression]) {
        let is_week_of_day = matches!(function, Function::StartOf(period) if period.has_no_zone())
            && arguments.first().is_some_and(|argument| *argument.of.inner() == Type::Date);
        let (begin, end) = calls::function(function);
        self.push(&begin);
        self.separated(", ", arguments, |printer, argument| printer.expression(around, argument));
        self.push(if is_week_of_day { end.trim_end_matches(", 'UTC')") } else { &end });
        self.push(if is_week_of_day { ")" } else { "" });
    }

    fn between(&mut self, around: Around<'_>, left: &Expression, operator: &str, right: &Expression) {
        self.push("(");
        self.expression(around, left);
        self.push(&format!(" {operator} "));
        self.expression(around, right);
        self.push(")");
    }

    fn joined(&mut self, around: Around<'_>, operator: &str, parts: &[Expression]) {
        self.push("(");
        self.separated(operator, parts, |printer, part| printer.expression(around, part));
        self.push(")");
    }

    fn in_list(&mut self, around: Around<'_>, value: &Expression, list: &[Literal], negated: bool) {
        self.push(if negated { "notIn(" } else { "in(" });
        self.expression(around, value);
        let of = value.of.inner();
        if list.is_empty() {
            // No value is among none, and NULL stays NULL.
            self.push(&format!(", CAST([], 'Array({of})'))"));
            return;
        }
        self.push(", (");
        self.separated(", ", list, |printer, literal| printer.literal(literal, of));
        self.push(if list.len() == 1 { ",))" } else { "))" });
    }

    fn convert(&mut self, around: Around<'_>, inner: &Expression, to: &Type) {
        let target = match (to.inner(), to.is_nullable()) {
            (Type::DateTime, false) => "DateTime(\\'UTC\\')".to_owned(),
            (Type::DateTime, true) => "Nullable(DateTime(\\'UTC\\'))".to_owned(),
            (Type::DateTime64, false) => "DateTime64(3, \\'UTC\\')".to_owned(),
            (Type::DateTime64, true) => "Nullable(DateTime64(3, \\'UTC\\'))".to_owned(),
            _ => to.to_string(),
        };
        self.push("CAST(");
        self.expression(around, inner);
        self.push(&format!(", '{target}')"));
    }

    fn literal(&mut self, literal: &Literal, of: &Type) {
        let plain = match literal {
            Literal::Null if *of == Type::Null => "NULL".to_owned(),
            Literal::Null => format!("CAST(NULL, {})", quoted(&zoneless(of))),
            Literal::Bool(value) => value.to_string(),
            Literal::Int64(value) => format!("toInt64({value})"),
            Literal::UInt64(value) => format!("toUInt64({value})"),
            Literal::Float64(value) => format!("toFloat64({value:?})"),
            Literal::String(text) => quoted(text),
            Literal::Date(day) => format!("toDate({day})"),
            Literal::DateTime(second) => format!("toDateTime({second}, 'UTC')"),
            Literal::DateTime64(ms) => format!("fromUnixTimestamp64Milli({ms}, 'UTC')"),
            Literal::NoElements => "[]".to_owned(),
        };
        if of.is_nullable() && !matches!(literal, Literal::Null) {
            self.push(&format!("toNullable({plain})"));
        } else {
            self.push(&plain);
        }
    }
}

/// The type as `CAST` takes it, without a time zone: of NULL it does not matter.
fn zoneless(of: &Type) -> String {
    of.to_string()
}

/// The type of an empty array.
fn empty_array(of: &Type) -> String {
    of.to_string()
}

impl Period {
    /// Whether ClickHouse takes no time zone beside a `Date`.
    fn has_no_zone(self) -> bool {
        matches!(
            self,
            Period::SundayWeek | Period::MondayWeek | Period::Month | Period::Quarter | Period::Year | Period::Day
        )
    }
}

fn arithmetic(operator: Arithmetic) -> &'static str {
    match operator {
        Arithmetic::Add => "+",
        Arithmetic::Subtract => "-",
        Arithmetic::Multiply => "*",
        Arithmetic::Divide => "/",
        Arithmetic::Remainder => "%",
    }
}

fn comparison(operator: Comparison) -> &'static str {
    match operator {
        Comparison::Equal => "=",
        Comparison::NotEqual => "!=",
        Comparison::Less => "<",
        Comparison::LessOrEqual => "<=",
        Comparison::Greater => ">",
        Comparison::GreaterOrEqual => ">=",
    }
}
