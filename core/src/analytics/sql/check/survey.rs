//! What is looked for anywhere in a statement before its names are resolved: settings, size, tables, functions.
//!
//! The parts of a statement are listed in the order they are written, without recursion; each check goes over the list.

use std::collections::HashSet;

use sqlparser::ast::{
    AccessExpr, Distinct, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments,
    GroupByExpr, InTarget, JoinOperator, LimitClause, NamedWindowExpr, OrderByExpr, OrderByKind, Query, Select,
    SelectItem, SelectItemQualifiedWildcardKind, SetExpr, Subscript, TableFactor, TableWithJoins, WindowType,
};

use super::super::functions;
use super::super::tables::{Table, Tables};
use super::{nearest, refused};
use crate::error::{Code, Error};

/// How many parts a statement has at most.
const MOST_NODES: usize = 2_000;
/// How many columns all selects of a statement have at most, together.
pub(super) const MOST_COLUMNS: usize = 64;

/// A part of a statement.
#[derive(Clone, Copy)]
enum Node<'q> {
    Query(&'q Query),
    Body(&'q SetExpr),
    Select(&'q Select),
    Table(&'q TableFactor),
    Expression(&'q Expr),
}

/// Makes the checks that need no names.
pub(super) fn check(statement: &Query, tables: Tables) -> Result<(), Error> {
    let nodes = list(statement)?;
    settings(&nodes)?;
    columns(&nodes)?;
    let named = named_queries(&nodes)?;
    membership(&nodes)?;
    source(statement)?;
    allowed_tables(&nodes, &named, tables)?;
    allowed_functions(&nodes)
}

/// Whether an expression has an aggregate in it, subqueries apart.
pub(super) fn has_aggregate(written: &Expr) -> bool {
    let mut waiting = vec![Node::Expression(written)];
    while let Some(node) = waiting.pop() {
        let Node::Expression(expression) = node else { continue };
        if let Expr::Function(Function { name, over: None, .. }) = expression
            && functions::canonical(&name.to_string()).is_some_and(super::aggregates::is_aggregate)
        {
            return true;
        }
        of_expression(expression, &mut waiting);
    }
    false
}

/// The `WHERE` of every select.
pub(super) fn filters(statement: &Query) -> Vec<&Expr> {
    let nodes = list(statement).unwrap_or_default();
    let filter = |node| if let Node::Select(Select { selection, .. }) = node { selection.as_ref() } else { None };
    nodes.into_iter().filter_map(filter).collect()
}

fn list(statement: &Query) -> Result<Vec<Node<'_>>, Error> {
    let mut nodes = Vec::new();
    let mut waiting = vec![Node::Query(statement)];
    while let Some(node) = waiting.pop() {
        if nodes.len() == MOST_NODES {
            return Err(refused(format!(
                "The query has more than {MOST_NODES} parts (expressions, tables and selects). Ask for less at once."
            )));
        }
        nodes.push(node);
        let first = waiting.len();
        node.parts(&mut waiting);
        waiting[first..].reverse();
    }
    Ok(nodes)
}

impl<'q> Node<'q> {
    /// Adds what it is made of.
    fn parts(self, into: &mut Vec<Node<'q>>) {
        match self {
            Node::Query(query) => of_query(query, into),
            Node::Body(body) => of_body(body, into),
            Node::Select(select) => of_select(select, into),
            Node::Table(table) => of_table(table, into),
            Node::Expression(expression) => of_expression(expression, into),
        }
    }
}

fn of_query<'q>(query: &'q Query, into: &mut Vec<Node<'q>>) {
    if let Some(with) = &query.with {
        into.extend(with.cte_tables.iter().map(|named| Node::Query(&named.query)));
    }
    into.push(Node::Body(&query.body));
    if let Some(order_by) = &query.order_by
        && let OrderByKind::Expressions(keys) = &order_by.kind
    {
        of_order(keys, into);
    }
    match &query.limit_clause {
        Some(LimitClause::LimitOffset { limit, offset, limit_by }) => {
            into.extend(
                limit_by.iter().chain(limit).chain(offset.iter().map(|it| &it.value)).map(Node::Expression),
            );
        }
        Some(LimitClause::OffsetCommaLimit { offset, limit }) => {
            into.extend([Node::Expression(offset), Node::Expression(limit)]);
        }
        None => {}
    }
}

fn of_order<'q>(keys: &'q [OrderByExpr], into: &mut Vec<Node<'q>>) {
    for key in keys {
        into.push(Node::Expression(&key.expr));
        if let Some(fill) = &key.with_fill {
            into.extend(fill.from.iter().chain(&fill.to).chain(&fill.step).map(Node::Expression));
        }
    }
}

fn of_body<'q>(body: &'q SetExpr, into: &mut Vec<Node<'q>>) {
    match body {
        SetExpr::Select(select) => into.push(Node::Select(select)),
        SetExpr::Query(query) => into.push(Node::Query(query)),
        SetExpr::SetOperation { left, right, .. } => into.extend([Node::Body(left), Node::Body(right)]),
        SetExpr::Values(values) => {
            into.extend(values.rows.iter().flat_map(|row| row.content.iter()).map(Node::Expression));
        }
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) | SetExpr::Table(_) => {}
    }
}

