//! Words as HTML.

use super::page::Word;

/// A text as HTML: nothing in it is markup.
pub(crate) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

/// Words as they follow each other. `root` leads from their page to the server's root.
pub(super) fn line(words: &[Word], root: &str) -> String {
    words.iter().map(|each| word(each, root)).collect()
}

/// A piece of a line as HTML.
pub(super) fn word(word: &Word, root: &str) -> String {
    match word {
        Word::Text(text) => escaped(text),
        Word::Code(text) => format!("<code>{}</code>", escaped(text)),
        Word::Link { to, text } => {
            let root = if to.starts_with('#') { "" } else { root };
            format!("<a href=\"{root}{}\">{}</a>", escaped(to), self::word(text, root))
        }
        Word::AlwaysThere => "<b title=\"always there\">*</b>".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_markup() {
        let hostile = "<script>alert('1')</script> & \"x\"";
        let safe = "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; &amp; &quot;x&quot;";
        assert_eq!(escaped(hostile), safe);
        assert_eq!(word(&Word::Text(hostile.to_owned()), ""), safe);
        assert_eq!(word(&Word::Code(hostile.to_owned()), ""), format!("<code>{safe}</code>"));
    }
}
