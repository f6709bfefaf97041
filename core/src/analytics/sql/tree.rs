//! The checked tree: a statement after the guard, resolved, typed and isolated.
//!
//! It is made by the checker and read by who runs it: the printer for ClickHouse, and an engine that plans from it.
//! Nothing of it needs to be looked up again: names are indexes, every expression has its type, every conversion that
//! ClickHouse makes on its own is a node, and every read of a table carries its row filter. A reader that gives each
//! node the meaning written beside it gives ClickHouse's answer.
//!
//! A select is run in the order of its members: sources and joins, [`Select::array_joins`], [`Select::filter`],
//! [`Select::grouping`] with its `having`, [`Select::windows`], [`Select::projection`], [`Select::distinct`],
//! [`Select::order_by`] with its fills, [`Select::limit_by`], [`Select::limit`]. What an expression may refer to depends
//! on where it stands; see [`Kind`].

use super::functions::{AggregateFunction, Arithmetic, Comparison, Function};
use super::tables::Table;
use super::types::{Literal, Type, Unit};
use crate::calendar::UnixMs;

/// A statement that was checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// Every query that has a name, those of inner `WITH`s too. Each refers only to those before it.
    pub named: Vec<Named>,
    /// What is asked. Its outermost select has a limit, at most what the caller may get.
    pub query: Query,
}

impl Checked {
    /// The columns of the answer, in order. Two may have one name.
    pub fn columns(&self) -> &[Column] {
        &self.query.columns
    }
}

/// A query with a name: `WITH name AS (query)`. It has no order of its own but what its limit needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Named {
    /// As it was written. It is not unique: an inner `WITH` may use a name again.
    pub name: String,
    /// What it stands for.
    pub query: Query,
}

/// A query: a select, or several that are combined.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// How its rows are made.
    pub body: Body,
    /// Its columns, as those who read from it see them.
    pub columns: Vec<Column>,
}

/// How the rows of a query are made.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// By one select.
    Select(Box<Select>),
    /// By two queries, of as many columns of the same types, whose rows are combined.
    Combined {
        /// How.
        combination: Combination,
        /// The first, which gives the names.
        left: Box<Query>,
        /// The second.
        right: Box<Query>,
    },
}

/// How the rows of two queries are combined. NULL is equal to NULL here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Combination {
    /// All rows of both, in any order.
    UnionAll,
    /// Each row of either once.
    UnionDistinct,
    /// Each row of the left, as often as it is there less how often it is in the right.
    ExceptAll,
    /// Each row of the left that is not in the right, once.
    ExceptDistinct,
    /// Each row of both, as often as in the one that has it less often.
    IntersectAll,
    /// Each row that is in both, once.
    IntersectDistinct,
}

/// A column of a query or a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name; in a query's columns as ClickHouse prints the expression where it has no alias.
    pub name: String,
    /// The type of its values.
    pub of: Type,
    /// Whether its integers are times in Unix ms, as those of `time` in a raw table. The checker needs it; a reader of
    /// the tree does not, because conversions are nodes.
    pub is_unix_ms: bool,
}

/// `SELECT`.
#[derive(Debug, Clone, PartialEq)]
pub struct Select {
    /// What it reads. None reads one row without columns; that happens only in subqueries.
    pub sources: Vec<Source>,
    /// For each source but the first, how it is joined to all before it: `joins[0]` joins `sources[1]`.
    pub joins: Vec<Join>,
    /// Arrays that are unfolded: each row is repeated for each combination of their elements, and not there where one
    /// of them is empty. [`Kind::Element`] is the element.
    pub array_joins: Vec<Expression>,
    /// `WHERE` (and `PREWHERE`), a [`Type::Bool`] or nullable one; rows for which it is false or NULL go.
    pub filter: Option<Expression>,
    /// `GROUP BY`, aggregates and `HAVING`. From here on only [`Kind::Key`] and [`Kind::Aggregate`] are there.
    pub grouping: Option<Grouping>,
    /// Window functions, which [`Kind::Window`] refers to. None refers to another.
    pub windows: Vec<WindowCall>,
    /// The columns of its rows, as many as the query has, with names and types in the query's `columns`.
    pub projection: Vec<Expression>,
    /// Whether equal rows are one.
    pub distinct: bool,
    /// Keys of the order, the first decides. With `distinct`, all are [`Kind::Output`].
    pub order_by: Vec<Order>,
    /// `LIMIT n BY`.
    pub limit_by: Option<LimitBy>,
    /// How many rows to leave out at the beginning.
    pub offset: u64,
    /// How many rows there are at most.
    pub limit: Option<u64>,
}