fn of_select<'q>(select: &'q Select, into: &mut Vec<Node<'q>>) {
    if let Some(Distinct::On(keys)) = &select.distinct {
        into.extend(keys.iter().map(Node::Expression));
    }
    for item in &select.projection {
        match item {
            SelectItem::UnnamedExpr(expr)
            | SelectItem::ExprWithAlias { expr, .. }
            | SelectItem::ExprWithAliases { expr, .. }
            | SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::Expr(expr), _) => {
                into.push(Node::Expression(expr));
            }
            SelectItem::QualifiedWildcard(..) | SelectItem::Wildcard(_) => {}
        }
    }
    select.from.iter().for_each(|from| of_joins(from, into));
    into.extend(select.prewhere.iter().chain(&select.selection).map(Node::Expression));
    if let GroupByExpr::Expressions(keys, _) = &select.group_by {
        into.extend(keys.iter().map(Node::Expression));
    }
    into.extend(select.having.iter().chain(&select.qualify).map(Node::Expression));
    for window in &select.named_window {
        if let NamedWindowExpr::WindowSpec(window) = &window.1 {
            into.extend(window.partition_by.iter().map(Node::Expression));
            of_order(&window.order_by, into);
        }
    }
}

fn of_joins<'q>(from: &'q TableWithJoins, into: &mut Vec<Node<'q>>) {
    into.push(Node::Table(&from.relation));
    for join in &from.joins {
        // The array of `ARRAY JOIN` is a table to the parser.
        if matches!(
            join.join_operator,
            JoinOperator::ArrayJoin | JoinOperator::LeftArrayJoin | JoinOperator::InnerArrayJoin
        ) {
            continue;
        }
        into.push(Node::Table(&join.relation));
        if let Some(condition) = super::sources::constraint(&join.join_operator) {
            into.push(Node::Expression(condition));
        }
    }
}

fn of_table<'q>(table: &'q TableFactor, into: &mut Vec<Node<'q>>) {
    match table {
        TableFactor::Table { args: Some(arguments), .. } => of_arguments(&arguments.args, into),
        TableFactor::Derived { subquery, .. } => into.push(Node::Query(subquery)),
        TableFactor::TableFunction { expr, .. } => into.push(Node::Expression(expr)),
        TableFactor::Function { args, .. } => of_arguments(args, into),
        TableFactor::UNNEST { array_exprs, .. } => into.extend(array_exprs.iter().map(Node::Expression)),
        TableFactor::NestedJoin { table_with_joins, .. } => of_joins(table_with_joins, into),
        _ => {}
    }
}

