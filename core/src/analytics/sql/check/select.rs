//! A select: its clauses in the order in which names can be known, put together in the order in which they run.

use std::collections::HashMap;

use sqlparser::ast::{
    Distinct, Expr, GroupByExpr, NamedWindowDefinition, NamedWindowExpr, OrderBy, Select as Written, SelectFlavor,
    SelectItem, SelectItemQualifiedWildcardKind, WildcardAdditionalOptions,
};

use super::super::tree::{Body, Column, Expression, Grouping, Kind, Query, Select};
use super::super::types::Type;
use super::grouping::Grouped;
use super::names::name;
use super::ordering::{no_position, position};
use super::query::{Builder, Limits};
use super::scope::{Place, Scope};
use super::survey::bound_columns;
use super::{excerpt, not_offered, refuse_any, refused};
use crate::error::Error;

/// The clauses of a select that mean something here.
struct Clauses<'q> {
    distinct: bool,
    projection: &'q [SelectItem],
    prewhere: Option<&'q Expr>,
    filter: Option<&'q Expr>,
    group_by: &'q [Expr],
    having: Option<&'q Expr>,
    windows: &'q [NamedWindowDefinition],
}

impl<'q> Clauses<'q> {
    fn of(written: &'q Written) -> Result<Clauses<'q>, Error> {
        let Written {
            select_token: _,
            optimizer_hints,
            distinct,
            select_modifiers,
            top,
            top_before_distinct: _,
            projection,
            exclude,
            into,
            from: _,
            lateral_views,
            prewhere,
            selection,
            connect_by,
            group_by,
            cluster_by,
            distribute_by,
            sort_by,
            having,
            named_window,
            qualify,
            window_before_qualify: _,
            value_table_mode,
            flavor,
        } = written;
        let (group_by, modifiers) = match group_by {
            GroupByExpr::Expressions(keys, modifiers) => (keys.as_slice(), modifiers),
            GroupByExpr::All(_) => return Err(not_offered("`GROUP BY ALL`")),
        };
        refuse_any(&[
            (!optimizer_hints.is_empty(), "A hint"),
            (select_modifiers.is_some(), "A modifier of `SELECT`"),
            (top.is_some(), "`TOP`"),
            (exclude.is_some(), "`EXCLUDE`"),
            (into.is_some(), "`INTO`"),
            (!lateral_views.is_empty(), "`LATERAL VIEW`"),
            (!connect_by.is_empty(), "`CONNECT BY`"),
            (!modifiers.is_empty(), "A modifier of `GROUP BY` (`WITH TOTALS`, `WITH ROLLUP`, `WITH CUBE`)"),
            (!cluster_by.is_empty(), "`CLUSTER BY`"),
            (!distribute_by.is_empty(), "`DISTRIBUTE BY`"),
            (!sort_by.is_empty(), "`SORT BY`"),
            (qualify.is_some(), "`QUALIFY`"),
            (value_table_mode.is_some(), "`SELECT AS`"),
            (*flavor != SelectFlavor::Standard, "`FROM` before `SELECT`"),
        ])?;
        let distinct = match distinct {
            None | Some(Distinct::All) => false,
            Some(Distinct::Distinct) => true,
            Some(Distinct::On(_)) => return Err(refused("`DISTINCT ON` is not offered here. Use `LIMIT 1 BY`.")),
        };
        let (prewhere, filter, having) = (prewhere.as_ref(), selection.as_ref(), having.as_ref());
        Ok(Clauses { distinct, projection, prewhere, filter, group_by, having, windows: named_window })
    }
}

/// A column of the projection before it is built.
enum Item<'q> {
    /// An expression with its alias.
    Written(&'q Expr, Option<&'q str>),
    /// One that `*` stands for: a source and its column.
    Of(usize, usize),
}

