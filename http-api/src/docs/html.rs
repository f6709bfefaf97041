//! The little HTML that the pages need.

use super::line::{escaped, line};
use super::markdown;
use super::page::{Block, Word};

const STYLE: &str = "\
:root{color-scheme:light dark;--text:#1a1a1a;--quiet:#5c5c5c;--ground:#fff;--soft:#f3f3f1;--line:#ddd;--link:#0b57a4}\
@media(prefers-color-scheme:dark){:root{--text:#e6e6e3;--quiet:#a0a09c;--ground:#161616;--soft:#222;--line:#3a3a3a;\
--link:#8ab8f0}}\
body{margin:0 auto;max-width:56rem;padding:1rem;font:16px/1.55 system-ui,sans-serif;color:var(--text);\
background:var(--ground)}\
a{color:var(--link)}nav a{margin-right:1rem}h1,h2,h3{line-height:1.2;overflow-wrap:anywhere}h2{margin-top:2.5rem}\
.title{font-size:1.15rem;color:var(--quiet);margin-top:-.5rem}.effect{color:var(--quiet)}\
code{font:.9em ui-monospace,monospace;overflow-wrap:anywhere}\
pre{background:var(--soft);border:1px solid var(--line);border-radius:6px;padding:.8rem;overflow-x:auto}\
pre code{overflow-wrap:normal}.wide{overflow-x:auto}\
table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.35rem .6rem .35rem 0;\
border-bottom:1px solid var(--line)}th{color:var(--quiet);font-weight:normal;font-size:.85rem}\
section{border-top:1px solid var(--line)}.contents{line-height:2}";

/// Blocks as HTML. `root` leads from the page to the server's root.
pub(super) fn blocks(blocks: &[Block], root: &str) -> String {
    blocks.iter().map(|each| block(each, root)).collect()
}

fn block(block: &Block, root: &str) -> String {
    match block {
        Block::Heading { level, words, anchor } => {
            let anchor = anchor.map(|anchor| format!(" id=\"{}\"", escaped(anchor))).unwrap_or_default();
            format!("<h{level}{anchor}>{}</h{level}>", line(words, root))
        }
        Block::Paragraph { class: "", words } => format!("<p>{}</p>", line(words, root)),
        Block::Paragraph { class, words } => format!("<p class=\"{class}\">{}</p>", line(words, root)),
        Block::Code(text) => format!("<pre><code>{}</code></pre>", escaped(text)),
        Block::Table { heads, rows } => table(heads, rows, root),
        Block::List(items) => {
            let items = items.iter().map(|words| format!("<li>{}</li>", line(words, root)));
            format!("<ul>{}</ul>", items.collect::<String>())
        }
        Block::Section { anchor, blocks } => {
            format!("<section id=\"{}\">{}</section>", escaped(anchor), self::blocks(blocks, root))
        }
        Block::Written(text) => markdown::rendered(text, root),
    }
}

fn table(heads: &[&str], rows: &[Vec<Vec<Word>>], root: &str) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let row = |cells: &Vec<Vec<Word>>| {
        let cells = cells.iter().map(|words| format!("<td>{}</td>", line(words, root)));
        format!("<tr>{}</tr>", cells.collect::<String>())
    };
    let rows: String = rows.iter().map(row).collect();
    let heads: String = heads.iter().map(|head| format!("<th>{}</th>", escaped(head))).collect();
    format!("<div class=\"wide\"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>")
}

/// A whole document. `root` leads from it to the server's root, and `twin` from there to the same as Markdown.
pub(super) fn document(title: &str, root: &str, twin: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{} · Keyrack</title><style>{STYLE}</style>\
         <link rel=\"alternate\" type=\"text/markdown\" href=\"{root}{}\"></head>\n\
         <body><nav><a href=\"{root}docs\">Documentation</a><a href=\"{root}docs#guides\">Guides</a><a href=\"{root}reference\">Reference</a>\
         <a href=\"{root}docs#errors\">Errors</a><a href=\"{root}openapi.json\">OpenAPI</a></nav>\n\
         <main>{body}</main></body></html>\n",
        escaped(title),
        escaped(twin)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_title_becomes_markup() {
        assert!(document("<script>", "", "", "").contains("<title>&lt;script&gt; "));
    }
}
