//! Texts from outside, on their way to a terminal.
//!
//! Whoever names a key, a file or a host chooses what somebody else's terminal gets to see. What a terminal obeys, what
//! turns the direction of a line and what shows as nothing is spelled out as `\u{…}`; all else stays as it is.

use std::borrow::Cow;

pub(crate) use keyrack_core::printable::is_invisible;

/// A text as one line that can do nothing but be read.
pub(crate) fn line(text: &str) -> Cow<'_, str> {
    spelled(text, is_invisible)
}

/// The same for a text of several lines, such as an error with its fixes.
pub(crate) fn lines(text: &str) -> Cow<'_, str> {
    spelled(text, |character| character != '\n' && is_invisible(character))
}

fn spelled(text: &str, is_spelled: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_spelled) {
        return Cow::Borrowed(text);
    }
    let mut spelled = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_spelled(character) {
            spelled.extend(character.escape_unicode());
        } else {
            spelled.push(character);
        }
    }
    Cow::Owned(spelled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_spelled_out_and_the_rest_stays() {
        assert_eq!(line("a\u{1b}[2J\nb\u{9b}c"), "a\\u{1b}[2J\\u{a}b\\u{9b}c");
        assert_eq!(line("abc\u{202e}fed\u{200b}"), "abc\\u{202e}fed\\u{200b}");
        assert_eq!(lines("a\nb\rc"), "a\nb\\u{d}c");
        for plain in ["", "Möbile", "日本語", "naïve – “quoted” …", "🔑"] {
            assert!(matches!(line(plain), Cow::Borrowed(text) if text == plain), "{plain}");
        }
    }
}
