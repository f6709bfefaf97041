//! Expressions.

use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::expr::{InList, LambdaVariable, Like};
use datafusion::logical_expr::{BinaryExpr, Case, Expr, Operator, and, col, lambda, lit, not, or};
use keyrack_core::analytics::sql::functions::{Arithmetic, Comparison, Function};
use keyrack_core::analytics::sql::tree::{Expression, Kind};
use keyrack_core::analytics::sql::types::{Literal, Type};

use super::Planner;
use super::subqueries::Answer;
use crate::kernels::{Kernel, Work, filtered};
use crate::values::{constant, held_as};

/// What references stand for where an expression stands.
#[derive(Debug, Default)]
pub(super) struct Scope {
    /// For each source the names of its columns.
    pub(super) sources: Vec<Vec<String>>,
    /// The elements of array joins.
    pub(super) elements: Vec<String>,
    /// The keys of the grouping.
    pub(super) keys: Vec<String>,
    /// Its aggregates.
    pub(super) aggregates: Vec<String>,
    /// Window functions.
    pub(super) windows: Vec<String>,
    /// The columns of the projection.
    pub(super) outputs: Vec<String>,
}

impl Planner<'_> {
    /// An expression.
    #[expect(clippy::too_many_lines, reason = "one arm per kind of expression")]
    pub(super) fn expression(&self, expression: &Expression, scope: &Scope) -> Result<Expr> {
        let of = &expression.of;
        Ok(match &expression.kind {
            Kind::Literal(value) => {
                self.bound_constants(value)?;
                Expr::Literal(constant(value, of), None)
            }
            Kind::Column { source, column } => col(scope.sources[*source][*column].as_str()),
            Kind::Element(index) => col(scope.elements[*index].as_str()),
            Kind::Key(index) => col(scope.keys[*index].as_str()),
            Kind::Aggregate(index) => col(scope.aggregates[*index].as_str()),
            Kind::Window(index) => col(scope.windows[*index].as_str()),
            Kind::Output(index) => col(scope.outputs[*index].as_str()),
            Kind::Parameter(number) => {
                let field = Field::new(parameter(*number), held_as(of), true);
                Expr::LambdaVariable(LambdaVariable::new(parameter(*number), Some(Arc::new(field))))
            }
            Kind::Convert(value) => self.convert(value, of, scope)?,
            Kind::Arithmetic { operator, left, right } => {
                binary(self.expression(left, scope)?, arithmetic(*operator), self.expression(right, scope)?)
            }
            Kind::Later { time, amount, unit } => {
                let arguments = vec![self.typed(time, scope)?, self.typed(amount, scope)?];
                Kernel::call(Work::Later(*unit), arguments, of.clone())
            }
            Kind::Elapsed { left, right } => {
                binary(self.expression(left, scope)?, Operator::Minus, self.expression(right, scope)?)
            }
            Kind::Comparison { operator, left, right } => {
                self.comparison(*operator, self.typed(left, scope)?, self.typed(right, scope)?)
            }
            Kind::Range { value, low, high, negated } => {
                let value = self.typed(value, scope)?;
                let from = self.comparison(Comparison::LessOrEqual, self.typed(low, scope)?, value.clone());
                let to = self.comparison(Comparison::LessOrEqual, value, self.typed(high, scope)?);
                negated_if(*negated, and(from, to))
            }
            Kind::And(all) => self.all(all, scope)?.into_iter().reduce(and).unwrap_or_else(|| lit(true)),
            Kind::Or(all) => self.all(all, scope)?.into_iter().reduce(or).unwrap_or_else(|| lit(false)),
            Kind::Not(value) => not(self.expression(value, scope)?),
            Kind::IsNull { value, negated } => {
                let value = Box::new(self.expression(value, scope)?);
                if *negated { Expr::IsNotNull(value) } else { Expr::IsNull(value) }
            }
            Kind::Like { value, pattern, negated, ignores_case } => {
                let value = Box::new(self.expression(value, scope)?);
                Expr::Like(Like::new(
                    *negated,
                    value,
                    Box::new(Expr::Literal(ScalarValue::Utf8View(Some(pattern.clone())), None)),
                    None,
                    *ignores_case,
                ))
            }
            Kind::InList { value, list, negated } => self.in_list(value, list, *negated, scope)?,
            Kind::InQuery { value, query, negated } => {
                let Some(Answer::Set(among)) = self.answers.get(&std::ptr::from_ref(&**query).addr()) else {
                    return internal_err!("a set that was not answered");
                };
                let value = self.typed(value, scope)?;
                let is_in = Kernel::call(Work::Among(among.clone()), vec![value], of.clone());
                negated_if(*negated, is_in)
            }
            Kind::Scalar(query) => match self.answers.get(&std::ptr::from_ref(&**query).addr()) {
                Some(Answer::Value(value)) => Expr::Literal(value.clone(), None),
                _ => return internal_err!("a value that was not answered"),
            },
            Kind::Case { branches, otherwise } => {
                let branch = |(condition, value): &(Expression, Expression)| {
                    Ok((Box::new(self.expression(condition, scope)?), Box::new(self.expression(value, scope)?)))
                };
                let branches = branches.iter().map(branch).collect::<Result<_>>()?;
                Expr::Case(Case::new(None, branches, Some(Box::new(self.expression(otherwise, scope)?))))
            }
            Kind::Array(elements) => {
                let elements = elements.iter().map(|element| self.typed(element, scope)).collect::<Result<_>>()?;
                Kernel::call(Work::Array, elements, of.clone())
            }
            Kind::ArrayFilter { array, parameter: number, condition } => {
                let condition = self.expression(condition, scope)?;
                filtered(self.expression(array, scope)?, lambda([parameter(*number)], condition))
            }
            Kind::Function { function, arguments } => self.function(function, arguments, of, scope)?,
        })
    }

    /// Several.
    pub(super) fn all<'e>(
        &self,
        expressions: impl IntoIterator<Item = &'e Expression>,
        scope: &Scope,
    ) -> Result<Vec<Expr>> {
        expressions.into_iter().map(|expression| self.expression(expression, scope)).collect()
    }

    fn typed(&self, expression: &Expression, scope: &Scope) -> Result<(Expr, Type)> {
        Ok((self.expression(expression, scope)?, expression.of.clone()))
    }

    fn convert(&self, value: &Expression, of: &Type, scope: &Scope) -> Result<Expr> {
        let converted = self.typed(value, scope)?;
        // Held alike, and of the same meaning.
        if value.of.inner() == of.inner() {
            return Ok(converted.0);
        }
        Ok(Kernel::call(Work::Convert, vec![converted], of.clone()))
    }

    /// Doubles are compared by a kernel: NaN is equal to nothing, and -0 is 0.
    fn comparison(&self, operator: Comparison, left: (Expr, Type), right: (Expr, Type)) -> Expr {
        if *left.1.inner() == Type::Float64 {
            return Kernel::call(Work::Compare(operator), vec![left, right], Type::Bool.nullable());
        }
        let operator = match operator {
            Comparison::Equal => Operator::Eq,
            Comparison::NotEqual => Operator::NotEq,
            Comparison::Less => Operator::Lt,
            Comparison::LessOrEqual => Operator::LtEq,
            Comparison::Greater => Operator::Gt,
            Comparison::GreaterOrEqual => Operator::GtEq,
        };
        binary(left.0, operator, right.0)
    }

    fn in_list(&self, value: &Expression, list: &[Literal], negated: bool, scope: &Scope) -> Result<Expr> {
        let of = value.of.clone();
        let value = self.expression(value, scope)?;
        let list = list.iter().map(|literal| Expr::Literal(constant(literal, &of), None)).collect();
        Ok(Expr::InList(InList::new(Box::new(value), list, negated)))
    }

    fn function(&self, function: &Function, arguments: &[Expression], of: &Type, scope: &Scope) -> Result<Expr> {
        if let (Function::LowerInt32, [Expression { kind: Kind::Convert(value), .. }]) = (function, arguments)
            && *value.of.inner() == Type::Float64
        {
            return Ok(Kernel::call(Work::DoubleToInt32, vec![self.typed(value, scope)?], of.clone()));
        }
        let arguments: Vec<(Expr, Type)> =
            arguments.iter().map(|argument| self.typed(argument, scope)).collect::<Result<_>>()?;
        // What only tells how a number is meant stays a column that files are pruned by.
        if let (Function::FromUnixMs | Function::ToUnixMs, [(time, _)]) = (function, arguments.as_slice()) {
            return Ok(time.clone());
        }
        if *function == Function::Coalesce {
            return Ok(coalesce(arguments.into_iter().map(|(argument, _)| argument)));
        }
        Ok(Kernel::call(Work::Function(function.clone()), arguments, of.clone()))
    }
}

