//! `LIMIT … BY` as ClickHouse has it, in words that the parser knows.
//!
//! ClickHouse has two limits, `LIMIT [m,] n BY keys` (or `LIMIT n OFFSET m BY keys`) and a `LIMIT` or `OFFSET` of all rows behind it
//! (<https://clickhouse.com/docs/sql-reference/statements/select/limit-by>). The parser reads only `LIMIT n BY keys OFFSET o`, which
//! ClickHouse does not. So
//! `m` and `n` become one value, `LIMIT (m, n) BY`, and a limit behind them a `FETCH FIRST … ROWS ONLY`.

use sqlparser::dialect::keywords::Keyword;
use sqlparser::tokenizer::{Span, Token, TokenWithSpan, Word};

/// The tokens, with all limits as the parser knows them. Texts and parentheses stay where they are.
pub(super) fn as_parsed(written: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let is_space = |token: &TokenWithSpan| matches!(token.token, Token::Whitespace(_));
    let tokens: Vec<TokenWithSpan> = written.iter().filter(|token| !is_space(token)).cloned().collect();
    if !(0..tokens.len()).any(|at| Limit::read(&tokens[at..]).is_some_and(|limit| limit.is_by)) {
        return written;
    }
    let mut made = Vec::with_capacity(tokens.len() + 8);
    // For each parenthesis that is open, whether a `LIMIT … BY` stands before.
    let mut open = vec![false];
    let mut rest = tokens.as_slice();
    while let Some((first, after)) = rest.split_first() {
        let limit = Limit::read(rest).filter(|limit| limit.is_by || open.last() == Some(&true));
        if let Some(limit) = limit {
            limit.write(&mut made);
            if let Some(is_after) = open.last_mut() {
                *is_after = limit.is_by;
            }
            rest = &rest[limit.length..];
            continue;
        }
        match &first.token {
            Token::LParen => open.push(false),
            Token::RParen if open.len() > 1 => drop(open.pop()),
            Token::Word(word) if word.keyword == Keyword::SELECT => {
                if let Some(is_after) = open.last_mut() {
                    *is_after = false;
                }
            }
            _ => {}
        }
        made.push(first.clone());
        rest = after;
    }
    made
}

/// `LIMIT n`, `LIMIT m, n` or `LIMIT n OFFSET m` of numbers, with what says of what.
struct Limit<'a> {
    count: &'a TokenWithSpan,
    offset: Option<&'a TokenWithSpan>,
    is_by: bool,
    /// How many tokens it takes, `BY` left out.
    length: usize,
}

impl<'a> Limit<'a> {
    fn read(tokens: &'a [TokenWithSpan]) -> Option<Self> {
        let [limit, first, rest @ ..] = tokens else { return None };
        if !is_word(limit, Keyword::LIMIT) || !is_number(first) {
            return None;
        }
        let (count, offset, length) = match rest {
            [comma, second, ..] if comma.token == Token::Comma && is_number(second) => (second, Some(first), 4),
            [word, second, ..] if is_word(word, Keyword::OFFSET) && is_number(second) => (first, Some(second), 4),
            _ => (first, None, 2),
        };
        let is_by = tokens.get(length).is_some_and(|next| is_word(next, Keyword::BY));
        Some(Limit { count, offset, is_by, length })
    }

    fn write(&self, into: &mut Vec<TokenWithSpan>) {
        let at = self.count.span;
        let add = |into: &mut Vec<TokenWithSpan>, token: Token| into.push(TokenWithSpan { token, span: at });
        match (self.is_by, self.offset) {
            (true, None) => into.extend([word("LIMIT", Keyword::LIMIT, at), self.count.clone()]),
            (true, Some(offset)) => {
                into.push(word("LIMIT", Keyword::LIMIT, at));
                add(into, Token::LParen);
                into.push(offset.clone());
                add(into, Token::Comma);
                into.push(self.count.clone());
                add(into, Token::RParen);
            }
            (false, offset) => {
                if let Some(offset) = offset {
                    into.extend([word("OFFSET", Keyword::OFFSET, at), offset.clone()]);
                }
                into.extend([word("FETCH", Keyword::FETCH, at), word("FIRST", Keyword::FIRST, at)]);
                into.push(self.count.clone());
                into.extend([word("ROWS", Keyword::ROWS, at), word("ONLY", Keyword::ONLY, at)]);
            }
        }
    }
}

fn is_word(token: &TokenWithSpan, keyword: Keyword) -> bool {
    matches!(&token.token, Token::Word(word) if word.keyword == keyword && word.quote_style.is_none())
}

fn is_number(token: &TokenWithSpan) -> bool {
    matches!(token.token, Token::Number(..))
}

fn word(value: &str, keyword: Keyword, span: Span) -> TokenWithSpan {
    TokenWithSpan { token: Token::Word(Word { value: value.to_owned(), quote_style: None, keyword }), span }
}

#[cfg(test)]
mod tests {
    use super::super::literals;
    use super::*;

    fn as_text(text: &str) -> String {
        let made = as_parsed(literals::tokens(text).unwrap());
        let words = made.iter().filter(|token| !matches!(token.token, Token::Whitespace(_)));
        let words: Vec<String> = words.map(|token| token.token.to_string()).collect();
        words.join(" ").trim_end_matches(" EOF").to_owned()
    }

    #[test]
    fn two_numbers_before_by_are_one_and_a_limit_behind_is_a_fetch() {
        for (written, made) in [
            ("LIMIT 2 BY k", "LIMIT 2 BY k"),
            ("limit 1, 2 BY k", "LIMIT ( 1 , 2 ) BY k"),
            ("LIMIT 2 OFFSET 1 BY k, j LIMIT 7", "LIMIT ( 1 , 2 ) BY k , j FETCH FIRST 7 ROWS ONLY"),
            ("LIMIT 2 BY k LIMIT 3, 7", "LIMIT 2 BY k OFFSET 3 FETCH FIRST 7 ROWS ONLY"),
            ("LIMIT 2 BY k LIMIT 7 OFFSET 3", "LIMIT 2 BY k OFFSET 3 FETCH FIRST 7 ROWS ONLY"),
            ("LIMIT 2 BY k OFFSET 3", "LIMIT 2 BY k OFFSET 3"),
            ("LIMIT 1, 2", "LIMIT 1 , 2"),
            ("(LIMIT 2 BY k) LIMIT 3", "( LIMIT 2 BY k ) LIMIT 3"),
            ("LIMIT 2 BY k UNION ALL SELECT 1 LIMIT 3", "LIMIT 2 BY k UNION ALL SELECT 1 LIMIT 3"),
            ("LIMIT 2 BY k LIMIT 3 LIMIT 4", "LIMIT 2 BY k FETCH FIRST 3 ROWS ONLY LIMIT 4"),
        ] {
            assert_eq!(as_text(written), made, "{written}");
        }
    }
}
