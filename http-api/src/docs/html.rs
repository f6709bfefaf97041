//! The little HTML that the pages need.

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

/// A text as HTML: nothing in it is markup.
pub(super) fn escaped(text: &str) -> String {
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

/// A text in the type of programs.
pub(super) fn code(text: &str) -> String {
    format!("<code>{}</code>", escaped(text))
}

/// A text in which backticks mark code.
pub(super) fn inline(text: &str) -> String {
    let parts = text.split('`').enumerate();
    parts.map(|(at, part)| if at % 2 == 1 { code(part) } else { escaped(part) }).collect()
}

/// Paragraphs in which backticks mark code.
pub(super) fn prose(text: &str) -> String {
    let paragraphs = text.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty());
    paragraphs.map(|paragraph| format!("<p>{}</p>", inline(paragraph.trim()))).collect()
}

/// A table of cells that are HTML already; nothing when there are no rows.
pub(super) fn table<const N: usize>(heads: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let row = |cells: [String; N]| {
        let cells: String = cells.iter().map(|cell| format!("<td>{cell}</td>")).collect();
        format!("<tr>{cells}</tr>")
    };
    let rows: String = rows.map(row).collect();
    if rows.is_empty() {
        return rows;
    }
    let heads: String = heads.iter().map(|head| format!("<th>{}</th>", escaped(head))).collect();
    format!("<div class=\"wide\"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>")
}

/// A whole document. `root` leads from it to the server's root.
pub(super) fn document(title: &str, root: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{} · Keyrack</title><style>{STYLE}</style></head>\n\
         <body><nav><a href=\"{root}docs\">Documentation</a><a href=\"{root}docs#guides\">Guides</a><a href=\"{root}reference\">Reference</a>\
         <a href=\"{root}docs#errors\">Errors</a><a href=\"{root}openapi.json\">OpenAPI</a></nav>\n\
         <main>{body}</main></body></html>\n",
        escaped(title)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_markup() {
        let hostile = "<script>alert('1')</script> & \"x\"";
        let safe = "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; &amp; &quot;x&quot;";
        assert_eq!(escaped(hostile), safe);
        assert_eq!(inline(hostile), safe);
        assert!(document(hostile, "", "").contains(&format!("<title>{safe} ")));
    }

    #[test]
    fn backticks_mark_code_and_empty_lines_paragraphs() {
        assert_eq!(prose("Send `a<b`.\n\nThen wait."), "<p>Send <code>a&lt;b</code>.</p><p>Then wait.</p>");
        assert_eq!(prose(""), "");
    }
}
