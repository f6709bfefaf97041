//! Texts in statements: what `'a\'b'` stands for, as ClickHouse reads it.
//!
//! `''` and `\'` are a quote, `\\` is a backslash, `\n`, `\t` and their like and `\xHH` are the characters that C gives them. Before
//! any other character a backslash stays, so that the patterns of `LIKE` have their `\%` and `\_`
//! (<https://clickhouse.com/docs/sql-reference/syntax#string>).

use sqlparser::dialect::ClickHouseDialect;
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, TokenizerError};

/// The tokens of a statement, its texts as ClickHouse reads them.
pub(super) fn tokens(text: &str) -> Result<Vec<TokenWithSpan>, TokenizerError> {
    let dialect = ClickHouseDialect {};
    let mut tokens = Tokenizer::new(&dialect, text).tokenize_with_location()?;
    // The parser's own reading takes every backslash away.
    let written = Tokenizer::new(&dialect, text).with_unescape(false).tokenize_with_location()?;
    for (token, written) in tokens.iter_mut().zip(written) {
        if let (Token::SingleQuotedString(read), Token::SingleQuotedString(written)) =
            (&mut token.token, written.token)
        {
            *read = meant(&written);
        }
    }
    Ok(tokens)
}

/// What a text stands for that was written so between its quotes.
fn meant(written: &str) -> String {
    let (mut meant, mut rest) = (String::with_capacity(written.len()), written.chars());
    while let Some(letter) = rest.next() {
        match letter {
            '\'' => {
                // A quote in a text is written twice.
                meant.push('\'');
                rest.next();
            }
            '\\' => escaped(&mut meant, &mut rest),
            other => meant.push(other),
        }
    }
    meant
}

fn escaped(meant: &mut String, rest: &mut std::str::Chars<'_>) {
    let Some(letter) = rest.next() else { return meant.push('\\') };
    let character = match letter {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'e' => '\u{1b}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        '0' => '\0',
        '\\' | '\'' | '"' | '`' | '/' | '=' => letter,
        'x' => {
            let digits: String = rest.clone().take(2).collect();
            // Bytes beyond ASCII would have to make a character together.
            match u8::from_str_radix(&digits, 16) {
                Ok(byte) if byte.is_ascii() && digits.len() == 2 => {
                    rest.nth(1);
                    char::from(byte)
                }
                _ => return meant.push_str("\\x"),
            }
        }
        other => {
            meant.push('\\');
            other
        }
    };
    meant.push(character);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backslash_stays_before_what_it_says_nothing_of() {
        for (written, is_meant) in [
            (r"it''s", "it's"),
            (r"it\'s", "it's"),
            (r"a\\b", r"a\b"),
            (r"VAL\%", r"VAL\%"),
            (r"a\_b\z", r"a\_b\z"),
            (r"a\nb\tc", "a\nb\tc"),
            (r"a\x41b\x4", r"aAb\x4"),
            ("🗝\\", "🗝\\"),
        ] {
            assert_eq!(meant(written), is_meant, "{written}");
        }
    }
}
