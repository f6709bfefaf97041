//! What names mean in a select: lambda parameters, aliases, columns, in this order.
//!
//! An alias may be used anywhere in its select, also in the expressions of others. While the expression of an alias is
//! built, its name means the column inside: `sum(count) AS count`; and so does that of an aggregate where none can stand. A
//! qualified name always means a column.

use std::collections::HashMap;

use sqlparser::ast::{Expr, Ident};

use super::super::tree::{Aggregate, Column, Expression, Kind, WindowCall};
use super::super::types::Type;
use super::parts::has_aggregate;
use super::query::Builder;
use super::{excerpt, nearest, refused};
use crate::error::Error;

/// A source as its columns are named.
#[derive(Debug)]
pub(super) struct Visible {
    /// What qualifies its columns: the alias, else the name of what it reads.
    pub(super) qualifier: Option<String>,
    /// Its columns.
    pub(super) columns: Vec<Column>,
}

/// Which calls may stand where an expression is being built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// In words, for refusals.
    pub(super) name: &'static str,
    pub(super) aggregates: bool,
    pub(super) windows: bool,
    pub(super) array_joins: bool,
}

impl Place {
    /// A place where only the values of a row can be used.
    pub(super) const fn row(name: &'static str) -> Place {
        Place { name, aggregates: false, windows: false, array_joins: false }
    }
}

/// A select while it is built.
#[derive(Debug)]
pub(super) struct Scope<'q> {
    pub(super) sources: Vec<Visible>,
    /// Columns that `USING` made one, with where their value is.
    pub(super) merged: Vec<(String, (usize, usize))>,
    pub(super) aliases: HashMap<&'q str, &'q Expr>,
    /// Aliases whose expression is being built.
    pub(super) resolving: Vec<&'q str>,
    /// Parameters of the lambdas around, with their numbers and types.
    pub(super) parameters: Vec<(&'q str, usize, Type)>,
    pub(super) place: Place,
    pub(super) array_joins: Vec<Expression>,
    pub(super) aggregates: Vec<Aggregate>,
    pub(super) windows: Vec<WindowCall>,
    pub(super) window_names: Vec<(&'q str, &'q sqlparser::ast::WindowSpec)>,
}

impl<'q> Scope<'q> {
    pub(super) fn new() -> Scope<'q> {
        Scope {
            sources: Vec::new(),
            merged: Vec::new(),
            aliases: HashMap::new(),
            resolving: Vec::new(),
            parameters: Vec::new(),
            place: Place::row("`FROM`"),
            array_joins: Vec::new(),
            aggregates: Vec::new(),
            windows: Vec::new(),
            window_names: Vec::new(),
        }
    }

    /// The column of a source as an expression.
    pub(super) fn column(&self, source: usize, column: usize) -> Option<Expression> {
        let of = self.sources.get(source)?.columns.get(column)?.of.clone();
        Some(Expression { kind: Kind::Column { source, column }, of })
    }

    /// Whether the integers of an expression are times in Unix ms.
    pub(super) fn is_unix_ms(&self, expression: &Expression) -> bool {
        use super::super::functions::AggregateFunction::{Any, Maximum, Minimum};
        match &expression.kind {
            Kind::Column { source, column } => {
                self.sources.get(*source).and_then(|it| it.columns.get(*column)).is_some_and(|it| it.is_unix_ms)
            }
            Kind::Aggregate(index) => self.aggregates.get(*index).is_some_and(|aggregate| {
                matches!(aggregate.function, Minimum | Maximum | Any)
                    && aggregate.argument.as_ref().is_some_and(|argument| self.is_unix_ms(argument))
            }),
            Kind::Scalar(query) => query.columns.first().is_some_and(|column| column.is_unix_ms),
            _ => false,
        }
    }

    /// The places of the columns of this name.
    fn places(&self, name: &str) -> Vec<(usize, usize)> {
        let mut places = Vec::new();
        for (source, visible) in self.sources.iter().enumerate() {
            let found = visible.columns.iter().position(|column| column.name == name);
            places.extend(found.map(|column| (source, column)));
        }
        places
    }

    /// The column that a name without qualifier means, if there is one.
    ///
    /// In a join of two it is that of the first, as in ClickHouse; of more it has to be qualified.
    pub(super) fn find(&self, name: &str) -> Result<Option<Expression>, Error> {
        if let Some((_, (source, column))) = self.merged.iter().find(|(merged, _)| merged == name) {
            return Ok(self.column(*source, *column));
        }
        let places = self.places(name);
        if places.len() > 1 && self.sources.len() > 2 {
            return Err(refused(format!(
                "Several sources have a column `{name}`. Say which one is meant, as in `source.{name}`."
            )));
        }
        Ok(places.first().and_then(|(source, column)| self.column(*source, *column)))
    }

    /// The source that a qualifier means.
    pub(super) fn source(&self, qualifier: &str) -> Result<usize, Error> {
        let is_meant = |visible: &Visible| visible.qualifier.as_deref() == Some(qualifier);
        self.sources.iter().position(is_meant).ok_or_else(|| {
            let names = self.sources.iter().filter_map(|visible| visible.qualifier.as_deref());
            let help = suggestion(qualifier, names);
            refused(format!("Nothing in `FROM` is called `{qualifier}`.{help}"))
        })
    }

    /// The names of all columns.
    pub(super) fn column_names(&self) -> impl Iterator<Item = &str> {
        self.sources.iter().flat_map(|visible| visible.columns.iter().map(|column| column.name.as_str()))
    }
}