impl Builder<'_> {
    /// Builds a select with the order and limit of its query.
    pub(super) fn select<'q>(
        &mut self,
        written: &'q Written,
        order_by: Option<&'q OrderBy>,
        limits: Limits<'q>,
    ) -> Result<Query, Error> {
        let clauses = Clauses::of(written)?;
        let mut scope = Scope::new();
        let (sources, joins) = self.sources(&mut scope, &written.from)?;
        let items = items(&scope, clauses.projection)?;
        self.columns += items.len();
        bound_columns(self.columns)?;
        declare(&mut scope, &clauses)?;

        let filter = self.filter(&mut scope, &clauses)?;
        let (projection, mut columns) = self.projection(&mut scope, &items)?;
        let keys = self.keys(&mut scope, clauses.group_by, &items, &projection)?;
        let having = match clauses.having {
            Some(having) => {
                scope.place = Place { name: "`HAVING`", aggregates: true, windows: false, array_joins: false };
                Some(self.condition(&mut scope, having)?)
            }
            None => None,
        };
        let order_by = self.order_by(&mut scope, order_by, &projection)?;
        let (limit_by, offset, limit) = self.limits(&mut scope, limits, &projection)?;
        for (column, expression) in columns.iter_mut().zip(&projection) {
            column.of = expression.of.clone();
        }
        let mut select = Select {
            joins,
            filter,
            distinct: clauses.distinct,
            order_by,
            limit_by,
            offset,
            limit,
            ..Select::of(sources, projection)
        };
        grouped(&mut select, &mut scope, keys, having)?;
        select.array_joins = std::mem::take(&mut scope.array_joins);
        distinct_order(&select)?;
        Ok(Query { body: Body::Select(Box::new(select)), columns })
    }

    fn filter<'q>(&mut self, scope: &mut Scope<'q>, clauses: &Clauses<'q>) -> Result<Option<Expression>, Error> {
        scope.place = Place { array_joins: true, ..Place::row("`WHERE`") };
        let mut conditions = Vec::new();
        for written in clauses.prewhere.into_iter().chain(clauses.filter) {
            conditions.push(self.condition(scope, written)?);
        }
        if conditions.len() < 2 {
            return Ok(conditions.pop());
        }
        let is_nullable = conditions.iter().any(|condition| condition.of.is_nullable());
        Ok(Some(Expression::question(Kind::And(conditions), is_nullable)))
    }

    fn projection<'q>(
        &mut self,
        scope: &mut Scope<'q>,
        items: &[Item<'q>],
    ) -> Result<(Vec<Expression>, Vec<Column>), Error> {
        scope.place = Place { name: "`SELECT`", aggregates: true, windows: true, array_joins: true };
        let (mut projection, mut columns) = (Vec::with_capacity(items.len()), Vec::with_capacity(items.len()));
        for item in items {
            let (built, name) = match item {
                Item::Written(written, Some(alias)) => (self.alias(scope, alias, written)?, (*alias).to_owned()),
                Item::Written(written, None) => (self.value(scope, written)?, name(scope, written)),
                Item::Of(source, column) => {
                    let built = scope.column(*source, *column).ok_or_else(|| refused("`*` names no column."))?;
                    (built, super::names::of_column(scope, *source, *column))
                }
            };
            let is_unix_ms = scope.is_unix_ms(&built);
            columns.push(Column { name, of: built.of.clone(), is_unix_ms });
            projection.push(built);
        }
        Ok((projection, columns))
    }

    fn keys<'q>(
        &mut self,
        scope: &mut Scope<'q>,
        written: &'q [Expr],
        items: &[Item<'q>],
        projection: &[Expression],
    ) -> Result<Vec<Expression>, Error> {
        scope.place = Place { array_joins: true, ..Place::row("`GROUP BY`") };
        let mut keys: Vec<Expression> = Vec::with_capacity(written.len());
        for written in written {
            if let Expr::Rollup(_) | Expr::Cube(_) | Expr::GroupingSets(_) = written {
                return Err(not_offered("`ROLLUP`, `CUBE` or `GROUPING SETS`"));
            }
            let key = match position(written) {
                Some(position) => {
                    let index = usize::try_from(position).ok().and_then(|position| position.checked_sub(1));
                    let item = index.and_then(|index| items.get(index));
                    match item.ok_or_else(|| no_position("GROUP BY", position, projection.len()))? {
                        Item::Written(written, Some(alias)) => self.alias(scope, alias, written)?,
                        Item::Written(written, None) => self.value(scope, written)?,
                        Item::Of(source, column) => {
                            scope.column(*source, *column).ok_or_else(|| refused("`*` names no column."))?
                        }
                    }
                }
                None => self.value(scope, written)?,
            };
            if matches!(key.of, Type::State(_)) {
                return Err(refused(format!(
                    "{} is a state, which cannot be a key of a group.",
                    excerpt(written)
                )));
            }
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        Ok(keys)
    }
}

/// Makes aliases and windows known.
fn declare<'q>(scope: &mut Scope<'q>, clauses: &Clauses<'q>) -> Result<(), Error> {
    let mut aliases: HashMap<&'q str, &'q Expr> = HashMap::new();
    for item in clauses.projection {
        let SelectItem::ExprWithAlias { expr, alias } = item else { continue };
        let same = aliases.insert(&alias.value, expr);
        if same.is_some_and(|same| same != expr) {
            return Err(refused(format!(
                "Two columns of the select are called `{}`. Give one another alias.",
                alias.value.replace('`', "")
            )));
        }
    }
    scope.aliases = aliases;
    for NamedWindowDefinition(name, window) in clauses.windows {
        match window {
            NamedWindowExpr::WindowSpec(window) => scope.window_names.push((&name.value, window)),
            NamedWindowExpr::NamedWindow(_) => return Err(not_offered("A window that is another one's name")),
        }
    }
    Ok(())
}

