//! What a select reads: tables, named queries and subqueries, and how they are joined.

use sqlparser::ast::{
    BinaryOperator, Expr, JoinConstraint, JoinOperator, ObjectName, TableAlias, TableFactor, TableWithJoins,
};

use super::super::tree::{Column, Expression, From, Join, JoinKind, Kind, Read, Source};
use super::super::types::Type;
use super::comparing::comparable;
use super::query::Builder;
use super::scope::{Place, Scope, Visible};
use super::survey::unknown_table;
use super::{excerpt, not_offered, refused};
use crate::error::Error;

fn kind_of(operator: &JoinOperator) -> Result<(JoinKind, &JoinConstraint), Error> {
    use JoinOperator as J;
    Ok(match operator {
        J::Join(constraint) | J::Inner(constraint) => (JoinKind::Inner, constraint),
        J::Left(constraint) | J::LeftOuter(constraint) => (JoinKind::Left, constraint),
        J::Right(constraint) | J::RightOuter(constraint) => (JoinKind::Right, constraint),
        J::FullOuter(constraint) => (JoinKind::Full, constraint),
        J::CrossJoin(constraint) => (JoinKind::Cross, constraint),
        J::Semi(_) | J::LeftSemi(_) | J::RightSemi(_) => return Err(not_offered("`SEMI JOIN`")),
        J::Anti(_) | J::LeftAnti(_) | J::RightAnti(_) => return Err(not_offered("`ANTI JOIN`")),
        J::AsOf { .. } => return Err(not_offered("`ASOF JOIN`")),
        J::StraightJoin(_) => return Err(not_offered("`STRAIGHT_JOIN`")),
        J::CrossApply | J::OuterApply => return Err(not_offered("`APPLY`")),
        J::ArrayJoin | J::LeftArrayJoin | J::InnerArrayJoin => {
            return Err(refused(
                "The clause `ARRAY JOIN` is not offered here. Use the function `arrayJoin(column)`.",
            ));
        }
    })
}

