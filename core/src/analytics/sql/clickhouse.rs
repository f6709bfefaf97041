//! The printer for ClickHouse: a checked tree as a statement that means the same there, whatever the server's settings for
//! names and time zones are.
//!
//! Every select names what it computes in its own `WITH`: keys `k0`, elements `e0`, aggregates `a0` and windows `w0` by index,
//! and its columns are `c0`, `c1`, …: the names of the answer are the tree's. Every table is read in a subquery that has its
//! row filter, so that neither a condition nor an outer join can step around it.

mod calls;
mod expressions;

use std::collections::BTreeSet;

use super::tables::{Grain, Table};
use super::tree::{
    Aggregate, Body, Checked, Combination, Expression, Fill, Frame, From, Join, JoinKind, Kind, Order, Place,
    Query, Read, RowFilter, Select, Source, Step, WindowCall,
};
use super::types::Type;
use crate::calendar::Day;

/// The statement for a checked tree. `table` gives each public table's name in the database, which is not quoted again.
pub fn print(checked: &Checked, table: &dyn Fn(&Table) -> String) -> String {
    let mut printer = Printer { text: String::new(), table, selects: 0 };
    let named = checked.named.iter().enumerate();
    for (index, named) in named {
        printer.push(if index == 0 { "WITH " } else { ", " });
        printer.push(&format!("q{index} AS ("));
        printer.query(&named.query);
        printer.push(")");
    }
    if !checked.named.is_empty() {
        // A name of an expression would join the list of the queries: the statement's own are inside.
        printer.push(" SELECT * FROM (");
        printer.query(&checked.query);
        printer.push(")");
        return printer.text;
    }
    printer.query(&checked.query);
    printer.text
}

/// A text as a constant.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('\'');
    for letter in text.chars() {
        match letter {
            '\\' => quoted.push_str("\\\\"),
            '\'' => quoted.push_str("\\'"),
            '\0' => quoted.push_str("\\0"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            other => quoted.push(other),
        }
    }
    quoted.push('\'');
    quoted
}

/// A name of a column.
fn backquoted(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}

struct Printer<'a> {
    text: String,
    table: &'a dyn Fn(&Table) -> String,
    /// How many selects were begun: their sources have names of their own, also those of inner selects.
    selects: usize,
}

/// A select as its expressions refer to it.
#[derive(Clone, Copy)]
struct Around<'t> {
    select: &'t Select,
    number: usize,
}

impl Around<'_> {
    /// The name of a source.
    fn source(self, index: usize) -> String {
        format!("s{}_{index}", self.number)
    }

    fn column(self, source: usize, column: usize) -> String {
        let found = self.select.sources.get(source);
        let name = match found.map(|source| &source.from) {
            Some(From::Table(read)) => {
                read.table().columns.get(column).map_or_else(String::new, |column| backquoted(column.name))
            }
            _ => format!("c{column}"),
        };
        format!("{}.{name}", self.source(source))
    }
}

