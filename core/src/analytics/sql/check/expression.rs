//! Expressions: from what is written to typed nodes.

use sqlparser::ast::{
    AccessExpr, BinaryOperator, CaseWhen, CastKind, CeilFloorKind, DataType, Expr, InTarget, Query as Written,
    Subscript, TimezoneInfo, TrimWhereField, UnaryOperator, Value,
};

use super::super::functions::Function;
use super::super::tree::{Expression, Kind};
use super::super::types::{Literal, Type};
use super::constants;
use super::converting::{all_alike, branches, convert};
use super::query::Builder;
use super::scope::Scope;
use super::{excerpt, not_offered, refused};
use crate::error::Error;

impl Builder<'_> {
    /// An expression as a value: questions are 1 or 0, and no interval.
    pub(super) fn value<'q>(&mut self, scope: &mut Scope<'q>, written: &'q Expr) -> Result<Expression, Error> {
        let built = self.expression(scope, written)?.into_value();
        match built.of {
            Type::Interval(_) => {
                Err(refused(format!("{} is an interval, which can only be added to a time.", excerpt(written))))
            }
            _ => Ok(built),
        }
    }

    /// An expression as a condition.
    pub(super) fn condition<'q>(&mut self, scope: &mut Scope<'q>, written: &'q Expr) -> Result<Expression, Error> {
        self.expression(scope, written)?.into_condition()
    }

    /// An expression of whatever kind.
    pub(super) fn expression<'q>(
        &mut self,
        scope: &mut Scope<'q>,
        written: &'q Expr,
    ) -> Result<Expression, Error> {
        self.enter()?;
        let built = match written {
            Expr::Identifier(name) => self.identifier(scope, name),
            Expr::CompoundIdentifier(parts) => self.compound(scope, parts),
            Expr::Nested(inner) => self.expression(scope, inner),
            Expr::Value(value) => literal(&value.value),
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => self.conditions(scope, left, right, true),
            Expr::BinaryOp { left, op: BinaryOperator::Or, right } => self.conditions(scope, left, right, false),
            Expr::BinaryOp { left, op, right } => self.operator(scope, left, op, right),
            Expr::UnaryOp { op, expr } => self.unary(scope, *op, expr),
            Expr::Function(function) => self.call(scope, function),
            Expr::Case { case_token: _, end_token: _, operand, conditions, else_result } => {
                self.case(scope, operand.as_deref(), conditions, else_result.as_deref())
            }
            Expr::In { expr, target, negated, global: _ } => self.membership(scope, expr, target, *negated),
            Expr::Between { expr, negated, low, high } => self.range(scope, expr, low, high, *negated),
            Expr::Subquery(query) => self.scalar(scope, query),
            other => self.rarer(scope, other),
        };
        self.leave();
        built
    }

    fn rarer<'q>(&mut self, scope: &mut Scope<'q>, written: &'q Expr) -> Result<Expression, Error> {
        match written {
            Expr::IsNull(value) => self.is_null(scope, value, false),
            Expr::IsNotNull(value) => self.is_null(scope, value, true),
            Expr::Like { negated, any: false, expr, pattern, escape_char: None } => {
                self.like(scope, expr, pattern, *negated, false)
            }
            Expr::ILike { negated, any: false, expr, pattern, escape_char: None } => {
                self.like(scope, expr, pattern, *negated, true)
            }
            Expr::Cast {
                kind: kind @ (CastKind::Cast | CastKind::DoubleColon),
                expr,
                data_type,
                format: None,
            } => {
                let is_number = matches!(&**expr, Expr::Value(value) if matches!(value.value, Value::Number(..)));
                if is_number
                    && *kind == CastKind::DoubleColon
                    && !matches!(data_type, DataType::Int64 | DataType::Float64)
                {
                    // ClickHouse reads the digits as a text there.
                    return Err(refused(format!("{} is not clear. Write `CAST(… AS …)`.", excerpt(written))));
                }
                self.cast(scope, expr, data_type)
            }
            Expr::Interval(interval) => self.interval(scope, interval),
            Expr::Array(array) => self.array(scope, &array.elem),
            Expr::CompoundFieldAccess { root, access_chain } => self.element(scope, root, access_chain),
            Expr::Ceil { expr, field } => self.rounded(scope, "ceil", expr, field),
            Expr::Floor { expr, field } => self.rounded(scope, "floor", expr, field),
            Expr::Substring { expr, substring_from: Some(from), substring_for, special: _, shorthand: _ } => {
                self.substring(scope, expr, from, substring_for.as_deref())
            }
            Expr::Trim { trim_where, trim_what, expr, trim_characters: None }
                if is_space(trim_what.as_deref()) =>
            {
                let (leading, trailing) = match trim_where {
                    None | Some(TrimWhereField::Both) => (true, true),
                    Some(TrimWhereField::Leading) => (true, false),
                    Some(TrimWhereField::Trailing) => (false, true),
                };
                self.trim(scope, expr, leading, trailing)
            }
            Expr::TypedString(_) => Err(refused(format!(
                "{} is not offered here. Write `toDateTime('…')` or `toDate('…')`.",
                excerpt(written)
            ))),
            Expr::Exists { .. } => Err(not_offered("`EXISTS`")),
            Expr::Tuple(_) => Err(not_offered("A list in parentheses that is not on the right of `IN`")),
            Expr::Lambda(_) => {
                Err(refused("A lambda (`x -> …`) can only be the first argument of `arrayFilter`."))
            }
            Expr::Wildcard(_) | Expr::QualifiedWildcard(..) => {
                Err(refused("`*` can only be a column of a `SELECT`, or in `count(*)`."))
            }
            other => Err(refused(format!("{} is not offered here. Say it in another way.", excerpt(other)))),
        }
    }

    /// A chain of `AND`, or one of `OR`, which the parser nests as deeply as it is long.
    fn conditions<'q>(
        &mut self,
        scope: &mut Scope<'q>,
        left: &'q Expr,
        right: &'q Expr,
        all: bool,
    ) -> Result<Expression, Error> {
        let wanted = if all { BinaryOperator::And } else { BinaryOperator::Or };
        let (mut written, mut rest) = (vec![right], left);
        while let Expr::BinaryOp { left, op, right } = rest
            && *op == wanted
        {
            written.push(right);
            rest = left;
        }
        written.push(rest);
        let mut parts = Vec::with_capacity(written.len());
        for part in written.into_iter().rev() {
            parts.push(self.condition(scope, part)?);
        }
        let is_nullable = parts.iter().any(|part| part.of.is_nullable());
        Ok(Expression::question(if all { Kind::And(parts) } else { Kind::Or(parts) }, is_nullable))
    }

    fn unary<'q>(
        &mut self,
        scope: &mut Scope<'q>,
        operator: UnaryOperator,
        written: &'q Expr,
    ) -> Result<Expression, Error> {
        match operator {
            UnaryOperator::Not => {
                let inner = self.condition(scope, written)?;
                let is_nullable = inner.of.is_nullable();
                Ok(Expression::question(Kind::Not(Box::new(inner)), is_nullable))
            }
            UnaryOperator::Minus => {
                if let Expr::Value(value) = written
                    && let Value::Number(digits, _) = &value.value
                {
                    return Ok(Expression::literal(constants::number(digits, true)?));
                }
                let inner = self.value(scope, written)?;
                self.negated(inner, written)
            }
            UnaryOperator::Plus => self.expression(scope, written),
            other => Err(refused(format!("The operator `{other}` is not offered here."))),
        }
    }

    fn case<'q>(
        &mut self,
        scope: &mut Scope<'q>,
        operand: Option<&'q Expr>,
        written: &'q [CaseWhen],
        otherwise: Option<&'q Expr>,
    ) -> Result<Expression, Error> {
        let mut conditions = Vec::with_capacity(written.len());
        let mut values = Vec::with_capacity(written.len() + 1);
        for branch in written {
            conditions.push(match operand {
                Some(operand) => {
                    let (left, right) = (self.value(scope, operand)?, self.value(scope, &branch.condition)?);
                    if left.of.is_nullable() || right.of.is_nullable() {
                        return Err(refused(
                            "`CASE value WHEN …` of something that can be NULL is not offered. Write `CASE WHEN value = … THEN …`.",
                        ));
                    }
                    self.equal(scope, left, right)?
                }
                None => self.condition(scope, &branch.condition)?,
            });
            values.push(self.value(scope, &branch.result)?);
        }
        values.push(match otherwise {
            Some(written) => self.value(scope, written)?,
            None => Expression::literal(Literal::Null),
        });
        branches(conditions, values)
    }

    fn membership<'q>(
        &mut self,
        scope: &mut Scope<'q>,
        written: &'q Expr,
        target: &'q InTarget,
        negated: bool,
    ) -> Result<Expression, Error> {
        let value = self.value(scope, written)?;
        match target {
            InTarget::List(list) => self.in_list(scope, value, list, negated),
            InTarget::Subquery(query) => {
                let query = self.inner(scope, query)?;
                self.in_query(value, query, negated)
            }
            InTarget::Unnest(_) | InTarget::Table { .. } => Err(not_offered("`IN` of a table")),
        }
    }

    /// A query inside of an expression, which refers to nothing outside.
    fn inner(&mut self, scope: &Scope<'_>, written: &Written) -> Result<super::super::tree::Query, Error> {
        let qualifiers = scope.sources.iter().filter_map(|source| source.qualifier.clone());
        let names = scope.column_names().map(str::to_owned).chain(qualifiers).collect();
        self.enclosing.push(names);
        let query = self.query(written);
        self.enclosing.pop();
        let query = query?;
        if query.columns.len() != 1 {
            let got = query.columns.len();
            return Err(refused(format!("A subquery in an expression has one column, and this one has {got}.")));
        }
        Ok(query)
    }

    fn scalar(&mut self, scope: &Scope<'_>, written: &Written) -> Result<Expression, Error> {
        let query = self.inner(scope, written)?;
        let of = query.columns.first().map_or(Type::Null, |column| column.of.clone());
        match of {
            Type::Array(_) | Type::State(_) => {
                Err(refused(format!("A subquery in an expression cannot be of type {of}.")))
            }
            of => Ok(Expression { kind: Kind::Scalar(Box::new(query)), of: of.nullable() }),
        }
    }

    fn is_null<'q>(
        &mut self,
        scope: &mut Scope<'q>,
        written: &'q Expr,
        negated: bool,
    ) -> Result<Expression, Error> {
        let value = Box::new(self.value(scope, written)?);
        Ok(Expression::question(Kind::IsNull { value, negated }, false))
    }

    fn like<'q>(
        &mut self,
        scope: &mut Scope<'q>,
        written: &'q Expr,
        pattern: &'q Expr,
        negated: bool,
        ignores_case: bool,
    ) -> Result<Expression, Error> {
        let value = self.value(scope, written)?;
        if *value.of.inner() != Type::String {
            return Err(refused(format!(
                "`LIKE` takes a text, and {} is of type {}.",
                excerpt(written),
                value.of
            )));
        }
        let pattern = self.value(scope, pattern)?;
        let Kind::Literal(Literal::String(pattern)) = pattern.kind else {
            return Err(refused("The pattern of `LIKE` has to be a constant text."));
        };
        if !is_pattern(&pattern) {
            return Err(refused("In the pattern of `LIKE`, `\\` can only stand before `%`, `_` or `\\`."));
        }
        let is_nullable = value.of.is_nullable();
        let value = Box::new(value);
        Ok(Expression::question(Kind::Like { value, pattern, negated, ignores_case }, is_nullable))
    }

    fn cast<'q>(&mut self, scope: &mut Scope<'q>, written: &'q Expr, to: &DataType) -> Result<Expression, Error> {
        let value = self.value(scope, written)?;
        let to = match to {
            DataType::String(None) => Type::String,
            DataType::Int64 => Type::Int64,
            DataType::Float64 => Type::Float64,
            DataType::Date => Type::Date,
            DataType::Datetime(None) | DataType::Timestamp(None, TimezoneInfo::None) => Type::DateTime,
            other => {
                return Err(refused(format!(
                    "A conversion to {} is not offered. There are `String`, `Int64`, `Float64`, `Date` and `DateTime`.",
                    excerpt(other)
                )));
            }
        };
        if value.of.is_nullable() && to != Type::String {
            return Err(refused(format!(
                "{} can be NULL, which {to} cannot hold. Use `coalesce` first.",
                excerpt(written)
            )));
        }
        self.conversion(scope, value, &to, written)
    }

    fn array<'q>(&mut self, scope: &mut Scope<'q>, written: &'q [Expr]) -> Result<Expression, Error> {
        let mut values = Vec::with_capacity(written.len());
        for written in written {
            let value = self.value(scope, written)?;
            if matches!(value.of, Type::Array(_) | Type::State(_)) {
                return Err(refused(format!("{} cannot be an element of an array.", excerpt(written))));
            }
            values.push(value);
        }
        let (values, of) = all_alike(values)?;
        Ok(Expression { kind: Kind::Array(values), of: Type::Array(Box::new(of)) })
    }

    fn element<'q>(
        &mut self,
        scope: &mut Scope<'q>,
        root: &'q Expr,
        chain: &'q [AccessExpr],
    ) -> Result<Expression, Error> {
        let [AccessExpr::Subscript(Subscript::Index { index })] = chain else {
            return Err(refused(
                "After a value there can be one index in brackets, as in `tags[1]`, and nothing else.",
            ));
        };
        let array = self.value(scope, root)?;
        let Type::Array(of) = array.of.clone() else {
            return Err(refused(format!(
                "{} is of type {}; only an array has elements.",
                excerpt(root),
                array.of
            )));
        };
        let index = self.integer(scope, index, "An index")?;
        Ok(Expression {
            kind: Kind::Function { function: Function::ArrayElement, arguments: vec![array, index] },
            of: *of,
        })
    }

    /// An integer, as an `Int64` that is not NULL.
    pub(super) fn integer<'q>(
        &mut self,
        scope: &mut Scope<'q>,
        written: &'q Expr,
        what: &str,
    ) -> Result<Expression, Error> {
        let value = self.value(scope, written)?;
        if !value.of.is_integer() || value.of.is_nullable() {
            return Err(refused(format!(
                "{what} is an integer, and {} is of type {}.",
                excerpt(written),
                value.of
            )));
        }
        Ok(convert(value, &Type::Int64))
    }

    fn rounded<'q>(
        &mut self,
        scope: &mut Scope<'q>,
        name: &'static str,
        written: &'q Expr,
        field: &'q CeilFloorKind,
    ) -> Result<Expression, Error> {
        let decimals = match field {
            CeilFloorKind::DateTimeField(sqlparser::ast::DateTimeField::NoDateTime) => 0,
            CeilFloorKind::Scale(value) => match literal(&value.value)?.kind {
                Kind::Literal(Literal::UInt64(decimals)) => super::calls::decimals(i64::try_from(decimals).ok())?,
                _ => super::calls::decimals(None)?,
            },
            CeilFloorKind::DateTimeField(_) => return Err(not_offered("Rounding to a unit of time")),
        };
        let value = self.value(scope, written)?;
        super::calls::round(name, value, decimals, written)
    }
}

/// A constant as it is written.
fn literal(value: &Value) -> Result<Expression, Error> {
    Ok(Expression::literal(match value {
        Value::Number(digits, _) => constants::number(digits, false)?,
        Value::SingleQuotedString(text) => Literal::String(text.clone()),
        Value::Boolean(value) => Literal::Bool(*value),
        Value::Null => Literal::Null,
        Value::DoubleQuotedString(_) => return Err(refused("Texts are written in single quotes.")),
        Value::Placeholder(_) => return Err(not_offered("A placeholder")),
        other => {
            return Err(refused(format!(
                "{} is no constant of this dialect. Texts are written in single quotes.",
                excerpt(other)
            )));
        }
    }))
}

/// Whether what is trimmed is nothing but a space, if it is said.
fn is_space(written: Option<&Expr>) -> bool {
    match written {
        None => true,
        Some(Expr::Value(value)) => value.value == Value::SingleQuotedString(" ".to_owned()),
        Some(_) => false,
    }
}

/// Whether every `\` of a pattern means what it means everywhere.
fn is_pattern(pattern: &str) -> bool {
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        if letter == '\\' && !matches!(letters.next(), Some('%' | '_' | '\\')) {
            return false;
        }
    }
    true
}
