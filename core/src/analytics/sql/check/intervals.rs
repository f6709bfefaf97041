//! `INTERVAL 23 HOUR TO …` as ClickHouse reads it, in words that the parser knows.
//!
//! The parser takes `HOUR TO MINUTE` for one unit, as standard SQL has it. ClickHouse has no such units: the `TO` belongs to `WITH
//! FILL FROM … TO …` (<https://clickhouse.com/docs/sql-reference/statements/select/order-by>). So an interval before a `TO` gets
//! parentheses.

use sqlparser::dialect::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::super::types::Unit;

/// The tokens, with parentheses around each interval before a `TO`.
pub(super) fn as_parsed(written: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let ends: Vec<(usize, usize)> =
        (0..written.len()).filter_map(|at| Some((at, end(&written[at..])? + at))).collect();
    if ends.is_empty() {
        return written;
    }
    let mut made = Vec::with_capacity(written.len() + 2 * ends.len());
    for (at, token) in written.into_iter().enumerate() {
        let span = token.span;
        let parenthesis = |token: Token| TokenWithSpan { token, span };
        made.extend(ends.iter().filter(|(begin, _)| *begin == at).map(|_| parenthesis(Token::LParen)));
        made.push(token);
        made.extend(ends.iter().filter(|(_, end)| *end == at).map(|_| parenthesis(Token::RParen)));
    }
    made
}

/// Tokens of an interval at most that gets parentheses.
const LONGEST: usize = 64;

/// Where the unit of the interval is that begins here, if a `TO` stands behind it.
fn end(tokens: &[TokenWithSpan]) -> Option<usize> {
    if tokens.first().and_then(keyword) != Some(Keyword::INTERVAL) {
        return None;
    }
    let (mut depth, mut last) = (0_usize, None);
    for (at, token) in tokens.iter().enumerate().take(LONGEST).skip(1) {
        match &token.token {
            Token::Whitespace(_) => continue,
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket => depth = depth.checked_sub(1)?,
            Token::Comma | Token::EOF if depth == 0 => return None,
            _ if depth > 0 => {}
            _ => match keyword(token) {
                Some(Keyword::TO) => return last.filter(|last| is_unit(&tokens[*last])),
                Some(Keyword::INTERVAL | Keyword::FROM | Keyword::WITH | Keyword::STEP | Keyword::SELECT) => {
                    return None;
                }
                _ => {}
            },
        }
        last = Some(at);
    }
    None
}

fn keyword(token: &TokenWithSpan) -> Option<Keyword> {
    match &token.token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.keyword),
        _ => None,
    }
}

fn is_unit(token: &TokenWithSpan) -> bool {
    matches!(&token.token, Token::Word(word) if word.quote_style.is_none() && Unit::named(&word.value).is_some())
}

#[cfg(test)]
mod tests {
    use super::super::literals;
    use super::*;

    fn as_text(text: &str) -> String {
        let made = as_parsed(literals::tokens(text).unwrap());
        made.iter().map(|token| token.token.to_string()).collect::<String>().trim_end_matches("EOF").to_owned()
    }

    #[test]
    fn an_interval_before_a_to_gets_parentheses() {
        for (written, made) in [
            ("now() - INTERVAL 23 HOUR TO now()", "now() - (INTERVAL 23 HOUR) TO now()"),
            ("interval 1 + 1 days\nto x", "(interval 1 + 1 days)\nto x"),
            ("INTERVAL (length('a, b') + 1) Minute TO x", "(INTERVAL (length('a, b') + 1) Minute) TO x"),
            ("x TO y - INTERVAL 1 HOUR STEP INTERVAL 1 HOUR", "x TO y - INTERVAL 1 HOUR STEP INTERVAL 1 HOUR"),
            ("(now() - INTERVAL 1 HOUR) TO now()", "(now() - INTERVAL 1 HOUR) TO now()"),
            ("(INTERVAL 1 HOUR) TO now()", "(INTERVAL 1 HOUR) TO now()"),
            ("INTERVAL 1 HOUR, b FROM hour TO 3", "INTERVAL 1 HOUR, b FROM hour TO 3"),
            ("`INTERVAL` 1 HOUR TO 3", "`INTERVAL` 1 HOUR TO 3"),
            ("INTERVAL 1 HOUR + INTERVAL 2 HOUR TO 3", "INTERVAL 1 HOUR + (INTERVAL 2 HOUR) TO 3"),
        ] {
            assert_eq!(as_text(written), made, "{written}");
        }
    }
}