impl Printer<'_> {
    fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Writes these with something between them.
    fn separated<T>(
        &mut self,
        between: &str,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) {
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                self.push(between);
            }
            write(self, item);
        }
    }

    fn query(&mut self, query: &Query) {
        match &query.body {
            Body::Select(select) => self.select(select),
            Body::Combined { combination, left, right } => {
                self.push("(");
                self.query(left);
                self.push(match combination {
                    Combination::UnionAll => ") UNION ALL (",
                    Combination::UnionDistinct => ") UNION DISTINCT (",
                    Combination::ExceptAll => ") EXCEPT ALL (",
                    Combination::ExceptDistinct => ") EXCEPT DISTINCT (",
                    Combination::IntersectAll => ") INTERSECT ALL (",
                    Combination::IntersectDistinct => ") INTERSECT DISTINCT (",
                });
                self.query(right);
                self.push(")");
            }
        }
    }

    fn select(&mut self, select: &Select) {
        let around = Around { select, number: self.selects };
        self.selects += 1;
        self.definitions(around);
        self.push(if select.distinct { "SELECT DISTINCT " } else { "SELECT " });
        self.separated(", ", select.projection.iter().enumerate(), |printer, (index, column)| {
            printer.expression(around, column);
            printer.push(&format!(" AS c{index}"));
        });
        self.sources(around);
        if let Some(filter) = &select.filter {
            self.push(" WHERE ");
            self.expression(around, filter);
        }
        if let Some(grouping) = &select.grouping {
            if !grouping.keys.is_empty() {
                self.push(" GROUP BY ");
                self.separated(", ", 0..grouping.keys.len(), |printer, index| printer.push(&around.key(index)));
            }
            // ClickHouse computes constants first, and forgets that there was an aggregate where none is left.
            let is_kept = !grouping.keys.is_empty()
                || select.projection.iter().any(|column| matches!(column.kind, Kind::Aggregate(_)));
            if !is_kept {
                self.push(" HAVING count() >= 0");
            }
            if let Some(having) = &grouping.having {
                self.push(if is_kept { " HAVING " } else { " AND " });
                self.expression(around, having);
            }
        }
        if !select.order_by.is_empty() {
            self.push(" ORDER BY ");
            self.separated(", ", &select.order_by, |printer, order| printer.order(around, order));
        }
        self.limits(around);
    }

    /// `WITH` and all that the select computes once.
    fn definitions(&mut self, around: Around<'_>) {
        let select = around.select;
        let mut count = 0;
        let mut next = |printer: &mut Self| {
            printer.push(if count == 0 { "WITH " } else { ", " });
            count += 1;
        };
        for (index, array) in select.array_joins.iter().enumerate() {
            next(self);
            self.push("arrayJoin(");
            self.expression(around, array);
            self.push(&format!(") AS {}", around.element(index)));
        }
        if let Some(grouping) = &select.grouping {
            for (index, key) in grouping.keys.iter().enumerate() {
                next(self);
                self.expression(around, key);
                self.push(&format!(" AS {}", around.key(index)));
            }
            for (index, aggregate) in grouping.aggregates.iter().enumerate() {
                next(self);
                self.aggregate(around, aggregate);
                self.push(&format!(" AS {}", around.aggregate(index)));
            }
        }
        for (index, window) in select.windows.iter().enumerate() {
            next(self);
            self.window(around, window);
            self.push(&format!(" AS {}", around.window(index)));
        }
        if count > 0 {
            self.push(" ");
        }
    }

    fn sources(&mut self, around: Around<'_>) {
        for (index, source) in around.select.sources.iter().enumerate() {
            let join = index.checked_sub(1).and_then(|join| around.select.joins.get(join));
            self.push(match join.map(|join| join.kind) {
                None => " FROM ",
                Some(JoinKind::Inner) => " ALL INNER JOIN ",
                Some(JoinKind::Left) => " ALL LEFT JOIN ",
                Some(JoinKind::Right) => " ALL RIGHT JOIN ",
                Some(JoinKind::Full) => " ALL FULL JOIN ",
                Some(JoinKind::Cross) => " CROSS JOIN ",
            });
            self.source(around, index, source);
            if let Some(join) = join {
                self.on(around, join);
            }
        }
    }

    fn source(&mut self, around: Around<'_>, index: usize, source: &Source) {
        match &source.from {
            From::Table(read) => self.read(around, index, read),
            From::Named(named) => self.push(&format!("q{named}")),
            From::Query(query) => {
                self.push("(");
                self.query(query);
                self.push(")");
            }
        }
        self.push(&format!(" AS {}", around.source(index)));
    }

    /// A table with its row filter and those of its columns that the select uses.
    fn read(&mut self, around: Around<'_>, index: usize, read: &Read) {
        let mut used = BTreeSet::new();
        for expression in around.select.expressions() {
            expression.each(|inner| {
                if let Kind::Column { source, column } = &inner.kind
                    && *source == index
                {
                    used.insert(*column);
                }
            });
        }
        if used.is_empty() {
            used.insert(0);
        }
        let names = used.iter().filter_map(|column| read.table().columns.get(*column));
        self.push("(SELECT ");
        self.separated(", ", names, |printer, column| printer.push(&backquoted(column.name)));
        let name = (self.table)(read.table());
        self.push(&format!(" FROM {name} WHERE "));
        self.row_filter(read);
        self.push(")");
    }

    fn row_filter(&mut self, read: &Read) {
        let RowFilter { workspace_id, narrowed, earliest } = read.filter();
        self.push(&format!("`workspace_id` = {}", quoted(workspace_id)));
        match narrowed.as_deref().zip(read.table().narrowed_by()) {
            None => {}
            Some(([], _)) => self.push(" AND 0"),
            Some((ids, by)) => {
                self.push(&format!(" AND {} IN (", backquoted(by)));
                self.separated(", ", ids, |printer, id| printer.push(&quoted(id)));
                self.push(")");
            }
        }
        let Some(earliest) = earliest else { return };
        let earliest = match read.table().grain {
            Grain::Raw => earliest.get().to_string(),
            Grain::Minute | Grain::Hour => {
                format!("toDateTime({}, 'UTC')", earliest.get().div_euclid(1000).max(0))
            }
            Grain::Day | Grain::Month => format!("toDate({})", Day::of(*earliest).number().max(0)),
        };
        self.push(&format!(" AND `time` >= {earliest}"));
    }

    fn on(&mut self, around: Around<'_>, join: &Join) {
        if join.kind == JoinKind::Cross {
            return;
        }
        self.push(" ON ");
        self.separated(" AND ", &join.equal, |printer, (before, this)| {
            printer.expression(around, before);
            printer.push(" = ");
            printer.expression(around, this);
        });
        if let Some(condition) = &join.condition {
            self.push(" AND ");
            self.expression(around, condition);
        }
    }

    fn order(&mut self, around: Around<'_>, order: &Order) {
        self.expression(around, &order.by);
        self.push(if order.descending { " DESC" } else { " ASC" });
        self.push(if order.nulls_first { " NULLS FIRST" } else { " NULLS LAST" });
        if let Some(fill) = &order.fill {
            self.fill(around, fill);
        }
    }

    fn fill(&mut self, around: Around<'_>, fill: &Fill) {
        self.push(" WITH FILL");
        if let Some(from) = &fill.from {
            self.push(" FROM ");
            self.expression(around, from);
        }
        if let Some(to) = &fill.to {
            self.push(" TO ");
            self.expression(around, to);
        }
        match fill.step {
            Step::Number(number) => self.push(&format!(" STEP {number}")),
            Step::Interval(number, unit) => self.push(&format!(" STEP toInterval{}({number})", unit.name())),
        }
    }

    fn limits(&mut self, around: Around<'_>) {
        let select = around.select;
        if let Some(limit_by) = &select.limit_by {
            self.push(&format!(" LIMIT {} OFFSET {} BY ", limit_by.count, limit_by.offset));
            self.separated(", ", &limit_by.keys, |printer, key| printer.expression(around, key));
        }
        match (select.limit, select.offset) {
            (Some(limit), 0) => self.push(&format!(" LIMIT {limit}")),
            (Some(limit), offset) => self.push(&format!(" LIMIT {limit} OFFSET {offset}")),
            (None, 0) => {}
            (None, offset) => self.push(&format!(" OFFSET {offset}")),
        }
    }

    fn window(&mut self, around: Around<'_>, window: &WindowCall) {
        self.aggregate(around, &window.aggregate);
        self.push(" OVER (");
        if !window.partition_by.is_empty() {
            self.push("PARTITION BY ");
            self.separated(", ", &window.partition_by, |printer, key| printer.expression(around, key));
            self.push(" ");
        }
        if !window.order_by.is_empty() {
            self.push("ORDER BY ");
            self.separated(", ", &window.order_by, |printer, order| printer.order(around, order));
            self.push(" ");
        }
        match window.frame {
            Frame::Partition => self.push("ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)"),
            Frame::UpToPeers => self.push("RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"),
            Frame::Rows { from, to } => {
                let (from, to) = (place(from, "PRECEDING"), place(to, "FOLLOWING"));
                self.push(&format!("ROWS BETWEEN {from} AND {to})"));
            }
        }
    }

    fn aggregate(&mut self, around: Around<'_>, aggregate: &Aggregate) {
        let (name, parameters) = calls::aggregate(&aggregate.function);
        let is_merge =
            matches!(&aggregate.argument, Some(Expression { of: Type::State(_), .. })) && parameters.is_some();
        let is_cast = is_merge && matches!(aggregate.of, Type::Array(_));
        self.push(if is_cast { "CAST(" } else { "" });
        self.push(name);
        self.push(if aggregate.condition.is_some() { "If" } else { "" });
        self.push(&parameters.unwrap_or_default());
        self.push(if aggregate.distinct { "(DISTINCT " } else { "(" });
        let arguments = aggregate.argument.iter().chain(&aggregate.condition);
        self.separated(", ", arguments, |printer, argument| printer.expression(around, argument));
        self.push(if is_cast { "), 'Array(Float64)')" } else { ")" });
    }
}

fn place(place: Place, end: &str) -> String {
    match place {
        Place::End => format!("UNBOUNDED {end}"),
        Place::Offset(0) => "CURRENT ROW".to_owned(),
        Place::Offset(rows) if rows < 0 => format!("{} PRECEDING", rows.unsigned_abs()),
        Place::Offset(rows) => format!("{rows} FOLLOWING"),
    }
}

impl Around<'_> {
    fn name(self, letter: char, index: usize) -> String {
        format!("{letter}{}_{index}", self.number)
    }

    fn key(self, index: usize) -> String {
        self.name('k', index)
    }

    fn element(self, index: usize) -> String {
        self.name('e', index)
    }

    fn aggregate(self, index: usize) -> String {
        self.name('a', index)
    }

    fn window(self, index: usize) -> String {
        self.name('w', index)
    }
}
