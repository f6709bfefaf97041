//! The parts of a statement in the order they are written, without recursion.

use sqlparser::ast::{
    AccessExpr, Distinct, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments,
    GroupByExpr, InTarget, JoinConstraint, JoinOperator, LimitClause, NamedWindowExpr, OrderByExpr, OrderByKind,
    Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, Subscript, TableFactor, TableWithJoins,
    WindowType,
};

use super::super::functions;
use super::refused;
use crate::error::Error;

/// How many parts a statement has at most.
const MOST_NODES: usize = 2_000;
/// A part of a statement.
#[derive(Clone, Copy)]
pub(super) enum Node<'q> {
    Query(&'q Query),
    Body(&'q SetExpr),
    Select(&'q Select),
    Table(&'q TableFactor),
    Expression(&'q Expr),
}

/// Whether an expression has an aggregate in it, subqueries apart.
pub(super) fn has_aggregate(written: &Expr) -> bool {
    let mut waiting = vec![Node::Expression(written)];
    while let Some(node) = waiting.pop() {
        let Node::Expression(expression) = node else { continue };
        if let Expr::Function(Function { name, over: None, .. }) = expression
            && functions::canonical(&name.to_string()).is_some_and(functions::is_aggregate)
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

/// All parts of a statement.
pub(super) fn list(statement: &Query) -> Result<Vec<Node<'_>>, Error> {
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
        if let Some(condition) = condition_of(&join.join_operator) {
            into.push(Node::Expression(condition));
        }
    }
}

/// The condition of a join, where it has one.
fn condition_of(operator: &JoinOperator) -> Option<&Expr> {
    use JoinOperator as J;
    let constraint = match operator {
        J::Join(constraint)
        | J::Inner(constraint)
        | J::Left(constraint)
        | J::LeftOuter(constraint)
        | J::Right(constraint)
        | J::RightOuter(constraint)
        | J::FullOuter(constraint)
        | J::CrossJoin(constraint)
        | J::Semi(constraint)
        | J::LeftSemi(constraint)
        | J::RightSemi(constraint)
        | J::Anti(constraint)
        | J::LeftAnti(constraint)
        | J::RightAnti(constraint)
        | J::AsOf { match_condition: _, constraint }
        | J::StraightJoin(constraint) => constraint,
        J::CrossApply | J::OuterApply | J::ArrayJoin | J::LeftArrayJoin | J::InnerArrayJoin => return None,
    };
    match constraint {
        JoinConstraint::On(condition) => Some(condition),
        _ => None,
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