fn suggestion<'n>(written: &str, names: impl Iterator<Item = &'n str>) -> String {
    nearest(written, names).map(|near| format!(" Did you mean `{near}`?")).unwrap_or_default()
}

impl Builder<'_> {
    /// What a name without qualifier means.
    pub(super) fn identifier<'q>(&mut self, scope: &mut Scope<'q>, name: &'q Ident) -> Result<Expression, Error> {
        let name = name.value.as_str();
        if let Some((_, number, of)) = scope.parameters.iter().rev().find(|(parameter, ..)| *parameter == name) {
            return Ok(Expression { kind: Kind::Parameter(*number), of: of.clone() });
        }
        if let Some(expression) = scope.aliases.get(name).copied()
            && !scope.resolving.contains(&name)
            && !self.means_column(scope, name, expression)?
        {
            return self.alias(scope, name, expression);
        }
        if let Some(column) = scope.find(name)? {
            return Ok(column);
        }
        Err(self.unknown_column(scope, name))
    }

    /// Whether a name means a column although it is an alias too: where an aggregate cannot stand, the alias of one means
    /// nothing. ClickHouse refuses those.
    fn means_column(&self, scope: &Scope<'_>, name: &str, expression: &Expr) -> Result<bool, Error> {
        Ok(!scope.place.aggregates && has_aggregate(expression) && scope.find(name)?.is_some())
    }

    /// The expression that an alias stands for.
    pub(super) fn alias<'q>(
        &mut self,
        scope: &mut Scope<'q>,
        name: &'q str,
        expression: &'q Expr,
    ) -> Result<Expression, Error> {
        let parameters = std::mem::take(&mut scope.parameters);
        scope.resolving.push(name);
        let built = self.value(scope, expression);
        scope.resolving.pop();
        scope.parameters = parameters;
        built
    }

    /// What a qualified name means.
    pub(super) fn compound(&self, scope: &Scope<'_>, parts: &[Ident]) -> Result<Expression, Error> {
        let [qualifier, name] = parts else {
            let written = parts.iter().map(|part| part.value.as_str()).collect::<Vec<_>>().join(".");
            return Err(refused(format!(
                "{} names no column. Write `column` or `source.column`.",
                excerpt(&written.replace('`', ""))
            )));
        };
        let source = match scope.source(&qualifier.value) {
            Ok(source) => source,
            Err(error) => return Err(self.correlated(&qualifier.value).unwrap_or(error)),
        };
        let visible = scope.sources.get(source).map(|visible| visible.columns.as_slice()).unwrap_or_default();
        let column = visible.iter().position(|column| column.name == name.value);
        column.and_then(|column| scope.column(source, column)).ok_or_else(|| {
            let help = suggestion(&name.value, visible.iter().map(|column| column.name.as_str()));
            refused(format!("`{}` has no column `{}`.{help}", qualifier.value, name.value))
        })
    }

    fn unknown_column(&self, scope: &Scope<'_>, name: &str) -> Error {
        if let Some(error) = self.correlated(name) {
            return error;
        }
        let names = scope.column_names().chain(scope.aliases.keys().copied());
        let help = suggestion(name, names);
        refused(format!(
            "There is no column `{}`.{help} Texts are written in single quotes.",
            name.replace('`', "")
        ))
    }

    /// The refusal of a name that only a query around this one knows.
    fn correlated(&self, name: &str) -> Option<Error> {
        let is_outside = self.enclosing.iter().flatten().any(|known| known == name);
        is_outside.then(|| {
            refused(format!(
                "`{name}` belongs to the query outside, which an inner query cannot refer to. Use a `JOIN` instead."
            ))
        })
    }
}
