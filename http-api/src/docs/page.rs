//! What a page says, apart from how it looks: blocks that become HTML for people and Markdown for programs, so that both
//! say the same.

/// A page, or a part of one.
#[derive(Debug)]
pub(super) enum Block {
    /// A heading, the page's title at level 1, and what leads to it where something does.
    Heading { level: u8, words: Vec<Word>, anchor: Option<&'static str> },
    /// A paragraph; the class says how it looks as HTML.
    Paragraph { class: &'static str, words: Vec<Word> },
    /// Lines to copy.
    Code(String),
    /// Rows below heads; none are nothing.
    Table { heads: &'static [&'static str], rows: Vec<Vec<Vec<Word>>> },
    /// Items.
    List(Vec<Vec<Word>>),
    /// A part that something leads to.
    Section { anchor: &'static str, blocks: Vec<Block> },
    /// Markdown that was written by hand.
    Written(String),
}

/// A piece of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word {
    /// As it is.
    Text(String),
    /// In the type of programs.
    Code(String),
    /// Leads to a path of the server without its first slash, or to `#…` on the same page.
    Link { to: String, text: Box<Word> },
    /// Marks a member that is always there.
    AlwaysThere,
}

/// A text as it is.
pub(super) fn text(text: impl Into<String>) -> Word {
    Word::Text(text.into())
}

/// A text in the type of programs.
pub(super) fn code(text: impl Into<String>) -> Word {
    Word::Code(text.into())
}

/// A link to a path of the server, without its first slash.
pub(super) fn link(to: impl Into<String>, text: Word) -> Word {
    Word::Link { to: to.into(), text: Box::new(text) }
}

/// A text in which backticks mark code.
pub(super) fn inline(text: &str) -> Vec<Word> {
    let parts = text.split('`').enumerate().filter(|(_, part)| !part.is_empty());
    parts.map(|(at, part)| if at % 2 == 1 { code(part) } else { self::text(part) }).collect()
}

/// Paragraphs in which backticks mark code.
pub(super) fn prose(text: &str) -> impl Iterator<Item = Block> {
    let paragraphs = text.split("\n\n").map(str::trim).filter(|paragraph| !paragraph.is_empty());
    paragraphs.map(|paragraph| paragraph_of(inline(paragraph)))
}

/// A heading that nothing leads to.
pub(super) fn heading(level: u8, word: Word) -> Block {
    Block::Heading { level, words: vec![word], anchor: None }
}

/// A paragraph.
pub(super) fn paragraph_of(words: Vec<Word>) -> Block {
    Block::Paragraph { class: "", words }
}

/// Words with the same text between them.
pub(super) fn joined(words: impl IntoIterator<Item = Word>, between: &str) -> Vec<Word> {
    let mut joined = Vec::new();
    for word in words {
        if !joined.is_empty() {
            joined.push(text(between));
        }
        joined.push(word);
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backticks_mark_code_and_empty_lines_paragraphs() {
        assert_eq!(inline("Send `a<b`."), [text("Send "), code("a<b"), text(".")]);
        assert_eq!(inline("`a`"), [code("a")]);
        assert_eq!(prose("One.\n\n\n\nTwo.").count(), 2);
        assert_eq!(prose("").count(), 0);
        assert_eq!(joined([code("a"), code("b")], ", "), [code("a"), text(", "), code("b")]);
    }
}
