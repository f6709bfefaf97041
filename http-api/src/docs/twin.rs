//! Pages as Markdown, for programs that read documentation: the same blocks, with addresses that are whole, because such
//! texts are read far from their server.

use std::ops::Range;

use pulldown_cmark::{Event, LinkType, Options, Parser, Tag};

use super::page::{Block, Word};

/// What the path of a twin ends in.
pub(super) const ENDING: &str = ".md";
/// Characters that mean something in Markdown wherever they are; `_` does only at the edge of a word.
const MARKS: [char; 6] = ['\\', '*', '<', '[', ']', '`'];

/// Blocks as Markdown, on a server that clients reach at `public_url`.
pub(super) fn blocks(blocks: &[Block], public_url: &str) -> String {
    let blocks = blocks.iter().map(|each| block(each, public_url)).filter(|text| !text.is_empty());
    blocks.collect::<Vec<_>>().join("\n\n")
}

fn block(block: &Block, public_url: &str) -> String {
    match block {
        Block::Heading { level, words, .. } => {
            format!("{} {}", "#".repeat((*level).into()), line(words, public_url))
        }
        Block::Paragraph { words, .. } => line(words, public_url),
        Block::Code(text) => {
            let fence = if text.contains("```") { "````" } else { "```" };
            format!("{fence}sh\n{text}\n{fence}")
        }
        Block::Table { heads, rows } => table(heads, rows, public_url),
        Block::List(items) => {
            let items = items.iter().map(|words| format!("- {}", line(words, public_url)));
            items.collect::<Vec<_>>().join("\n")
        }
        Block::Section { blocks, .. } => self::blocks(blocks, public_url),
        Block::Written(text) => with_whole_links(text, public_url).trim().to_owned(),
    }
}

fn line(words: &[Word], public_url: &str) -> String {
    words.iter().map(|each| word(each, public_url)).collect()
}

fn word(word: &Word, public_url: &str) -> String {
    match word {
        Word::Text(text) => escaped(text),
        Word::Code(text) if text.contains('`') => format!("`` {text} ``"),
        Word::Code(text) => format!("`{text}`"),
        // Such a link is of use on the page alone.
        Word::Link { to, text } if to.starts_with('#') => self::word(text, public_url),
        Word::Link { to, text } => format!("[{}]({})", self::word(text, public_url), address(public_url, to)),
        Word::AlwaysThere => "\\*".to_owned(),
    }
}

fn table(heads: &[&str], rows: &[Vec<Vec<Word>>], public_url: &str) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let row = |cells: Vec<String>| {
        let cells = cells.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " "));
        format!("| {} |", cells.collect::<Vec<_>>().join(" | "))
    };
    let mut lines = vec![row(heads.iter().map(|head| escaped(head)).collect()), "|---".repeat(heads.len()) + "|"];
    lines.extend(rows.iter().map(|cells| row(cells.iter().map(|words| line(words, public_url)).collect())));
    lines.join("\n")
}

/// A text as Markdown: nothing in it is markup.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut before = ' ';
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let is_edge = !before.is_alphanumeric() || letters.peek().is_none_or(|next| !next.is_alphanumeric());
        let begins = safe.is_empty() && matches!(letter, '#' | '+' | '-' | '>' | '=' | '~');
        if MARKS.contains(&letter) || letter == '_' && is_edge || letter == '&' || begins {
            safe.push('\\');
        }
        safe.push(letter);
        before = letter;
    }
    safe
}

/// Where a path is, as a twin where there is one: `docs/operations/keys.verifyKey`, `docs#errors`.
pub(super) fn address(public_url: &str, to: &str) -> String {
    let (path, anchor) =
        to.split_once('#').map_or((to, String::new()), |(path, anchor)| (path, format!("#{anchor}")));
    let has_twin = path == "docs" || path == "reference" || path.starts_with("docs/");
    format!("{}/{path}{}{anchor}", public_url.trim_end_matches('/'), if has_twin { ENDING } else { "" })
}

/// Markdown whose links to pages of the server, which begin with `/`, are whole.
fn with_whole_links(text: &str, public_url: &str) -> String {
    let parser = Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter();
    let links = parser.filter_map(|(event, range)| match event {
        Event::Start(Tag::Link { link_type: LinkType::Inline, dest_url, .. }) => {
            let to = dest_url.strip_prefix('/')?;
            place_of(text, range, &dest_url).map(|place| (place, address(public_url, to)))
        }
        _ => None,
    });
    let mut whole = String::with_capacity(text.len());
    let mut done = 0;
    for (place, address) in links {
        whole.push_str(&text[done..place.start]);
        whole.push_str(&address);
        done = place.end;
    }
    whole.push_str(&text[done..]);
    whole
}

/// Where in a link its destination stands: at its end.
fn place_of(text: &str, link: Range<usize>, destination: &str) -> Option<Range<usize>> {
    let begin = link.start + text[link.clone()].rfind(&format!("]({destination}"))? + 2;
    Some(begin..begin + destination.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docs::page::{code, link, text};

    fn read(markdown: &str) -> String {
        let mut page = String::new();
        pulldown_cmark::html::push_html(&mut page, Parser::new_ext(markdown, Options::ENABLE_TABLES));
        page
    }

    #[test]
    fn no_text_becomes_markup() {
        for hostile in ["*a* _b_ __c__", "[x](y)", "<b>x</b>", "`x`", "# a", "- a", "a &amp; b", "\\*a\\*", "> a"]
        {
            let page = read(&blocks(&[Block::Paragraph { class: "", words: vec![text(hostile)] }], ""));
            let shown = page.trim().trim_start_matches("<p>").trim_end_matches("</p>");
            let shown = shown.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
            assert_eq!(shown, hostile);
        }
        assert_eq!(escaped("api_not_found"), "api_not_found");
    }

    #[test]
    fn cells_keep_their_bars_and_code_its_backticks() {
        let row = vec![vec![code("a|b")], vec![code("`")], vec![text("c|d")]];
        let page = read(&blocks(&[Block::Table { heads: &["x", "y", "z"], rows: vec![row] }], ""));
        for cell in ["<td><code>a|b</code></td>", "<td><code>`</code></td>", "<td>c|d</td>"] {
            assert!(page.contains(cell), "{cell}: {page}");
        }
    }

    #[test]
    fn links_are_whole_and_lead_to_twins() {
        let words =
            [link("docs/operations/a.b", code("a.b")), link("#here", text("x")), link("openapi.json", text("y"))];
        let line = line(&words, "https://h/base");
        assert_eq!(line, "[`a.b`](https://h/base/docs/operations/a.b.md)x[y](https://h/base/openapi.json)");
        let written =
            "See [all](/docs#errors), [out](https://x.example), `[no](/docs)`.\n\n```\n[no](/docs)\n```\n";
        assert_eq!(
            with_whole_links(written, "https://h"),
            written.replace("[all](/docs#errors)", "[all](https://h/docs.md#errors)")
        );
    }
}
