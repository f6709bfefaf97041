//! Calls of functions: arguments, their types, and the type of the result.

use sqlparser::ast::{
    DuplicateTreatment, Expr, Function as Written, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, LambdaFunction, OneOrManyWithParens, WindowType,
};

use super::super::functions::{self, Function, Period};
use super::super::tree::{Expression, Kind};
use super::super::types::{Literal, Type, Unit};
use super::converting::{alike, all_alike, branches, convert, wrong_type};
use super::query::Builder;
use super::scope::Scope;
use super::times::call;
use super::{excerpt, not_offered, refused};
use crate::error::Error;

/// A call, taken apart.
pub(super) struct Call<'q> {
    pub(super) name: &'static str,
    pub(super) parameters: Vec<&'q Expr>,
    pub(super) arguments: Vec<&'q Expr>,
    /// Whether it is `count(*)`.
    pub(super) is_star: bool,
    pub(super) distinct: bool,
    pub(super) filter: Option<&'q Expr>,
    pub(super) over: Option<&'q WindowType>,
}

impl<'q> Call<'q> {
    fn of(written: &'q Written) -> Result<Call<'q>, Error> {
        let Written { name, uses_odbc_syntax, parameters, args, within_group, filter, null_treatment, over } =
            written;
        let canonical = functions::canonical(&name.to_string())
            .ok_or_else(|| refused(format!("The function {} is not allowed.", excerpt(name))))?;
        if *uses_odbc_syntax || !within_group.is_empty() || null_treatment.is_some() {
            return Err(not_offered("A function with braces, `WITHIN GROUP` or `IGNORE NULLS`"));
        }
        let (parameters, _, _) = plain(canonical, parameters)?;
        let (arguments, distinct, is_star) = plain(canonical, args)?;
        Ok(Call {
            name: canonical,
            parameters,
            arguments,
            is_star,
            distinct,
            filter: filter.as_deref(),
            over: over.as_ref(),
        })
    }

    /// So many arguments.
    pub(super) fn exactly<const N: usize>(&self) -> Result<[&'q Expr; N], Error> {
        <[&Expr; N]>::try_from(&self.arguments[..]).map_err(|_| self.wrong_number(&N.to_string()))
    }

    pub(super) fn wrong_number(&self, wanted: &str) -> Error {
        let got = self.arguments.len();
        refused(format!("`{}` takes {wanted} arguments, not {got}.", self.name))
    }
}

type Plain<'q> = (Vec<&'q Expr>, bool, bool);

/// Arguments that are nothing but expressions, whether they are distinct, and whether there is a `*` instead.
fn plain<'q>(name: &str, written: &'q FunctionArguments) -> Result<Plain<'q>, Error> {
    let list = match written {
        FunctionArguments::None => return Ok((Vec::new(), false, false)),
        FunctionArguments::Subquery(_) => {
            return Err(refused(format!("Put the subquery in `{name}` into parentheses of its own.")));
        }
        FunctionArguments::List(list) => list,
    };
    let FunctionArgumentList { duplicate_treatment, args, clauses } = list;
    if !clauses.is_empty() {
        return Err(refused(format!("`{name}` takes expressions only, without `ORDER BY`, `LIMIT` or the like.")));
    }
    let mut expressions = Vec::with_capacity(args.len());
    let mut is_star = false;
    for argument in args {
        match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => expressions.push(expression),
            FunctionArg::Unnamed(FunctionArgExpr::Wildcard) if name.starts_with("count") => is_star = true,
            FunctionArg::Named { .. } | FunctionArg::ExprNamed { .. } | FunctionArg::Unnamed(_) => {
                return Err(refused(format!("`{name}` takes expressions, not {}.", excerpt(argument))));
            }
        }
    }
    Ok((expressions, matches!(duplicate_treatment, Some(DuplicateTreatment::Distinct)), is_star))
}