/// The first that is not NULL.
pub(super) fn coalesce(values: impl IntoIterator<Item = Expr>) -> Expr {
    let mut values: Vec<Expr> = values.into_iter().collect();
    let Some(last) = values.pop() else { return Expr::Literal(ScalarValue::Null, None) };
    let branches = values
        .into_iter()
        .map(|value| (Box::new(Expr::IsNotNull(Box::new(value.clone()))), Box::new(value)))
        .collect::<Vec<_>>();
    if branches.is_empty() { last } else { Expr::Case(Case::new(None, branches, Some(Box::new(last)))) }
}

fn binary(left: Expr, operator: Operator, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr::new(Box::new(left), operator, Box::new(right)))
}

fn negated_if(negated: bool, value: Expr) -> Expr {
    if negated { not(value) } else { value }
}

fn arithmetic(operator: Arithmetic) -> Operator {
    match operator {
        Arithmetic::Add => Operator::Plus,
        Arithmetic::Subtract => Operator::Minus,
        Arithmetic::Multiply => Operator::Multiply,
        Arithmetic::Divide => Operator::Divide,
        Arithmetic::Remainder => Operator::Modulo,
    }
}

/// The name of a lambda's parameter.
fn parameter(number: usize) -> String {
    format!("p{number}")
}
