//! From a text to one statement that is a query: size, syntax, number and kind of statements.
//!
//! The parser bounds its own recursion, but it makes chains (`1 + 1 + 1 …`) in a loop, and a tree of one is as deep as the
//! chain is long. So chains are bounded while they are still words.

use sqlparser::ast::{Query, Statement};
use sqlparser::dialect::ClickHouseDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::{intervals, limits, literals, refused};
use crate::error::{Code, Error};

/// How many bytes a statement has at most.
pub(crate) const MOST_BYTES: usize = 16_384;
/// How deep the parser goes.
const DEEPEST: usize = 50;
/// How many operators may follow each other before a comma, `AND` or `OR`, those outside of the parentheses included.
const LONGEST_CHAIN: usize = 128;
/// How many of `UNION`, `EXCEPT`, `INTERSECT` and `BETWEEN` a statement has at most.
const MOST_REPEATED: usize = 64;
/// How many of `AND` and `OR`.
const MOST_CONDITIONS: usize = 500;

/// Refuses a text that is longer than one that somebody sends may be.
pub(super) fn bound(text: &str) -> Result<(), Error> {
    if text.len() > MOST_BYTES {
        let got = text.len();
        return Err(refused(format!(
            "The query has {got} bytes; at most {MOST_BYTES} are allowed. Ask for less at once."
        )));
    }
    Ok(())
}

/// The query that a text is.
pub(super) fn read(text: &str) -> Result<Query, Error> {
    let dialect = ClickHouseDialect {};
    let tokens = literals::tokens(text).map_err(|error| unreadable(&error.to_string()))?;
    bound_chains(&tokens)?;
    let tokens = intervals::as_parsed(limits::as_parsed(tokens));
    let mut parser = Parser::new(&dialect).with_recursion_limit(DEEPEST).with_tokens_with_locations(tokens);
    let statements = parser.parse_statements().map_err(|error| match error {
        ParserError::RecursionLimitExceeded => {
            refused("The query is nested too deeply. Give inner queries a name with `WITH`, or ask in parts.")
        }
        ParserError::ParserError(message) | ParserError::TokenizerError(message) => unreadable(&message),
    })?;
    one_query(statements)
}

fn unreadable(message: &str) -> Error {
    refused(format!(
        "The query cannot be read: {}. It has to be a `SELECT` in ClickHouse's dialect.",
        cut(message)
    ))
}

/// What a parser says, which repeats what was written.
fn cut(message: &str) -> String {
    const LONGEST: usize = 300;
    let message = message.trim_start_matches("sql parser error: ").trim_end_matches('.');
    message
        .char_indices()
        .nth(LONGEST)
        .map_or_else(|| message.to_owned(), |(end, _)| format!("{}…", &message[..end]))
}

fn one_query(mut statements: Vec<Statement>) -> Result<Query, Error> {
    let statement = statements.pop().ok_or_else(|| refused("The query is empty. Send one `SELECT`."))?;
    if !statements.is_empty() {
        let got = statements.len() + 1;
        return Err(refused(format!("There are {got} statements. Send one at a time.")));
    }
    match statement {
        Statement::Query(query) if is_select(&query) => Ok(*query),
        _ => Err(Error::new(
            Code::InvalidAnalyticsQueryType,
            "Only a `SELECT` can be sent: analytics can be read and not changed.",
        )),
    }
}

/// Whether it only reads: `INSERT … SELECT` and the like are queries to the parser.
fn is_select(query: &Query) -> bool {
    use sqlparser::ast::SetExpr;
    let mut body = &*query.body;
    loop {
        match body {
            SetExpr::Select(_) | SetExpr::Values(_) | SetExpr::Table(_) => return true,
            SetExpr::Query(query) => body = &query.body,
            SetExpr::SetOperation { left, .. } => body = left,
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => return false,
        }
    }
}

/// Operators since the last place that ends a chain, for each parenthesis that is open, and what is counted besides.
struct Chains {
    open: Vec<usize>,
    together: usize,
    repeated: usize,
    conditions: usize,
}

impl Chains {
    fn end(&mut self) {
        self.together -= self.open.last_mut().map_or(0, std::mem::take);
    }

    fn close(&mut self) {
        self.end();
        if self.open.len() > 1 {
            self.open.pop();
        }
    }

    fn word(&mut self, keyword: Keyword) {
        match keyword {
            Keyword::NoKeyword => {}
            Keyword::AND | Keyword::OR => {
                self.conditions += 1;
                self.end();
            }
            Keyword::SELECT | Keyword::FROM | Keyword::WHERE | Keyword::BY | Keyword::ON | Keyword::HAVING => {
                self.end()
            }
            Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT | Keyword::MINUS | Keyword::BETWEEN => {
                self.repeated += 1;
            }
            _ => self.operator(),
        }
    }

    fn operator(&mut self) {
        if let Some(innermost) = self.open.last_mut() {
            *innermost += 1;
            self.together += 1;
        }
    }
}

fn bound_chains(tokens: &[TokenWithSpan]) -> Result<(), Error> {
    let mut chains = Chains { open: vec![0], together: 0, repeated: 0, conditions: 0 };
    for token in tokens {
        match &token.token {
            Token::LParen | Token::LBracket | Token::LBrace => chains.open.push(0),
            Token::RParen | Token::RBracket | Token::RBrace => chains.close(),
            Token::Comma | Token::SemiColon => chains.end(),
            Token::Word(word) if word.quote_style.is_some() => {}
            Token::Word(word) => chains.word(word.keyword),
            Token::Whitespace(_)
            | Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::Period
            | Token::EOF => {}
            _ => chains.operator(),
        }
        let Chains { open: _, together, repeated, conditions } = chains;
        if together > LONGEST_CHAIN || repeated > MOST_REPEATED || conditions > MOST_CONDITIONS {
            return Err(refused(format!(
                "The query has too long a chain of operators: at most {LONGEST_CHAIN} in a row, {MOST_CONDITIONS} `AND` and `OR`, \
                 and {MOST_REPEATED} `UNION`, `EXCEPT`, `INTERSECT` and `BETWEEN`. Use `IN (…)`, or ask in parts."
            )));
        }
    }
    Ok(())
}