/// What each column of the projection is, `*` in all its columns.
fn items<'q>(scope: &Scope<'_>, written: &'q [SelectItem]) -> Result<Vec<Item<'q>>, Error> {
    let mut items = Vec::with_capacity(written.len());
    for item in written {
        match item {
            SelectItem::UnnamedExpr(expression) => items.push(Item::Written(expression, None)),
            SelectItem::ExprWithAlias { expr, alias } => items.push(Item::Written(expr, Some(&alias.value))),
            SelectItem::ExprWithAliases { .. } => return Err(not_offered("Several aliases of one expression")),
            SelectItem::Wildcard(options) => {
                no_options(options)?;
                for source in 0..scope.sources.len() {
                    everything(scope, source, true, &mut items);
                }
            }
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                no_options(options)?;
                let [part] = &name.0[..] else { return Err(not_offered("`*` of a qualified table")) };
                let qualifier = part.as_ident().map(|ident| ident.value.as_str()).unwrap_or_default();
                everything(scope, scope.source(qualifier)?, false, &mut items);
            }
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::Expr(_), _) => {
                return Err(not_offered("`*` of an expression"));
            }
        }
    }
    Ok(items)
}

/// The columns of a source that `*` stands for: all but states, which only their merge reads, and in a join those that `USING`
/// made one only once.
fn everything(scope: &Scope<'_>, source: usize, is_all: bool, items: &mut Vec<Item<'_>>) {
    let columns = scope.sources.get(source).map(|visible| visible.columns.as_slice()).unwrap_or_default();
    for (index, column) in columns.iter().enumerate() {
        let merged = scope.merged.iter().find(|(name, _)| *name == column.name);
        if matches!(column.of, Type::State(_)) {
            continue;
        }
        match merged {
            Some((name, (from, place))) if is_all => {
                let is_first =
                    scope.sources.iter().take(source).all(|it| it.columns.iter().all(|it| it.name != *name));
                if is_first {
                    items.push(Item::Of(*from, *place));
                }
            }
            _ => items.push(Item::Of(source, index)),
        }
    }
}

fn no_options(options: &WildcardAdditionalOptions) -> Result<(), Error> {
    let WildcardAdditionalOptions {
        wildcard_token: _,
        opt_ilike,
        opt_exclude,
        opt_except,
        opt_replace,
        opt_rename,
        opt_alias,
    } = options;
    refuse_any(&[
        (opt_ilike.is_some(), "`* ILIKE`"),
        (opt_exclude.is_some(), "`* EXCLUDE`"),
        (opt_except.is_some(), "`* EXCEPT`"),
        (opt_replace.is_some(), "`* REPLACE`"),
        (opt_rename.is_some(), "`* RENAME`"),
        (opt_alias.is_some(), "An alias of `*`"),
    ])
}

/// Moves what comes after the grouping over to its keys, if there is one.
fn grouped(
    select: &mut Select,
    scope: &mut Scope<'_>,
    keys: Vec<Expression>,
    having: Option<Expression>,
) -> Result<(), Error> {
    let aggregates = std::mem::take(&mut scope.aggregates);
    let windows = std::mem::take(&mut scope.windows);
    if keys.is_empty() && aggregates.is_empty() {
        if having.is_some() {
            return Err(refused("`HAVING` is about groups, and there are none. Use `WHERE`, or add `GROUP BY`."));
        }
        select.windows = windows;
        return Ok(());
    }
    let grouped = Grouped { keys: &keys, scope };
    let having = having.map(|having| grouped.over_groups(having)).transpose()?;
    select.windows = windows.into_iter().map(|window| grouped.window(window)).collect::<Result<_, _>>()?;
    let over = |expressions: &mut Vec<Expression>| -> Result<(), Error> {
        let all = std::mem::take(expressions);
        *expressions =
            all.into_iter().map(|expression| grouped.over_groups(expression)).collect::<Result<_, _>>()?;
        Ok(())
    };
    over(&mut select.projection)?;
    for order in &mut select.order_by {
        order.by = grouped.over_groups(order.by.clone())?;
    }
    if let Some(limit_by) = &mut select.limit_by {
        over(&mut limit_by.keys)?;
    }
    select.grouping = Some(Grouping { keys, aggregates, having });
    Ok(())
}

/// With `DISTINCT`, rows are in the order of what they show.
fn distinct_order(select: &Select) -> Result<(), Error> {
    if !select.distinct {
        return Ok(());
    }
    let keys = select.order_by.iter().map(|order| &order.by).chain(select.limit_by.iter().flat_map(|it| &it.keys));
    for key in keys {
        if !matches!(key.kind, Kind::Output(_)) {
            return Err(refused(
                "With `DISTINCT`, only columns of the `SELECT` can be in `ORDER BY` and `LIMIT BY`.",
            ));
        }
    }
    if select.projection.iter().any(|column| matches!(column.of, Type::State(_))) {
        return Err(refused("`DISTINCT` cannot compare states."));
    }
    Ok(())
}