impl Builder<'_> {
    /// Reads and joins everything in `FROM`.
    pub(super) fn sources(
        &mut self,
        scope: &mut Scope<'_>,
        from: &[TableWithJoins],
    ) -> Result<(Vec<Source>, Vec<Join>), Error> {
        let (mut sources, mut joins) = (Vec::new(), Vec::new());
        for (index, TableWithJoins { relation, joins: written }) in from.iter().enumerate() {
            self.source(scope, relation, &mut sources)?;
            if index > 0 {
                joins.push(Join { kind: JoinKind::Cross, equal: Vec::new(), condition: None });
            }
            for join in written {
                let sqlparser::ast::Join { relation, global: _, join_operator } = join;
                let (kind, constraint) = kind_of(join_operator)?;
                self.source(scope, relation, &mut sources)?;
                joins.push(self.join(scope, kind, constraint)?);
            }
        }
        Ok((sources, joins))
    }

    fn source(
        &mut self,
        scope: &mut Scope<'_>,
        written: &TableFactor,
        sources: &mut Vec<Source>,
    ) -> Result<(), Error> {
        let (from, columns, name, alias) = match written {
            TableFactor::Table {
                name,
                alias,
                args: None,
                with_hints,
                version: None,
                with_ordinality: false,
                partitions,
                json_path: None,
                sample: None,
                index_directives,
                inheritance: None,
            } if with_hints.is_empty() && partitions.is_empty() && index_directives.is_empty() => {
                let (from, columns, name) = self.table(name)?;
                (from, columns, Some(name), alias)
            }
            TableFactor::Table { sample: Some(_), .. } | TableFactor::Derived { sample: Some(_), .. } => {
                return Err(not_offered("`SAMPLE`"));
            }
            TableFactor::Derived { lateral: false, subquery, alias, sample: None } => {
                let enclosing = std::mem::take(&mut self.enclosing);
                let query = self.query(subquery);
                self.enclosing = enclosing;
                let query = query?;
                let columns = query.columns.clone();
                (From::Query(Box::new(query)), columns, None, alias)
            }
            TableFactor::NestedJoin { .. } => return Err(not_offered("A join in parentheses")),
            TableFactor::Table { version: Some(_), .. } => {
                return Err(not_offered("`FINAL` or a version of a table"));
            }
            other => return Err(refused(format!("{} in `FROM` is not offered here.", excerpt(other)))),
        };
        let qualifier = match alias {
            Some(TableAlias { explicit: _, name, columns, at: None }) if columns.is_empty() => {
                Some(name.value.clone())
            }
            Some(_) => return Err(not_offered("A list of columns beside a table's alias")),
            None => name,
        };
        if qualifier.is_some() && scope.sources.iter().any(|source| source.qualifier == qualifier) {
            let name = qualifier.unwrap_or_default();
            return Err(refused(format!("Two sources are called `{name}`. Give one an alias with `AS`.")));
        }
        let from = self.count_reads(from)?;
        scope.sources.push(Visible { qualifier, columns: columns.clone() });
        sources.push(Source { from, columns });
        Ok(())
    }

    /// A table or a named query.
    fn table(&mut self, written: &ObjectName) -> Result<(From, Vec<Column>, String), Error> {
        let unknown = || unknown_table(&written.to_string(), self.asked.operation);
        let [part] = &written.0[..] else { return Err(unknown()) };
        let name = part.as_ident().ok_or_else(unknown)?.value.clone();
        if let Some(table) = self.asked.table(&name) {
            let columns = table.columns.iter().map(|column| Column {
                name: column.name.to_owned(),
                of: column.kind.of(),
                is_unix_ms: column.kind.is_unix_ms(),
            });
            return Ok((From::Table(Read::new(table, self.asked.row_filter())), columns.collect(), name));
        }
        let lower = name.to_lowercase();
        let (_, index) = self.in_scope.iter().rev().find(|(known, _)| *known == lower).ok_or_else(unknown)?;
        let named = self.named.get(*index).ok_or_else(unknown)?;
        Ok((From::Named(*index), named.query.columns.clone(), name))
    }

    fn join(&mut self, scope: &mut Scope<'_>, kind: JoinKind, constraint: &JoinConstraint) -> Result<Join, Error> {
        let none = || Join { kind, equal: Vec::new(), condition: None };
        match constraint {
            JoinConstraint::None if kind == JoinKind::Cross => Ok(none()),
            _ if kind == JoinKind::Cross => {
                Err(refused("`CROSS JOIN` takes no condition. Write `INNER JOIN … ON …`."))
            }
            JoinConstraint::On(condition) => self.on(scope, kind, condition),
            JoinConstraint::Using(names) => using(scope, kind, names),
            JoinConstraint::None => {
                Err(refused("The join has no condition. Write `ON a.column = b.column`, or `CROSS JOIN`."))
            }
            JoinConstraint::Natural => Err(not_offered("`NATURAL JOIN`")),
            JoinConstraint::UsingAlias(..) => Err(not_offered("An alias of `USING`")),
        }
    }

    fn on(&mut self, scope: &mut Scope<'_>, kind: JoinKind, condition: &Expr) -> Result<Join, Error> {
        // Aliases of the projection mean nothing in it, and neither does what is joined later.
        let mut parts = Vec::new();
        let mut waiting = vec![condition];
        while let Some(part) = waiting.pop() {
            match part {
                Expr::BinaryOp { left, op: BinaryOperator::And, right } => waiting.extend([&**right, &**left]),
                Expr::Nested(inner) => waiting.push(inner),
                other => parts.push(other),
            }
        }
        let mut inside = Scope::new();
        inside.place = Place::row("`ON`");
        inside.sources = std::mem::take(&mut scope.sources);
        inside.merged = std::mem::take(&mut scope.merged);
        let joined = self.conditions_of_join(&mut inside, &parts);
        scope.sources = inside.sources;
        scope.merged = inside.merged;
        let (equal, mut rest) = joined?;
        if equal.is_empty() {
            return Err(refused(format!(
                "The condition {} joins nothing: it needs `ON a.column = b.column`, with a side from each source.",
                excerpt(condition)
            )));
        }
        let condition = match rest.len() {
            0 | 1 => rest.pop(),
            _ => {
                let is_nullable = rest.iter().any(|part| part.of.is_nullable());
                Some(Expression::question(Kind::And(rest), is_nullable))
            }
        };
        Ok(Join { kind, equal, condition })
    }

    #[expect(clippy::type_complexity, reason = "pairs that are equal, and what must hold besides")]
    fn conditions_of_join<'q>(
        &mut self,
        scope: &mut Scope<'q>,
        parts: &[&'q Expr],
    ) -> Result<(Vec<(Expression, Expression)>, Vec<Expression>), Error> {
        let last = scope.sources.len() - 1;
        let (mut equal, mut rest) = (Vec::new(), Vec::new());
        for part in parts {
            if let Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = part {
                let (left, right) = (self.value(scope, left)?, self.value(scope, right)?);
                let (left, right) = comparable(scope, left, right)?;
                let pair = match (side(&left, last), side(&right, last)) {
                    (Side::Before, Side::This) => Some((left.clone(), right.clone())),
                    (Side::This, Side::Before) => Some((right.clone(), left.clone())),
                    _ => None,
                };
                if let Some((before, this)) = pair {
                    equal.push(super::converting::alike(before, this)?);
                    continue;
                }
            }
            let condition = self.condition(scope, part)?;
            if matches!(side(&condition, last), Side::Unclear) {
                return Err(refused(format!(
                    "{} cannot be a condition of a join. Put it into `WHERE`.",
                    excerpt(part)
                )));
            }
            rest.push(condition);
        }
        Ok((equal, rest))
    }
}