/// Something to read from.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// What.
    pub from: From,
    /// Its columns, which [`Kind::Column`] counts.
    pub columns: Vec<Column>,
}

/// What a source is.
#[derive(Debug, Clone, PartialEq)]
pub enum From {
    /// A public table.
    Table(Read),
    /// The query of this index in [`Checked::named`].
    Named(usize),
    /// A subquery.
    Query(Box<Query>),
}

/// A read of a public table, with the rows that the caller may see. It cannot be made without them.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    table: &'static Table,
    filter: RowFilter,
}

impl Read {
    pub(super) fn new(table: &'static Table, filter: RowFilter) -> Read {
        Read { table, filter }
    }

    /// The table. The source's columns are its columns in order.
    pub fn table(&self) -> &'static Table {
        self.table
    }

    /// The rows that may be seen.
    pub fn filter(&self) -> &RowFilter {
        &self.filter
    }
}

/// Which rows of a table may be seen: all of these conditions hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowFilter {
    /// `workspace_id` is this.
    pub workspace_id: String,
    /// Where given, the table's narrowing column (`key_space_id` or `namespace_id`, see
    /// [`Table::narrowed_by`]) is one of these. An empty list means no row at all.
    pub narrowed: Option<Vec<String>>,
    /// Where given, `time` is not before this, which is the start of a day in UTC.
    pub earliest: Option<UnixMs>,
}

/// How a source is joined to those before it. Every pair of rows that matches makes a row (ClickHouse's `ALL`).
#[derive(Debug, Clone, PartialEq)]
pub struct Join {
    /// Which rows without a match are kept.
    pub kind: JoinKind,
    /// What matching rows have equal: an expression over the sources before, and one of the same type over this one.
    /// NULL equals nothing. Empty for a cross join only.
    pub equal: Vec<(Expression, Expression)>,
    /// What must hold besides for a pair to match.
    pub condition: Option<Expression>,
}

/// Which rows of a join are kept that match none.
///
/// The columns of the missing side then hold the **default** of their type (see [`Type::default_value`]), as ClickHouse does
/// with `join_use_nulls = 0`: empty text, 0, 1970-01-01, an empty array; NULL only for a nullable one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinKind {
    /// None.
    Inner,
    /// Those of the sources before.
    Left,
    /// Those of this source.
    Right,
    /// Both.
    Full,
    /// Every pair of rows.
    Cross,
}

/// `GROUP BY` and what is computed of each group.
#[derive(Debug, Clone, PartialEq)]
pub struct Grouping {
    /// What rows of a group have in common; NULL is equal to NULL. Without keys all rows are one group, which is there
    /// even if there is no row.
    pub keys: Vec<Expression>,
    /// What is computed of each group.
    pub aggregates: Vec<Aggregate>,
    /// Groups for which it is false or NULL go.
    pub having: Option<Expression>,
}

/// An aggregate. [`AggregateFunction`] says what each gives of no rows; it is NULL only where its type is nullable.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregate {
    /// Which.
    pub function: AggregateFunction,
    /// None for `count()`, otherwise one.
    pub argument: Option<Expression>,
    /// Whether equal values count once.
    pub distinct: bool,
    /// Only rows for which it is true count: the `-If` forms and `FILTER`.
    pub condition: Option<Expression>,
    /// The type of the result.
    pub of: Type,
}

