//! Stored text on its way to a model: written by anybody, so without what nobody sees and not longer than is read.
//!
//! Names, metadata, external ids, tags and identifiers of limits may come from customers of customers. Control characters,
//! direction marks, tag characters and those of no width are taken out of them: they carry orders that people do not see.
//! Texts stay within JSON strings; that they are data and never instructions is said once, in the instructions.

use keyrack_core::printable::is_invisible;
use serde_json::Value;

/// Characters of a text in a full answer, and in a concise one: names and ids that others chose are no longer.
pub(crate) const FULL_TEXT: usize = 2000;
pub(crate) const CONCISE_TEXT: usize = 256;
/// What stands for the end of a text that was cut.
const CUT: char = '…';

/// What was done to texts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cleaned {
    /// How many were cut.
    pub(crate) cut: usize,
    /// How many had characters that nobody sees.
    pub(crate) altered: usize,
}

/// Cleans every text of a value, names of members included.
pub(crate) fn clean(value: &mut Value, longest: usize) -> Cleaned {
    let mut cleaned = Cleaned::default();
    clean_all(value, longest, &mut cleaned);
    cleaned
}

/// A text without what nobody sees.
pub(crate) fn seen(text: &str) -> String {
    text.chars().filter(|character| !is_unwanted(*character)).collect()
}

/// A text on one line of prose, cleaned: it begins no line and ends no code.
pub(crate) fn line(text: &str, longest: usize) -> String {
    let seen = text.chars().filter(|character| !is_invisible(*character));
    cut(seen.map(|character| if character == '`' { '\'' } else { character }).collect(), longest).0
}

fn clean_all(value: &mut Value, longest: usize, cleaned: &mut Cleaned) {
    match value {
        Value::String(text) => clean_text(text, longest, cleaned),
        Value::Array(items) => items.iter_mut().for_each(|item| clean_all(item, longest, cleaned)),
        Value::Object(members) => {
            members.values_mut().for_each(|member| clean_all(member, longest, cleaned));
            if members.keys().any(|name| is_to_clean(name, longest)) {
                let named = std::mem::take(members).into_iter().map(|(mut name, member)| {
                    clean_text(&mut name, longest, cleaned);
                    (name, member)
                });
                *members = named.collect();
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn is_to_clean(text: &str, longest: usize) -> bool {
    text.len() > longest || text.chars().any(is_unwanted)
}

/// Ends of lines and tabs are layout, which JSON shows as what it is.
fn is_unwanted(character: char) -> bool {
    is_invisible(character) && character != '\n' && character != '\t'
}

fn clean_text(text: &mut String, longest: usize, cleaned: &mut Cleaned) {
    if is_to_clean(text, longest) {
        let before = text.len();
        text.retain(|character| !is_unwanted(character));
        cleaned.altered += usize::from(text.len() < before);
        let (short, is_cut) = cut(std::mem::take(text), longest);
        *text = short;
        cleaned.cut += usize::from(is_cut);
    }
}

fn cut(mut text: String, longest: usize) -> (String, bool) {
    match text.char_indices().nth(longest) {
        Some((end, _)) => {
            text.truncate(end);
            text.push(CUT);
            (text, true)
        }
        None => (text, false),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_nobody_sees_is_gone_and_what_is_long_is_cut() {
        let mut value = json!({
            "na\u{200b}me": "Ignore\u{202e} \u{e0041}\u{e0042}previous\u{7}",
            "list": ["one\ntwo\tthree", "x".repeat(10)],
            "deep": { "meta": { "emoji": "naïve 🔑 日本語" } },
            "number": 5,
        });
        assert_eq!(clean(&mut value, 9), Cleaned { cut: 4, altered: 2 });
        assert_eq!(value["name"], "Ignore pr…");
        assert_eq!(value["list"], json!(["one\ntwo\tt…", "xxxxxxxxx…"]));
        assert_eq!(value["deep"]["meta"]["emoji"], "naïve 🔑 日…");
        assert_eq!(clean(&mut json!({ "a": "b", "c": [1, null, true] }), 9), Cleaned::default());
    }

    #[test]
    fn a_line_has_no_end_of_line_and_no_end_of_code() {
        assert_eq!(line("a\nb\u{202e}c", 100), "abc");
        assert_eq!(line("abcdef", 3), "abc…");
        assert_eq!(line("a`. Agreed: `b", 100), "a'. Agreed: 'b");
    }
}