/// Which sources an expression is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    None,
    Before,
    This,
    Both,
    Unclear,
}

fn side(expression: &Expression, last: usize) -> Side {
    let mut found = Side::None;
    let mut waiting = vec![expression];
    while let Some(expression) = waiting.pop() {
        let this = match &expression.kind {
            Kind::Column { source, .. } if *source == last => Side::This,
            Kind::Column { .. } => Side::Before,
            Kind::Scalar(_) | Kind::InQuery { .. } | Kind::Element(_) => Side::Unclear,
            other => {
                other.inner_expressions(&mut waiting);
                continue;
            }
        };
        found = match (found, this) {
            (Side::Unclear, _) | (_, Side::Unclear) => Side::Unclear,
            (Side::None, this) => this,
            (found, this) if found == this => found,
            _ => Side::Both,
        };
    }
    found
}

fn using(scope: &mut Scope<'_>, kind: JoinKind, names: &[ObjectName]) -> Result<Join, Error> {
    if kind == JoinKind::Full {
        return Err(refused("`FULL JOIN … USING` is not offered. Write `ON a.column = b.column`."));
    }
    let last = scope.sources.len() - 1;
    let mut equal = Vec::new();
    for name in names {
        let name = match &name.0[..] {
            [part] => part.as_ident().map(|ident| ident.value.clone()),
            _ => None,
        };
        let name = name.ok_or_else(|| refused("`USING` takes names of columns."))?;
        let place = |source: usize| {
            let columns = scope.sources.get(source).map(|visible| visible.columns.as_slice()).unwrap_or_default();
            columns.iter().position(|column| column.name == name).map(|column| (source, column))
        };
        let before: Vec<_> = (0..last).filter_map(place).collect();
        let merged = scope.merged.iter().find(|(known, _)| *known == name).map(|(_, place)| *place);
        let (before, this) = match (merged, &before[..], place(last)) {
            (Some(before), _, Some(this)) => (before, this),
            (None, [before], Some(this)) => (*before, this),
            (None, [_, _, ..], Some(_)) => {
                return Err(refused(format!(
                    "Several sources have a column `{name}`. Write `ON` instead of `USING`."
                )));
            }
            _ => return Err(refused(format!("`USING ({name})` needs a column `{name}` on both sides."))),
        };
        let expression =
            |place: (usize, usize)| scope.column(place.0, place.1).ok_or_else(|| refused("No such column."));
        let (left, right) = (expression(before)?, expression(this)?);
        if left.of != right.of || matches!(left.of, Type::State(_)) {
            return Err(refused(format!(
                "`{name}` is of type {} on one side and {} on the other.",
                left.of, right.of
            )));
        }
        equal.push((left, right));
        let kept = if kind == JoinKind::Right { this } else { before };
        scope.merged.retain(|(known, _)| *known != name);
        scope.merged.push((name, kept));
    }
    if equal.is_empty() {
        return Err(refused("`USING` names no column."));
    }
    Ok(Join { kind, equal, condition: None })
}
