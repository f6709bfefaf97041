//! Guides as HTML. HTML in their Markdown is text, as everywhere.

use keyrack_core::docs::anchor;
use keyrack_core::error::Code;
use keyrack_core::operations;
use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd};

use super::line;
use super::page::{self, Word};

/// A guide's Markdown as HTML: headings can be led to, and what names an operation or a code leads to its page. Links that
/// begin with `/` are to the server's own pages; `root` leads from the guide to the server's root.
pub(super) fn rendered(text: &str, root: &str) -> String {
    let mut page = Page { events: Vec::new(), root, heading: None, is_in_link: false };
    Parser::new_ext(text, Options::ENABLE_TABLES).for_each(|event| page.add(event));
    let mut rendered = String::new();
    pulldown_cmark::html::push_html(&mut rendered, page.events.into_iter());
    rendered
}

struct Page<'a> {
    events: Vec<Event<'a>>,
    root: &'a str,
    /// Where the heading began that has not ended.
    heading: Option<usize>,
    is_in_link: bool,
}

impl<'a> Page<'a> {
    fn add(&mut self, event: Event<'a>) {
        match event {
            Event::Html(text) | Event::InlineHtml(text) => self.events.push(Event::Text(text)),
            Event::Start(Tag::Table(_)) => {
                self.events.extend([Event::Html("<div class=\"wide\">".into()), event]);
            }
            Event::End(TagEnd::Table) => self.events.extend([event, Event::Html("</div>".into())]),
            Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
                self.is_in_link = true;
                let dest_url = match dest_url.strip_prefix('/') {
                    Some(path) => format!("{}{path}", self.root).into(),
                    None => dest_url,
                };
                self.events.push(Event::Start(Tag::Link { link_type, dest_url, title, id }));
            }
            Event::End(TagEnd::Link) => {
                self.is_in_link = false;
                self.events.push(event);
            }
            Event::Code(name) if !self.is_in_link && self.heading.is_none() => {
                let linked = linked(&name, self.root).map(|link| Event::InlineHtml(link.into()));
                self.events.push(linked.unwrap_or(Event::Code(name)));
            }
            Event::Start(Tag::Heading { .. }) => {
                self.heading = Some(self.events.len());
                self.events.push(event);
            }
            Event::End(TagEnd::Heading(_)) => {
                self.name_heading();
                self.events.push(event);
            }
            event => self.events.push(event),
        }
    }

    /// Gives the heading that ends what leads to it.
    fn name_heading(&mut self) {
        let Some(began) = self.heading.take() else { return };
        let text = |event: &Event<'_>| match event {
            Event::Text(text) | Event::Code(text) => text.to_string(),
            _ => String::new(),
        };
        let words: String = self.events[began..].iter().map(text).collect();
        if let Event::Start(Tag::Heading { id, .. }) = &mut self.events[began] {
            *id = Some(CowStr::from(anchor(&words)));
        }
    }
}

/// A link to the operation or the code of this name, if there is exactly one.
fn linked(name: &str, root: &str) -> Option<String> {
    let link = |to: String| line::word(&page::link(to, Word::Code(name.to_owned())), root);
    if operations::pages().iter().any(|page| page.about.name == name) {
        return Some(link(format!("docs/operations/{name}")));
    }
    let mut codes = Code::ALL.iter().filter(|code| code.specific() == name);
    let code = codes.next()?;
    codes.next().is_none().then(|| link(format!("docs/errors/{}", code.path())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_html_of_a_guide_is_markup() {
        let text = "a <b onclick=\"x\">b</b>\n\n<script>alert(1)</script>\n\n`<i>` and\n\n| <u> | b |\n|---|---|\n| <s>c</s> | d |\n";
        let page = rendered(text, "../");
        for tag in ["<b", "<script", "<i>", "<u>", "<s>"] {
            assert!(!page.contains(tag), "{tag}: {page}");
        }
        assert!(page.contains("&lt;script&gt;") && page.contains("<code>&lt;i&gt;</code>"), "{page}");
    }

    #[test]
    fn headings_can_be_led_to_and_names_lead_to_their_pages() {
        let page = rendered(
            "## Of `keys.verifyKey`, and more\n\nSee `keys.verifyKey`, [all](/docs#errors), `role_not_found`.",
            "../../",
        );
        assert!(page.contains("<h2 id=\"of-keys-verifykey-and-more\">Of <code>keys.verifyKey</code>"), "{page}");
        for link in [
            "<a href=\"../../docs/operations/keys.verifyKey\"><code>keys.verifyKey</code></a>",
            "<a href=\"../../docs#errors\">all</a>",
            "<a href=\"../../docs/errors/unkey/data/role_not_found\"><code>role_not_found</code></a>",
        ] {
            assert!(page.contains(link), "{link}: {page}");
        }
    }
}