impl Builder<'_> {
    /// A call of whatever function.
    pub(super) fn call<'q>(&mut self, scope: &mut Scope<'q>, written: &'q Written) -> Result<Expression, Error> {
        let call = Call::of(written)?;
        if functions::is_aggregate(call.name) {
            return self.aggregate(scope, &call);
        }
        if !call.parameters.is_empty()
            || call.distinct
            || call.is_star
            || call.filter.is_some()
            || call.over.is_some()
        {
            return Err(refused(format!(
                "`{}` is no aggregate: it takes no parameters, `DISTINCT`, `*`, `FILTER` or `OVER`.",
                call.name
            )));
        }
        if let Some(unit) = call.name.strip_prefix("toInterval").and_then(Unit::named) {
            let [amount] = call.exactly()?;
            return self.interval_of(scope, unit, amount);
        }
        match call.name {
            "arrayFilter" => self.array_filter(scope, &call),
            "arrayJoin" => self.array_join(scope, &call),
            "if" => {
                let [condition, then, otherwise] = call.exactly()?;
                let condition = self.condition(scope, condition)?;
                let values = vec![self.value(scope, then)?, self.value(scope, otherwise)?];
                branches(vec![condition], values)
            }
            "coalesce" => self.coalesce(scope, &call),
            "concat" => {
                let mut values = Vec::with_capacity(call.arguments.len());
                for argument in &call.arguments {
                    values.push(self.value(scope, argument)?);
                }
                if values.is_empty() { Err(call.wrong_number("one or more")) } else { self.concatenation(values) }
            }
            "has" | "hasAny" | "hasAll" => self.has(scope, &call),
            name if name.starts_with("to")
                || name.contains("ate")
                || name.contains("nix")
                || name.starts_with("now") =>
            {
                self.time_call(scope, &call)
            }
            _ => self.text_or_number(scope, &call),
        }
    }

    fn text_or_number<'q>(&mut self, scope: &mut Scope<'q>, call_: &Call<'q>) -> Result<Expression, Error> {
        match call_.name {
            "lower" => self.of_text(scope, call_, Function::Lower),
            "upper" => self.of_text(scope, call_, Function::Upper),
            "trim" => {
                let [written] = call_.exactly()?;
                self.trim(scope, written, true, true)
            }
            "length" => {
                let [written] = call_.exactly()?;
                let value = self.value(scope, written)?;
                match value.of.inner() {
                    Type::String => Ok(call(Function::Length, value, Type::UInt64)),
                    Type::Array(_) => Ok(call(Function::ArrayLength, value, Type::UInt64)),
                    other => Err(wrong_type("length", "a text or an array", other, written)),
                }
            }
            "startsWith" => self.of_texts(scope, call_, Function::StartsWith, Type::Bool),
            "endsWith" => self.of_texts(scope, call_, Function::EndsWith, Type::Bool),
            "JSONExtractString" => self.of_texts(scope, call_, Function::JsonExtractString, Type::String),
            "substring" => match call_.arguments[..] {
                [text, from] => self.substring(scope, text, from, None),
                [text, from, length] => self.substring(scope, text, from, Some(length)),
                _ => Err(call_.wrong_number("two or three")),
            },
            "abs" => {
                let [written] = call_.exactly()?;
                let value = self.number(scope, "abs", written)?;
                let of = if value.of.is_integer() { Type::UInt64 } else { Type::Float64 };
                Ok(call(Function::Abs, value, of))
            }
            name => {
                let (written, decimals) = match call_.arguments[..] {
                    [written] => (written, 0),
                    [written, places] => (written, self.places(scope, places)?),
                    _ => return Err(call_.wrong_number("one or two")),
                };
                let value = self.number(scope, name, written)?;
                round(name, value, decimals, written)
            }
        }
    }

    fn places<'q>(&mut self, scope: &mut Scope<'q>, written: &'q Expr) -> Result<i8, Error> {
        decimals(match self.integer(scope, written, "The number of decimals")?.kind {
            Kind::Literal(Literal::Int64(decimals)) => Some(decimals),
            _ => None,
        })
    }

    fn number<'q>(
        &mut self,
        scope: &mut Scope<'q>,
        function: &str,
        written: &'q Expr,
    ) -> Result<Expression, Error> {
        let value = self.value(scope, written)?;
        if value.of.is_number() { Ok(value) } else { Err(wrong_type(function, "a number", &value.of, written)) }
    }

    fn text<'q>(&mut self, scope: &mut Scope<'q>, function: &str, written: &'q Expr) -> Result<Expression, Error> {
        let value = self.value(scope, written)?;
        match value.of.inner() {
            Type::String => Ok(value),
            Type::Null => Ok(convert(value, &Type::String)),
            other => Err(wrong_type(function, "a text", other, written)),
        }
    }

    fn of_text<'q>(
        &mut self,
        scope: &mut Scope<'q>,
        written: &Call<'q>,
        function: Function,
    ) -> Result<Expression, Error> {
        let [argument] = written.exactly()?;
        Ok(call(function, self.text(scope, written.name, argument)?, Type::String))
    }

    fn of_texts<'q>(
        &mut self,
        scope: &mut Scope<'q>,
        written: &Call<'q>,
        function: Function,
        of: Type,
    ) -> Result<Expression, Error> {
        let is_right = match function {
            Function::JsonExtractString => (2..=8).contains(&written.arguments.len()),
            _ => written.arguments.len() == 2,
        };
        if !is_right {
            return Err(written.wrong_number("two"));
        }
        let mut arguments = Vec::with_capacity(written.arguments.len());
        for argument in &written.arguments {
            arguments.push(self.text(scope, written.name, argument)?);
        }
        let is_nullable = arguments.iter().any(|argument| argument.of.is_nullable());
        let of = if is_nullable { of.nullable() } else { of };
        Ok(Expression { kind: Kind::Function { function, arguments }, of })
    }

    /// `trim`.
    pub(super) fn trim<'q>(
        &mut self,
        scope: &mut Scope<'q>,
        written: &'q Expr,
        leading: bool,
        trailing: bool,
    ) -> Result<Expression, Error> {
        Ok(call(Function::Trim { leading, trailing }, self.text(scope, "trim", written)?, Type::String))
    }

    /// `substring`.
    pub(super) fn substring<'q>(
        &mut self,
        scope: &mut Scope<'q>,
        text: &'q Expr,
        from: &'q Expr,
        length: Option<&'q Expr>,
    ) -> Result<Expression, Error> {
        let text = self.text(scope, "substring", text)?;
        let of = text.of.clone();
        let mut arguments = vec![text, self.integer(scope, from, "The place of `substring`")?];
        if let Some(length) = length {
            arguments.push(self.integer(scope, length, "The length of `substring`")?);
        }
        Ok(Expression { kind: Kind::Function { function: Function::Substring, arguments }, of })
    }

    fn coalesce<'q>(&mut self, scope: &mut Scope<'q>, written: &Call<'q>) -> Result<Expression, Error> {
        let mut values = Vec::with_capacity(written.arguments.len());
        for argument in &written.arguments {
            values.push(self.value(scope, argument)?);
        }
        // What follows a value that is never NULL is never looked at.
        if let Some(last) = values.iter().position(|value| !value.of.is_nullable()) {
            values.truncate(last + 1);
        }
        values.retain(|value| value.of != Type::Null);
        let ends_in_value = values.last().is_some_and(|value| !value.of.is_nullable());
        let (mut arguments, mut of) = all_alike(values)?;
        if ends_in_value {
            of = of.inner().clone();
            if let Some(last) = arguments.pop() {
                // Only what can be NULL is of a nullable type.
                arguments.push(match last.kind {
                    Kind::Convert(inner) if inner.of == of => *inner,
                    Kind::Literal(_) => Expression { kind: last.kind, of: of.clone() },
                    kind => Expression { kind, of: of.clone() },
                });
            }
        }
        match arguments.len() {
            0 => Ok(Expression::literal(Literal::Null)),
            1 => Ok(arguments.swap_remove(0)),
            _ => Ok(Expression { kind: Kind::Function { function: Function::Coalesce, arguments }, of }),
        }
    }

    fn has<'q>(&mut self, scope: &mut Scope<'q>, written: &Call<'q>) -> Result<Expression, Error> {
        let [array, other] = written.exactly()?;
        let (left, right) = (self.value(scope, array)?, self.value(scope, other)?);
        let Type::Array(of) = left.of.clone() else {
            return Err(wrong_type(written.name, "an array first", &left.of, array));
        };
        let function = match written.name {
            "has" => Function::Has,
            "hasAny" => Function::HasAny,
            _ => Function::HasAll,
        };
        let (left, right) = if function == Function::Has {
            let of = super::converting::supertype(&of, &right.of)
                .ok_or_else(|| wrong_type("has", &format!("a value of type {of}"), &right.of, other))?;
            (convert(left, &Type::Array(Box::new(of.clone()))), convert(right, &of))
        } else {
            alike(left, right)?
        };
        let arguments = vec![left, right];
        Ok(Expression::question(Kind::Function { function, arguments }, false))
    }

    fn array_filter<'q>(&mut self, scope: &mut Scope<'q>, written: &Call<'q>) -> Result<Expression, Error> {
        let [lambda, array] = written.exactly()?;
        let Expr::Lambda(LambdaFunction { params, body, syntax: _ }) = lambda else {
            return Err(refused(
                "The first argument of `arrayFilter` is a lambda, as in `x -> startsWith(x, 'a')`.",
            ));
        };
        let parameter = match params {
            OneOrManyWithParens::One(parameter) => parameter,
            OneOrManyWithParens::Many(parameters) => match &parameters[..] {
                [parameter] => parameter,
                _ => return Err(refused("The lambda of `arrayFilter` has one parameter here.")),
            },
        };
        if parameter.data_type.is_some() {
            return Err(not_offered("A parameter with a type"));
        }
        let array_value = self.value(scope, array)?;
        let Type::Array(of) = array_value.of.clone() else {
            return Err(wrong_type("arrayFilter", "a lambda and an array", &array_value.of, array));
        };
        let number = self.lambdas;
        self.lambdas += 1;
        let place = scope.place;
        scope.place = super::scope::Place::row("a lambda");
        scope.parameters.push((parameter.name.value.as_str(), number, *of));
        let condition = self.condition(scope, body);
        scope.parameters.pop();
        self.lambdas -= 1;
        scope.place = place;
        let of = array_value.of.clone();
        let kind =
            Kind::ArrayFilter { array: Box::new(array_value), parameter: number, condition: Box::new(condition?) };
        Ok(Expression { kind, of })
    }

    fn array_join<'q>(&mut self, scope: &mut Scope<'q>, written: &Call<'q>) -> Result<Expression, Error> {
        let [argument] = written.exactly()?;
        let place = scope.place;
        scope.place = super::scope::Place::row("`arrayJoin`");
        let array = self.value(scope, argument);
        scope.place = place;
        let array = array?;
        let Type::Array(of) = array.of.clone() else {
            return Err(wrong_type("arrayJoin", "an array", &array.of, argument));
        };
        let same = scope.array_joins.iter().position(|known| *known == array);
        let index = match same {
            Some(index) => index,
            None if place.array_joins => {
                scope.array_joins.push(array);
                scope.array_joins.len() - 1
            }
            None => return Err(refused(format!("`arrayJoin` cannot stand in {}. Use a subquery.", place.name))),
        };
        Ok(Expression { kind: Kind::Element(index), of: *of })
    }

    fn time_call<'q>(&mut self, scope: &mut Scope<'q>, written: &Call<'q>) -> Result<Expression, Error> {
        let now = self.asked.now.get();
        let constant = |literal| Ok(Expression::literal(literal));
        match (written.name, &written.arguments[..]) {
            ("now", []) => constant(Literal::DateTime(now.div_euclid(1000))),
            ("today", []) => constant(Literal::Date(now.div_euclid(86_400_000))),
            ("now64", []) => constant(Literal::DateTime64(now)),
            ("now64", [precision]) => {
                self.milliseconds(scope, precision)?;
                constant(Literal::DateTime64(now))
            }
            ("toDateTime64", [argument, precision]) => {
                self.milliseconds(scope, precision)?;
                let value = self.value(scope, argument)?;
                self.conversion(scope, value, &Type::DateTime64, argument)
            }
            ("toStartOfWeek", [time, mode]) => {
                let period = match self.integer(scope, mode, "The mode of `toStartOfWeek`")?.kind {
                    Kind::Literal(Literal::Int64(0)) => Period::SundayWeek,
                    Kind::Literal(Literal::Int64(1)) => Period::MondayWeek,
                    _ => {
                        return Err(refused(
                            "The mode of `toStartOfWeek` is 0 (Sunday first) or 1 (Monday first).",
                        ));
                    }
                };
                self.start_of(scope, written.name, period, time)
            }
            ("date_trunc", [unit, time]) => self.date_trunc(scope, unit, time),
            ("formatDateTime", [time, format]) => self.format(scope, time, format),
            (_, [argument]) => self.of_one_time(scope, written, argument),
            _ => Err(written.wrong_number(match written.name {
                "now" | "today" => "no",
                "date_trunc" | "formatDateTime" | "toDateTime64" => "two",
                _ => "one",
            })),
        }
    }

    fn milliseconds<'q>(&mut self, scope: &mut Scope<'q>, precision: &'q Expr) -> Result<(), Error> {
        match self.integer(scope, precision, "The precision")?.kind {
            Kind::Literal(Literal::Int64(3)) => Ok(()),
            _ => Err(refused("Times have milliseconds here: the precision is 3.")),
        }
    }

    fn of_one_time<'q>(
        &mut self,
        scope: &mut Scope<'q>,
        written: &Call<'q>,
        argument: &'q Expr,
    ) -> Result<Expression, Error> {
        let to = match written.name {
            "toString" => Type::String,
            "toInt32" | "toInt64" => Type::Int64,
            "toFloat64" => Type::Float64,
            "toDate" => Type::Date,
            "toDateTime" => Type::DateTime,
            "fromUnixTimestamp64Milli" => {
                let value = self.integer(scope, argument, "The argument of `fromUnixTimestamp64Milli`")?;
                return Ok(super::operators::from_unix_ms(value));
            }
            "toUnixTimestamp64Milli" => {
                let time = self.time(scope, written.name, argument)?;
                return Ok(super::comparing::unix_ms(time));
            }
            "toUnixTimestamp" => {
                let time = convert(self.time(scope, written.name, argument)?, &Type::DateTime);
                return Ok(call(Function::ToUnixSeconds, time, Type::UInt64));
            }
            name => {
                let period = match name.strip_prefix("toStartOf") {
                    Some("Minute") => Period::Minute,
                    Some("Hour") => Period::Hour,
                    Some("Day") => Period::Day,
                    Some("Week") => Period::SundayWeek,
                    Some("Month") => Period::Month,
                    Some("Quarter") => Period::Quarter,
                    Some("Year") => Period::Year,
                    _ => return Err(written.wrong_number("other")),
                };
                return self.start_of(scope, name, period, argument);
            }
        };
        let value = self.value(scope, argument)?;
        let converted = self.conversion(scope, value, &to, argument)?;
        Ok(if written.name == "toInt32" { call(Function::LowerInt32, converted, Type::Int64) } else { converted })
    }
}

/// A number of decimals.
pub(super) fn decimals(number: Option<i64>) -> Result<i8, Error> {
    let decimals = number.filter(|decimals| (-15..=15).contains(decimals));
    decimals
        .and_then(|decimals| i8::try_from(decimals).ok())
        .ok_or_else(|| refused("The number of decimals is a constant from -15 to 15."))
}

/// `round`, `floor` or `ceil`.
pub(super) fn round(name: &str, value: Expression, decimals: i8, written: &Expr) -> Result<Expression, Error> {
    if !value.of.is_number() {
        return Err(wrong_type(name, "a number", &value.of, written));
    }
    let function = match name {
        "round" => Function::Round { decimals },
        "floor" => Function::Floor { decimals },
        _ => Function::Ceil { decimals },
    };
    let of = value.of.inner().clone();
    Ok(call(function, value, of))
}
