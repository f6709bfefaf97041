//! Characters that are not what they seem, and texts in which they can do nothing.

use std::borrow::Cow;

/// Whether a character does something other than to be seen: control characters, direction marks, and those of no width.
pub fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

/// A text as one line that can do nothing but be read.
pub fn line(text: &str) -> Cow<'_, str> {
    spelled(text, is_invisible)
}

/// The same for a text of several lines, such as an error with its fixes.
pub fn lines(text: &str) -> Cow<'_, str> {
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