fn of_arguments<'q>(arguments: &'q [FunctionArg], into: &mut Vec<Node<'q>>) {
    for argument in arguments {
        let (FunctionArg::Named { arg, .. } | FunctionArg::ExprNamed { arg, .. } | FunctionArg::Unnamed(arg)) =
            argument;
        if let FunctionArgExpr::Expr(expression) = arg {
            into.push(Node::Expression(expression));
        }
    }
}

fn of_function<'q>(function: &'q Function, into: &mut Vec<Node<'q>>) {
    for arguments in [&function.parameters, &function.args] {
        match arguments {
            FunctionArguments::None => {}
            FunctionArguments::Subquery(query) => into.push(Node::Query(query)),
            FunctionArguments::List(list) => {
                of_arguments(&list.args, into);
                for clause in &list.clauses {
                    if let FunctionArgumentClause::Where(expression) | FunctionArgumentClause::Limit(expression) =
                        clause
                    {
                        into.push(Node::Expression(expression));
                    }
                }
            }
        }
    }
    into.extend(function.filter.iter().map(|filter| Node::Expression(filter)));
    if let Some(WindowType::WindowSpec(window)) = &function.over {
        into.extend(window.partition_by.iter().map(Node::Expression));
        of_order(&window.order_by, into);
    }
}

fn of_expression<'q>(expression: &'q Expr, into: &mut Vec<Node<'q>>) {
    match expression {
        Expr::CompoundFieldAccess { root, access_chain } => {
            into.push(Node::Expression(root));
            for access in access_chain {
                if let AccessExpr::Dot(index) | AccessExpr::Subscript(Subscript::Index { index }) = access {
                    into.push(Node::Expression(index));
                }
            }
        }
        Expr::In { expr, target, .. } => {
            into.push(Node::Expression(expr));
            match target {
                InTarget::List(list) => into.extend(list.iter().map(Node::Expression)),
                InTarget::Subquery(query) => into.push(Node::Query(query)),
                InTarget::Unnest(array) => into.push(Node::Expression(array)),
                InTarget::Table { args, .. } => of_arguments(args.as_deref().unwrap_or_default(), into),
            }
        }
        Expr::Function(function) => of_function(function, into),
        Expr::Case { operand, conditions, else_result, .. } => {
            into.extend(operand.iter().map(|operand| Node::Expression(operand)));
            for branch in conditions {
                into.extend([Node::Expression(&branch.condition), Node::Expression(&branch.result)]);
            }
            into.extend(else_result.iter().map(|otherwise| Node::Expression(otherwise)));
        }
        Expr::Exists { subquery, .. } | Expr::Subquery(subquery) => into.push(Node::Query(subquery)),
        Expr::Tuple(list) => into.extend(list.iter().map(Node::Expression)),
        Expr::Array(array) => into.extend(array.elem.iter().map(Node::Expression)),
        Expr::Interval(interval) => into.push(Node::Expression(&interval.value)),
        Expr::Lambda(lambda) => into.push(Node::Expression(&lambda.body)),
        Expr::GroupingSets(sets) | Expr::Cube(sets) | Expr::Rollup(sets) => {
            into.extend(sets.iter().flatten().map(Node::Expression));
        }
        Expr::Substring { expr, substring_from, substring_for, .. } => {
            into.push(Node::Expression(expr));
            into.extend(substring_from.iter().chain(substring_for).map(|place| Node::Expression(place)));
        }
        other => of_simple(other, into),
    }
}

