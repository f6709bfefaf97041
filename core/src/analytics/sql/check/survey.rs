//! What is looked for anywhere in a statement before its names are resolved: settings, size, tables, functions.

use std::collections::HashSet;

use sqlparser::ast::{Expr, InTarget, Query, SetExpr, TableFactor};

use super::super::functions;
use super::super::tables::{Table, Tables};
use super::parts::{Node, list};
use super::{Asked, nearest, refused};
use crate::error::{Code, Error};

/// How many columns all selects of a statement have at most, together.
pub(crate) const MOST_COLUMNS: usize = 64;

/// Makes the checks that need no names.
pub(super) fn check(statement: &Query, asked: &Asked) -> Result<(), Error> {
    let nodes = list(statement)?;
    settings(&nodes)?;
    columns(&nodes)?;
    let named = named_queries(&nodes)?;
    membership(&nodes)?;
    source(statement)?;
    allowed_tables(&nodes, &named, asked)?;
    allowed_functions(&nodes)
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

fn allowed_tables(nodes: &[Node<'_>], named: &HashSet<String>, asked: &Asked) -> Result<(), Error> {
    for node in nodes {
        let Node::Table(TableFactor::Table { name, args: None, .. }) = node else { continue };
        let written = name.to_string();
        let single = match &name.0[..] {
            [part] => part.as_ident().map(|ident| ident.value.as_str()),
            _ => None,
        };
        let is_known =
            single.is_some_and(|name| asked.table(name).is_some() || named.contains(&name.to_lowercase()));
        if !is_known {
            return Err(unknown_table(&written, asked.operation));
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