/// An aggregate over a window. It is never distinct.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowCall {
    /// What is computed: `count`, `sum`, `avg`, `min` or `max`.
    pub aggregate: Aggregate,
    /// Rows that have these in common are a partition.
    pub partition_by: Vec<Expression>,
    /// The order in a partition; without fills.
    pub order_by: Vec<Order>,
    /// Which rows of the partition belong to the window of a row.
    pub frame: Frame,
}

/// Which rows belong to the window of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// All of the partition.
    Partition,
    /// All up to the row and those that are equal to it in the order: the default of windows with an order.
    UpToPeers,
    /// Between two places that are counted in rows, both included.
    Rows {
        /// The first.
        from: Place,
        /// The last.
        to: Place,
    },
}

/// A place in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The partition's end on that side: its first row for `from`, its last for `to`.
    End,
    /// So many rows after the row itself, before it where negative.
    Offset(i64),
}

/// A key of an order.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// What decides.
    pub by: Expression,
    /// Whether larger values come first.
    pub descending: bool,
    /// Whether NULL (and NaN, which ClickHouse orders as it does NULL) comes first. Last unless the statement says so,
    /// in both directions.
    pub nulls_first: bool,
    /// `WITH FILL`. Then `by` is a [`Kind::Output`], and this is the last key but for others with fills.
    pub fill: Option<Fill>,
}

/// Rows that are made where the order has a gap: the key goes on in steps, other columns hold the default of their
/// type. Rows that are there stay, also outside of `from` and `to`. Made before `LIMIT`.
#[derive(Debug, Clone, PartialEq)]
pub struct Fill {
    /// Where it begins, a constant of the key's type; the first row there is otherwise.
    pub from: Option<Expression>,
    /// Where it ends, excluded; the last row there is otherwise.
    pub to: Option<Expression>,
    /// How far it is to the next. Negative in a descending order.
    pub step: Step,
}

/// How far it is from one filled row to the next. Never 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    /// Of an integer key.
    Number(i64),
    /// Of a key that is a time. A number is in seconds for `DateTime`, in days for `Date`.
    Interval(i64, Unit),
}

/// `LIMIT count OFFSET offset BY keys`: of the rows in order, those of each combination of keys from `offset` on, at most
/// `count` of them. Without an order any of them.
#[derive(Debug, Clone, PartialEq)]
pub struct LimitBy {
    /// What rows of one kind have in common; like those of the order.
    pub keys: Vec<Expression>,
    /// How many of each to leave out.
    pub offset: u64,
    /// How many of each there are at most.
    pub count: u64,
}

/// An expression and the type of its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression {
    /// What it is.
    pub kind: Kind,
    /// What type its value has; nullable where it can be NULL.
    pub of: Type,
}