/// Of expressions that are made of one to three others.
fn of_simple<'q>(expression: &'q Expr, into: &mut Vec<Node<'q>>) {
    match expression {
        Expr::IsFalse(expr)
        | Expr::IsNotFalse(expr)
        | Expr::IsTrue(expr)
        | Expr::IsNotTrue(expr)
        | Expr::IsNull(expr)
        | Expr::IsNotNull(expr)
        | Expr::IsUnknown(expr)
        | Expr::IsNotUnknown(expr)
        | Expr::UnaryOp { expr, .. }
        | Expr::Convert { expr, .. }
        | Expr::Cast { expr, .. }
        | Expr::Extract { expr, .. }
        | Expr::Ceil { expr, .. }
        | Expr::Floor { expr, .. }
        | Expr::Trim { expr, .. }
        | Expr::Collate { expr, .. }
        | Expr::Named { expr, .. }
        | Expr::JsonAccess { value: expr, .. }
        | Expr::Prior(expr)
        | Expr::OuterJoin(expr)
        | Expr::Nested(expr) => into.push(Node::Expression(expr)),
        Expr::IsDistinctFrom(left, right)
        | Expr::IsNotDistinctFrom(left, right)
        | Expr::BinaryOp { left, right, .. }
        | Expr::AnyOp { left, right, .. }
        | Expr::AllOp { left, right, .. }
        | Expr::Like { expr: left, pattern: right, .. }
        | Expr::ILike { expr: left, pattern: right, .. }
        | Expr::SimilarTo { expr: left, pattern: right, .. }
        | Expr::RLike { expr: left, pattern: right, .. }
        | Expr::Position { expr: left, r#in: right }
        | Expr::AtTimeZone { timestamp: left, time_zone: right } => {
            into.extend([Node::Expression(left), Node::Expression(right)]);
        }
        Expr::Between { expr, low, high, .. } => {
            into.extend([Node::Expression(expr), Node::Expression(low), Node::Expression(high)]);
        }
        _ => {}
    }
}

