//! Names of columns that have no alias: the expression as ClickHouse prints it, where operators are functions.

use sqlparser::ast::{
    AccessExpr, BinaryOperator, CeilFloorKind, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments,
    InTarget, OneOrManyWithParens, Subscript, TrimWhereField, UnaryOperator, Value, WindowType,
};

use super::super::functions;
use super::super::types::{Literal, Unit};
use super::constants;
use super::scope::Scope;

/// How long a name is at most.
const LONGEST: usize = 1_000;

/// The name of an expression without alias.
pub(super) fn name(scope: &Scope<'_>, written: &Expr) -> String {
    let mut name = Name { scope, text: String::new() };
    name.expression(written);
    name.text
}

/// The name of a column of a source: qualified where an earlier source has one of the same name.
pub(super) fn of_column(scope: &Scope<'_>, source: usize, column: usize) -> String {
    let Some(visible) = scope.sources.get(source) else { return String::new() };
    let name = visible.columns.get(column).map(|column| column.name.clone()).unwrap_or_default();
    let is_merged = scope.merged.iter().any(|(merged, _)| *merged == name);
    let mut earlier = scope.sources.iter().take(source);
    if is_merged || !earlier.any(|visible| visible.columns.iter().any(|column| column.name == name)) {
        return name;
    }
    match &visible.qualifier {
        Some(qualifier) => format!("{qualifier}.{name}"),
        None => name,
    }
}

struct Name<'s, 'q> {
    scope: &'s Scope<'q>,
    text: String,
}

impl Name<'_, '_> {
    fn push(&mut self, text: &str) {
        if self.text.len() + text.len() <= LONGEST {
            self.text.push_str(text);
        }
    }