/// What an expression is.
///
/// **References.** [`Kind::Column`] stands in `joins`, `array_joins`, `filter`, and in the keys and aggregates of a grouping;
/// [`Kind::Element`] in the last three. After a grouping there are [`Kind::Key`] and [`Kind::Aggregate`] instead, in `having` and in
/// what follows it. [`Kind::Window`] stands in `projection` and `order_by`, [`Kind::Output`] in `order_by` and `limit_by`. Aggregates
/// never stand inside an expression.
///
/// **NULL.** An operator or function with a NULL argument is NULL; those for which it is not so say it.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// A constant.
    Literal(Literal),
    /// A column of one of the select's sources.
    Column {
        /// Which of the sources.
        source: usize,
        /// Which of its columns.
        column: usize,
    },
    /// The element of the select's array join of this index.
    Element(usize),
    /// The key of the grouping of this index.
    Key(usize),
    /// The aggregate of the grouping of this index.
    Aggregate(usize),
    /// The window function of this index.
    Window(usize),
    /// The column of the projection of this index.
    Output(usize),
    /// The parameter of the lambda around with this number: how many lambdas are around that one.
    Parameter(usize),
    /// The value in the type of this expression. See [`super::types`] for what each pair of types means.
    Convert(Box<Expression>),
    /// Of two numbers, of the type of this expression, whose integers wrap around.
    Arithmetic {
        /// Which.
        operator: Arithmetic,
        /// The left operand.
        left: Box<Expression>,
        /// The right operand.
        right: Box<Expression>,
    },
    /// A time that is so many units later. Months, quarters and years keep the day of the month, or take the last day of
    /// a shorter month.
    Later {
        /// A `Date`, `DateTime` or `DateTime64`, of the type of this expression.
        time: Box<Expression>,
        /// How many, an `Int64`; negative for earlier.
        amount: Box<Expression>,
        /// Of what; never micro- or nanoseconds, and never less than a day for a `Date`, or than a second for a `DateTime`.
        unit: Unit,
    },
    /// How much later the left is than the right: seconds of `DateTime`, days of `Date`, as `Int64`.
    Elapsed {
        /// The minuend.
        left: Box<Expression>,
        /// The subtrahend, of the same type.
        right: Box<Expression>,
    },
    /// Of two values of one type (or one nullable), or of an `Int64` and a `UInt64`, which are compared as numbers. NaN is
    /// equal to nothing, not less and not greater than anything.
    Comparison {
        /// Which.
        operator: Comparison,
        /// The left operand.
        left: Box<Expression>,
        /// The right operand.
        right: Box<Expression>,
    },
    /// `low <= value AND value <= high`, or the contrary of it. All have one type, as in a comparison.
    Range {
        /// What is looked at.
        value: Box<Expression>,
        /// The least.
        low: Box<Expression>,
        /// The greatest.
        high: Box<Expression>,
        /// Whether it is `NOT BETWEEN`.
        negated: bool,
    },
    /// Whether all hold, three-valued. At least two.
    And(Vec<Expression>),
    /// Whether one holds, three-valued. At least two.
    Or(Vec<Expression>),
    /// The contrary.
    Not(Box<Expression>),
    /// Whether it is NULL, or is not.
    IsNull {
        /// What is looked at.
        value: Box<Expression>,
        /// Whether it is `IS NOT NULL`.
        negated: bool,
    },
    /// Whether a text matches a pattern, in which `%` is any text, `_` any one character, and `\` takes the next one as it is.
    Like {
        /// The text.
        value: Box<Expression>,
        /// The pattern.
        pattern: String,
        /// Whether it is `NOT LIKE`.
        negated: bool,
        /// Whether it is `ILIKE`.
        ignores_case: bool,
    },
    /// Whether the value is equal to one of these constants, which have its type; none of them is NULL. NULL in a list is
    /// left out by the checker, since nothing is equal to it.
    InList {
        /// What is looked at.
        value: Box<Expression>,
        /// With what it is compared; may be empty.
        list: Vec<Literal>,
        /// Whether it is `NOT IN`.
        negated: bool,
    },
    /// Whether the value is equal to one of the values of this query's only column, which has its type, or the nullable one.
    /// NULLs among them are equal to nothing and make no result NULL.
    InQuery {
        /// What is looked at.
        value: Box<Expression>,
        /// A query that refers to nothing outside.
        query: Box<Query>,
        /// Whether it is `NOT IN`.
        negated: bool,
    },
    /// The value in the only row of this query's only column; NULL if there is no row, an error if there are several.
    Scalar(Box<Query>),
    /// The value of the first branch whose condition holds. All have the type of this expression. NULL conditions do not
    /// hold, and NULL is a value like any other here.
    Case {
        /// Conditions with their values, at least one.
        branches: Vec<(Expression, Expression)>,
        /// The value where none holds.
        otherwise: Box<Expression>,
    },
    /// An array of these, which have one type.
    Array(Vec<Expression>),
    /// The elements of an array for which a condition holds.
    ArrayFilter {
        /// The array.
        array: Box<Expression>,
        /// The lambda's number; see [`Kind::Parameter`].
        parameter: usize,
        /// A condition over [`Kind::Parameter`] of that number and whatever may stand where this stands.
        condition: Box<Expression>,
    },
    /// A function of its arguments.
    Function {
        /// Which.
        function: Function,
        /// As many as it takes, of the types that it takes.
        arguments: Vec<Expression>,
    },
}