fn settings(nodes: &[Node<'_>]) -> Result<(), Error> {
    let has_settings = nodes.iter().any(|node| match node {
        Node::Query(query) => query.settings.is_some(),
        Node::Table(TableFactor::Table { args: Some(arguments), .. }) => arguments.settings.is_some(),
        _ => false,
    });
    if has_settings {
        return Err(refused("`SETTINGS` is not allowed in a query. Leave it out."));
    }
    Ok(())
}

fn columns(nodes: &[Node<'_>]) -> Result<(), Error> {
    let counts = nodes.iter().map(|node| match node {
        Node::Select(select) => select.projection.len(),
        _ => 0,
    });
    bound_columns(counts.sum())
}

/// Refuses too many columns.
pub(super) fn bound_columns(count: usize) -> Result<(), Error> {
    if count > MOST_COLUMNS {
        return Err(refused(format!(
            "All selects of the query have {count} columns together; at most {MOST_COLUMNS} are allowed, and `*` counts each of \
             its columns. Name those that you need."
        )));
    }
    Ok(())
}

/// The names that `WITH` gives, in lower case.
fn named_queries(nodes: &[Node<'_>]) -> Result<HashSet<String>, Error> {
    let mut named = HashSet::new();
    for node in nodes {
        let Node::Query(Query { with: Some(with), .. }) = node else { continue };
        for query in &with.cte_tables {
            let name = &query.alias.name.value;
            let of_both = [Tables::Verifications, Tables::Ratelimits];
            let mut tables = of_both.into_iter().flat_map(Table::all);
            if tables.any(|table| table.name.eq_ignore_ascii_case(name)) {
                return Err(Error::new(
                    Code::InvalidAnalyticsTable,
                    format!(
                        "`{name}` is the name of a table and cannot be given to a query. Use another name in `WITH`."
                    ),
                ));
            }
            named.insert(name.to_lowercase());
        }
    }
    Ok(named)
}

fn membership(nodes: &[Node<'_>]) -> Result<(), Error> {
    for node in nodes {
        let Node::Expression(Expr::In { target, .. }) = node else { continue };
        let is_right = match target {
            InTarget::Subquery(_) => true,
            InTarget::List(list) => list.iter().all(|item| {
                !matches!(
                    item,
                    Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Subquery(_) | Expr::Wildcard(_)
                )
            }),
            InTarget::Unnest(_) | InTarget::Table { .. } => false,
        };
        if !is_right {
            return Err(refused(
                "On the right of `IN` there must be a list of constants, an array of them, or a subquery: `IN ('a', 'b')` or \
                 `IN (SELECT …)`. To look for a value in a column that is an array, use `has(column, value)`.",
            ));
        }
    }
    Ok(())
}

/// Every select that gives the answer's rows reads from something.
fn source(statement: &Query) -> Result<(), Error> {
    let mut waiting = vec![&*statement.body];
    while let Some(body) = waiting.pop() {
        match body {
            SetExpr::Select(select) if select.from.is_empty() => {
                return Err(refused("The `SELECT` has no `FROM`. Say which table to read."));
            }
            SetExpr::Query(query) => waiting.push(&query.body),
            SetExpr::SetOperation { left, right, .. } => waiting.extend([&**left, &**right]),
            _ => {}
        }
    }
    Ok(())
}

fn allowed_tables(nodes: &[Node<'_>], named: &HashSet<String>, tables: Tables) -> Result<(), Error> {
    for node in nodes {
        let Node::Table(TableFactor::Table { name, args: None, .. }) = node else { continue };
        let written = name.to_string();
        let single = match &name.0[..] {
            [part] => part.as_ident().map(|ident| ident.value.as_str()),
            _ => None,
        };
        let is_known = single
            .is_some_and(|name| Table::named(tables, name).is_some() || named.contains(&name.to_lowercase()));
        if !is_known {
            return Err(unknown_table(&written, tables));
        }
    }
    Ok(())
}

/// The refusal of a table that there is not.
pub(super) fn unknown_table(written: &str, tables: Tables) -> Error {
    let other = match tables {
        Tables::Verifications => (Tables::Ratelimits, "analytics.getRatelimits"),
        Tables::Ratelimits => (Tables::Verifications, "analytics.getVerifications"),
    };
    let names = Table::all(tables).iter().map(|table| table.name);
    let help = if Table::named(other.0, written).is_some() {
        format!("It belongs to `{}`.", other.1)
    } else if let Some(near) = nearest(written, names.clone()) {
        format!("Did you mean `{near}`?")
    } else {
        format!("There are {}.", names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "))
    };
    Error::new(
        Code::InvalidAnalyticsTable,
        format!("There is no table {}. {help}", super::excerpt(&Quoted(written))),
    )
}

/// A name between the signs of an excerpt, which it must not end.
struct Quoted<'n>(&'n str);

impl std::fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.replace('`', ""))
    }
}

fn allowed_functions(nodes: &[Node<'_>]) -> Result<(), Error> {
    for node in nodes {
        let name = match node {
            Node::Expression(Expr::Function(function)) => function.name.to_string(),
            Node::Expression(Expr::Position { .. }) => "position".to_owned(),
            Node::Expression(Expr::Extract { .. }) => "extract".to_owned(),
            Node::Expression(Expr::Overlay { .. }) => "overlay".to_owned(),
            Node::Table(TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. }) => {
                return Err(not_allowed(&name.to_string(), None));
            }
            Node::Table(TableFactor::TableFunction { expr, .. }) => {
                return Err(not_allowed(&expr.to_string(), None));
            }
            _ => continue,
        };
        if functions::canonical(&name).is_none() {
            return Err(not_allowed(&name, nearest(&name, functions::names())));
        }
    }
    Ok(())
}

/// The refusal of a function.
fn not_allowed(written: &str, near: Option<&str>) -> Error {
    let name = super::excerpt(&Quoted(written));
    let help = match near {
        Some(near) => format!("Did you mean `{near}`?"),
        None => "The guide lists the functions that are.".to_owned(),
    };
    Error::new(Code::InvalidAnalyticsFunction, format!("The function {name} is not allowed. {help}"))
}
