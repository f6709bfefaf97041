//! After a grouping: columns become its keys, or are refused.
//!
//! Expressions are built over rows, with aggregates as references. Once the keys are known, whatever is equal to a key becomes that
//! key; a column that is left belongs to no group.

use super::super::functions::Comparison;
use super::super::tree::{Aggregate, Expression, Kind, Order, WindowCall};
use super::super::types::{Literal, Type};
use super::converting::convert;
use super::refused;
use super::scope::Scope;
use crate::error::Error;

/// The keys of a grouping, and names for refusals.
pub(super) struct Grouped<'s, 'q> {
    pub(super) keys: &'s [Expression],
    pub(super) scope: &'s Scope<'q>,
}

impl Grouped<'_, '_> {
    /// The expression over groups.
    pub(super) fn over_groups(&self, expression: Expression) -> Result<Expression, Error> {
        if let Some(key) = self.key(&expression) {
            return Ok(key);
        }
        let Expression { kind, of } = expression;
        Ok(Expression { kind: self.kind(kind)?, of })
    }

    fn key(&self, expression: &Expression) -> Option<Expression> {
        for (index, key) in self.keys.iter().enumerate() {
            let reference = Expression { kind: Kind::Key(index), of: key.of.clone() };
            if key == expression {
                return Some(reference);
            }
            // A question that is a condition here and a value there.
            if let Kind::Convert(inner) = &key.kind
                && **inner == *expression
                && inner.is_question()
            {
                let zero = Box::new(convert(Expression::literal(Literal::UInt64(0)), &Type::UInt64));
                let kind =
                    Kind::Comparison { operator: Comparison::NotEqual, left: Box::new(reference), right: zero };
                return Some(Expression::question(kind, expression.of.is_nullable()));
            }
        }
        None
    }

    fn boxed(&self, expression: Expression) -> Result<Box<Expression>, Error> {
        Ok(Box::new(self.over_groups(expression)?))
    }

    fn each(&self, expressions: Vec<Expression>) -> Result<Vec<Expression>, Error> {
        expressions.into_iter().map(|expression| self.over_groups(expression)).collect()
    }

    fn kind(&self, kind: Kind) -> Result<Kind, Error> {
        Ok(match kind {
            Kind::Column { source, column } => return Err(self.ungrouped(source, column)),
            Kind::Element(_) => {
                return Err(refused(
                    "The element of `arrayJoin` has to be in `GROUP BY` too, or inside of an aggregate.",
                ));
            }
            Kind::Literal(_)
            | Kind::Key(_)
            | Kind::Aggregate(_)
            | Kind::Window(_)
            | Kind::Output(_)
            | Kind::Parameter(_)
            | Kind::Scalar(_) => kind,
            Kind::Convert(inner) => Kind::Convert(self.boxed(*inner)?),
            Kind::Arithmetic { operator, left, right } => {
                Kind::Arithmetic { operator, left: self.boxed(*left)?, right: self.boxed(*right)? }
            }
            Kind::Later { time, amount, unit } => {
                Kind::Later { time: self.boxed(*time)?, amount: self.boxed(*amount)?, unit }
            }
            Kind::Elapsed { left, right } => {
                Kind::Elapsed { left: self.boxed(*left)?, right: self.boxed(*right)? }
            }
            Kind::Comparison { operator, left, right } => {
                Kind::Comparison { operator, left: self.boxed(*left)?, right: self.boxed(*right)? }
            }
            Kind::Range { value, low, high, negated } => Kind::Range {
                value: self.boxed(*value)?,
                low: self.boxed(*low)?,
                high: self.boxed(*high)?,
                negated,
            },
            Kind::And(parts) => Kind::And(self.each(parts)?),
            Kind::Or(parts) => Kind::Or(self.each(parts)?),
            Kind::Not(inner) => Kind::Not(self.boxed(*inner)?),
            Kind::IsNull { value, negated } => Kind::IsNull { value: self.boxed(*value)?, negated },
            Kind::Like { value, pattern, negated, ignores_case } => {
                Kind::Like { value: self.boxed(*value)?, pattern, negated, ignores_case }
            }
            Kind::InList { value, list, negated } => Kind::InList { value: self.boxed(*value)?, list, negated },
            Kind::InQuery { value, query, negated } => {
                Kind::InQuery { value: self.boxed(*value)?, query, negated }
            }
            Kind::Case { branches, otherwise } => {
                let branch = |(condition, value)| Ok((self.over_groups(condition)?, self.over_groups(value)?));
                let branches = branches.into_iter().map(branch).collect::<Result<_, Error>>()?;
                Kind::Case { branches, otherwise: self.boxed(*otherwise)? }
            }
            Kind::Array(elements) => Kind::Array(self.each(elements)?),
            Kind::ArrayFilter { array, parameter, condition } => {
                Kind::ArrayFilter { array: self.boxed(*array)?, parameter, condition: self.boxed(*condition)? }
            }
            Kind::Function { function, arguments } => {
                Kind::Function { function, arguments: self.each(arguments)? }
            }
        })
    }

    fn ungrouped(&self, source: usize, column: usize) -> Error {
        let found = self.scope.sources.get(source).and_then(|source| source.columns.get(column));
        let name = found.map_or("", |column| column.name.as_str());
        refused(format!(
            "The column `{name}` has a value for each row, and this select has groups. Add it to `GROUP BY`, or put it into an \
             aggregate such as `any({name})`."
        ))
    }

    /// The window function over groups.
    pub(super) fn window(&self, window: WindowCall) -> Result<WindowCall, Error> {
        let WindowCall {
            aggregate: Aggregate { function, argument, distinct, condition, of },
            partition_by,
            order_by,
            frame,
        } = window;
        let argument = argument.map(|argument| self.over_groups(argument)).transpose()?;
        let condition = condition.map(|condition| self.over_groups(condition)).transpose()?;
        let order = |order: Order| Ok(Order { by: self.over_groups(order.by)?, ..order });
        Ok(WindowCall {
            aggregate: Aggregate { function, argument, distinct, condition, of },
            partition_by: self.each(partition_by)?,
            order_by: order_by.into_iter().map(order).collect::<Result<_, Error>>()?,
            frame,
        })
    }
}