    fn call<'e>(&mut self, name: &str, arguments: impl IntoIterator<Item = &'e Expr>) {
        self.push(name);
        self.push("(");
        self.list(arguments);
        self.push(")");
    }

    fn list<'e>(&mut self, expressions: impl IntoIterator<Item = &'e Expr>) {
        for (index, expression) in expressions.into_iter().enumerate() {
            if index > 0 {
                self.push(", ");
            }
            self.expression(expression);
        }
    }

    fn expression(&mut self, written: &Expr) {
        if self.text.len() >= LONGEST {
            return;
        }
        match written {
            Expr::Identifier(name) => self.push(&name.value),
            Expr::CompoundIdentifier(parts) => self.compound(parts),
            Expr::Nested(inner) => self.expression(inner),
            Expr::Value(value) => self.push(&constant(&value.value)),
            Expr::BinaryOp { left, op, right } => self.operator(left, op, right),
            Expr::UnaryOp { op, expr } => self.unary(*op, expr),
            Expr::Function(function) => self.function(function),
            Expr::Case { operand, conditions, else_result, .. } => {
                self.push(if operand.is_some() { "caseWithExpression(" } else { "multiIf(" });
                let branches = conditions.iter().flat_map(|branch| [&branch.condition, &branch.result]);
                let operand = operand.iter().map(|operand| &**operand);
                self.list(operand.chain(branches).chain(else_result.iter().map(|otherwise| &**otherwise)));
                self.push(if else_result.is_some() { ")" } else { ", NULL)" });
            }
            Expr::In { expr, target, negated, .. } => self.membership(expr, target, *negated),
            Expr::Between { expr, negated, low, high } => {
                let (all, left, right) =
                    if *negated { ("or", "less", "greater") } else { ("and", "greaterOrEquals", "lessOrEquals") };
                self.push(all);
                self.push("(");
                self.call(left, [&**expr, low]);
                self.push(", ");
                self.call(right, [&**expr, high]);
                self.push(")");
            }
            other => self.rarer(other),
        }
    }

    fn rarer(&mut self, written: &Expr) {
        match written {
            Expr::Subquery(_) => self.push("_subquery"),
            Expr::IsNull(value) => self.call("isNull", [&**value]),
            Expr::IsNotNull(value) => self.call("isNotNull", [&**value]),
            Expr::Like { negated, expr, pattern, .. } => {
                self.call(if *negated { "notLike" } else { "like" }, [&**expr, pattern]);
            }
            Expr::ILike { negated, expr, pattern, .. } => {
                self.call(if *negated { "notILike" } else { "ilike" }, [&**expr, pattern]);
            }
            Expr::Cast { expr, data_type, .. } => {
                self.push("CAST(");
                self.expression(expr);
                self.push(&format!(", '{data_type}')"));
            }
            Expr::Interval(interval) => {
                let unit = interval.leading_field.as_ref().and_then(|field| Unit::named(&field.to_string()));
                self.call(&format!("toInterval{}", unit.map_or("", Unit::name)), [&*interval.value]);
            }
            Expr::Array(array) => {
                self.push("[");
                self.list(&array.elem);
                self.push("]");
            }
            Expr::CompoundFieldAccess { root, access_chain } => {
                let indexes = access_chain.iter().filter_map(|access| match access {
                    AccessExpr::Subscript(Subscript::Index { index }) => Some(index),
                    _ => None,
                });
                self.call("arrayElement", std::iter::once(&**root).chain(indexes));
            }
            Expr::Ceil { expr, field } => self.rounded("ceil", expr, field),
            Expr::Floor { expr, field } => self.rounded("floor", expr, field),
            Expr::Substring { expr, substring_from, substring_for, .. } => {
                let places = substring_from.iter().chain(substring_for).map(|place| &**place);
                self.call("substring", std::iter::once(&**expr).chain(places));
            }
            Expr::Trim { trim_where, expr, .. } => {
                let name = match trim_where {
                    None | Some(TrimWhereField::Both) => "trimBoth",
                    Some(TrimWhereField::Leading) => "trimLeft",
                    Some(TrimWhereField::Trailing) => "trimRight",
                };
                self.call(name, [&**expr]);
            }
            Expr::Lambda(lambda) => {
                self.push("lambda(tuple(");
                let names: Vec<_> = match &lambda.params {
                    OneOrManyWithParens::One(one) => vec![one.name.value.as_str()],
                    OneOrManyWithParens::Many(many) => many.iter().map(|one| one.name.value.as_str()).collect(),
                };
                self.push(&names.join(", "));
                self.push("), ");
                self.expression(&lambda.body);
                self.push(")");
            }
            // What is not offered has no name.
            _ => {}
        }
    }

    fn compound(&mut self, parts: &[sqlparser::ast::Ident]) {
        let [qualifier, name] = parts else { return };
        let found = self.scope.source(&qualifier.value).ok();
        let place = found.and_then(|source| {
            let columns = &self.scope.sources.get(source)?.columns;
            Some((source, columns.iter().position(|column| column.name == name.value)?))
        });
        match place {
            Some((source, column)) => self.push(&of_column(self.scope, source, column)),
            None => self.push(&name.value),
        }
    }

    fn operator(&mut self, left: &Expr, operator: &BinaryOperator, right: &Expr) {
        let name = match operator {
            BinaryOperator::And | BinaryOperator::Or => return self.conditions(left, operator, right),
            BinaryOperator::Plus => "plus",
            BinaryOperator::Minus => "minus",
            BinaryOperator::Multiply => "multiply",
            BinaryOperator::Divide => "divide",
            BinaryOperator::Modulo => "modulo",
            BinaryOperator::StringConcat => "concat",
            BinaryOperator::Eq => "equals",
            BinaryOperator::NotEq => "notEquals",
            BinaryOperator::Lt => "less",
            BinaryOperator::LtEq => "lessOrEquals",
            BinaryOperator::Gt => "greater",
            _ => "greaterOrEquals",
        };
        self.call(name, [left, right]);
    }

    fn conditions(&mut self, left: &Expr, operator: &BinaryOperator, right: &Expr) {
        let (mut parts, mut rest) = (vec![right], left);
        while let Expr::BinaryOp { left, op, right } = rest
            && op == operator
        {
            parts.push(right);
            rest = left;
        }
        parts.push(rest);
        self.call(if *operator == BinaryOperator::And { "and" } else { "or" }, parts.into_iter().rev());
    }

    fn unary(&mut self, operator: UnaryOperator, written: &Expr) {
        match (operator, written) {
            (UnaryOperator::Not, _) => self.call("not", [written]),
            (UnaryOperator::Minus, Expr::Value(_)) => {
                self.push("-");
                self.expression(written);
            }
            (UnaryOperator::Minus, _) => self.call("negate", [written]),
            _ => self.expression(written),
        }
    }

    fn rounded(&mut self, name: &str, written: &Expr, field: &CeilFloorKind) {
        self.push(name);
        self.push("(");
        self.expression(written);
        if let CeilFloorKind::Scale(scale) = field {
            self.push(", ");
            self.push(&constant(&scale.value));
        }
        self.push(")");
    }

    fn membership(&mut self, value: &Expr, target: &InTarget, negated: bool) {
        self.push(if negated { "notIn(" } else { "in(" });
        self.expression(value);
        self.push(", ");
        match target {
            InTarget::List(list) => match &list[..] {
                [single] => self.expression(single),
                list => {
                    self.push("(");
                    self.list(list);
                    self.push(")");
                }
            },
            _ => self.push("_subquery"),
        }
        self.push(")");
    }

    fn function(&mut self, function: &Function) {
        let written = function.name.to_string();
        let canonical = functions::canonical(&written).unwrap_or(&written);
        self.push(if canonical == "trim" { "trimBoth" } else { canonical });
        let (parameters, arguments) = (arguments(&function.parameters), arguments(&function.args));
        if let FunctionArguments::List(list) = &function.args
            && matches!(list.duplicate_treatment, Some(sqlparser::ast::DuplicateTreatment::Distinct))
        {
            self.push("Distinct");
        }
        if !parameters.is_empty() {
            self.call("", parameters);
        }
        self.call("", arguments);
        match &function.over {
            Some(WindowType::WindowSpec(window)) => self.push(&format!(" OVER ({window})")),
            Some(WindowType::NamedWindow(name)) => self.push(&format!(" OVER {}", name.value)),
            None => {}
        }
    }
}

fn arguments(written: &FunctionArguments) -> Vec<&Expr> {
    let FunctionArguments::List(list) = written else { return Vec::new() };
    let expressions = list.args.iter().filter_map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Some(expression),
        _ => None,
    });
    expressions.collect()
}

fn constant(value: &Value) -> String {
    match value {
        Value::Number(digits, _) => match constants::number(digits, false) {
            Ok(Literal::Float64(number)) => {
                let text = format!("{number}");
                if text.contains('.') { text } else { format!("{text}.") }
            }
            Ok(Literal::UInt64(number)) => number.to_string(),
            _ => digits.clone(),
        },
        Value::SingleQuotedString(text) => format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'")),
        Value::Boolean(value) => value.to_string(),
        Value::Null => "NULL".to_owned(),
        _ => String::new(),
    }
}
