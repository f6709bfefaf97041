//! What may stand where somebody is typing: an argument of a prompt, or the end of an address.
//!
//! Things of the workspace are asked of the operation that shows them, as the caller and within the view: one page, and
//! no more. What the program knows is looked up. Only what can be sent back as it is is suggested, so nothing that has
//! characters which nobody sees.

use keyrack_core::docs::{PLACEHOLDERS, Placeholder, guides};
use keyrack_core::printable::is_invisible;
use keyrack_core::{Caller, Code, Error, operations};
use rmcp::model::JsonObject;
use tokio_util::sync::CancellationToken;

use crate::call::Desk;
use crate::naming::tool_name;
use crate::view::View;

/// Values that are suggested at most.
pub(crate) const MOST: usize = 20;
/// Characters that somebody has typed before nothing is suggested any more.
const LONGEST_TYPED: usize = 100;
/// Characters of a value.
const LONGEST_VALUE: usize = 256;
/// Words of a list that a prompt gives itself.
const MOST_WORDS: usize = 50;
/// The placeholder of an API, which a view may be about.
const API: &str = "apiId";
const PERIODS: [&str; 7] =
    ["today", "yesterday", "last 24 hours", "last 7 days", "last 30 days", "this month", "last month"];

/// Where suggestions come from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// Things that an operation shows.
    Things(Placeholder),
    /// Names of tools that the caller sees.
    Operations,
    /// Codes of errors.
    Codes,
    /// Pages of the documentation.
    Pages,
    /// Times that people speak of.
    Periods,
    /// These.
    Words(Vec<String>),
}

/// Sources that are no things of the workspace, by their names.
static KNOWN: [(&str, Source); 4] = [
    ("operation", Source::Operations),
    ("code", Source::Codes),
    ("page", Source::Pages),
    ("period", Source::Periods),
];

impl Source {
    /// Reads the name of a source, or a list of words: `keyId`, `[Go, Rust]`.
    ///
    /// # Errors
    /// What may be written, as the end of a sentence.
    pub(crate) fn read(text: &str) -> Result<Source, String> {
        if let Some(words) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let words: Vec<String> =
                words.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect();
            let is_fine = (1..=MOST_WORDS).contains(&words.len()) && words.iter().all(|word| is_usable(word));
            return is_fine.then_some(Source::Words(words)).ok_or(format!("a list has 1 to {MOST_WORDS} words"));
        }
        let known = KNOWN.iter().find(|(name, _)| *name == text).map(|(_, source)| source.clone());
        known.or_else(|| Source::of_placeholder(text)).ok_or_else(|| {
            let things = PLACEHOLDERS.iter().filter(|thing| thing.shown_by.is_some()).map(Placeholder::name);
            let names: Vec<&str> = KNOWN.iter().map(|(name, _)| *name).chain(things).collect();
            format!("must be one of {}, or a list such as [Go, Rust]", names.join(", "))
        })
    }

    /// The things that a placeholder stands for, without its brackets.
    pub(crate) fn of_placeholder(name: &str) -> Option<Source> {
        let mut shown = PLACEHOLDERS.into_iter().filter(|placeholder| placeholder.shown_by.is_some());
        shown.find(|placeholder| placeholder.name() == name).map(Source::Things)
    }

    /// Whether it is about APIs.
    pub(crate) fn is_of_apis(&self) -> bool {
        matches!(self, Source::Things(placeholder) if placeholder.name() == API)
    }
}

/// What somebody has typed.
#[derive(Debug)]
pub(crate) struct Typed<'a> {
    pub(crate) text: &'a str,
    /// The API that was chosen before, if one was.
    pub(crate) api: Option<&'a str>,
    /// Fires when nobody waits any more.
    pub(crate) abandoned: &'a CancellationToken,
}

/// What is suggested, best first.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Suggested {
    pub(crate) values: Vec<String>,
    /// Whether there may be others.
    pub(crate) has_more: bool,
}

/// Suggests what may stand there.
///
/// # Errors
/// When the caller made too many calls, or the store does not answer. For what cannot be asked, nothing is suggested.
pub(crate) async fn suggest(
    desk: &Desk,
    caller: Caller,
    view: &View,
    source: &Source,
    typed: &Typed<'_>,
) -> Result<Suggested, Error> {
    let text = typed.text.trim();
    if text.chars().count() > LONGEST_TYPED {
        return Ok(Suggested::default());
    }
    Ok(match source {
        Source::Things(placeholder) => match (view.api(), source.is_of_apis()) {
            (Some(api), true) => fitting([api], text),
            _ => things(desk, caller, view, *placeholder, typed).await?,
        },
        Source::Operations => {
            let audience = desk.audience(&caller, view);
            let seen = desk.catalogue.offers().iter().filter(|offer| audience.sees(offer));
            fitting(seen.map(|offer| &*offer.tool.name), text)
        }
        Source::Codes => {
            let mut codes: Vec<&str> = Code::ALL.iter().map(|code| code.specific()).collect();
            codes.sort_unstable();
            codes.dedup();
            fitting(codes, text)
        }
        Source::Pages => {
            let operations = operations::pages().iter().map(|page| page.about.name);
            fitting(guides().iter().map(|guide| guide.slug).chain(operations), text)
        }
        Source::Periods => fitting(PERIODS, text),
        Source::Words(words) => fitting(words.iter().map(String::as_str), text),
    })
}

/// Of some words those that begin so, then those that have it within.
fn fitting<'a>(words: impl IntoIterator<Item = &'a str>, typed: &str) -> Suggested {
    let typed = typed.to_lowercase();
    let mut fitting: Vec<(bool, &str)> = words
        .into_iter()
        .filter(|word| word.to_lowercase().contains(&typed))
        .map(|word| (!word.to_lowercase().starts_with(&typed), word))
        .collect();
    fitting.sort_by_key(|(is_within, _)| *is_within);
    let has_more = fitting.len() > MOST;
    Suggested { values: fitting.into_iter().take(MOST).map(|(_, word)| word.to_owned()).collect(), has_more }
}

/// Things of the workspace that have the text in their name or id, as their list finds them.
async fn things(
    desk: &Desk,
    caller: Caller,
    view: &View,
    placeholder: Placeholder,
    typed: &Typed<'_>,
) -> Result<Suggested, Error> {
    let offer = placeholder.shown_by.and_then(|operation| desk.catalogue.find(&tool_name(operation)));
    let Some(offer) = offer.filter(|offer| desk.audience(&caller, view).sees(offer)) else {
        return Ok(Suggested::default());
    };
    let (tool, _) = offer.shape(view.api().is_some());
    let takes = |member: &str| tool.input_schema["properties"].get(member).is_some();
    let text = typed.text.trim();
    let mut arguments = JsonObject::new();
    if takes("limit") {
        arguments.insert("limit".to_owned(), MOST.into());
    }
    if takes("search") && !text.is_empty() {
        arguments.insert("search".to_owned(), text.into());
    }
    if let Some(api) = typed.api.filter(|_| takes(API)) {
        arguments.insert(API.to_owned(), api.into());
    }
    let answer = match desk.ask(caller, view, offer, arguments, typed.abandoned).await {
        Ok(answer) => answer,
        Err(error) if error.code().status() >= 500 || error.code() == Code::WorkspaceRateLimited => {
            return Err(error);
        }
        Err(_) => return Ok(Suggested::default()),
    };
    let items = answer.data.as_array().into_iter().flatten();
    let values = items.filter_map(|item| item[placeholder.member].as_str()).filter(|value| is_usable(value));
    // A list that cannot be searched gives what fits of a page.
    let values: Vec<String> = if takes("search") {
        values.take(MOST).map(str::to_owned).collect()
    } else {
        fitting(values, text).values
    };
    Ok(Suggested { values, has_more: answer.pagination.is_some_and(|pagination| pagination.has_more) })
}

/// Whether a value comes back as it was suggested.
fn is_usable(value: &str) -> bool {
    !value.is_empty() && value.chars().count() <= LONGEST_VALUE && !value.chars().any(is_invisible)
}

/// The API among what was chosen before, under whatever name.
pub(crate) fn chosen_api<'a>(chosen: impl IntoIterator<Item = &'a String>) -> Option<&'a str> {
    let prefix = format!("{}_", keyrack_core::ids::Kind::Api.prefix());
    chosen.into_iter().map(String::as_str).find(|value| value.starts_with(&prefix) && is_usable(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_so_comes_before_what_has_it_within() {
        let words = ["last 7 days", "today", "last month", "this month"];
        assert_eq!(fitting(words, "Month").values, ["last month", "this month"]);
        assert_eq!(fitting(words, "t").values[..2], ["today", "this month"]);
        assert_eq!(fitting(words, "").values.len(), 4);
        let many: Vec<String> = (0..50).map(|number| format!("word {number}")).collect();
        let suggested = fitting(many.iter().map(String::as_str), "word");
        assert!(suggested.values.len() == MOST && suggested.has_more);
    }

    #[test]
    fn sources_are_named_and_others_are_refused_with_those_there_are() {
        assert!(
            matches!(Source::read("keyId"), Ok(Source::Things(keys)) if keys.shown_by == Some("keys.listKeys"))
        );
        assert!(Source::read("apiId").unwrap().is_of_apis());
        assert!(matches!(Source::read("[Go,  Rust ]"), Ok(Source::Words(words)) if words == ["Go", "Rust"]));
        for text in ["keys", "", "[]", "[a\u{202e}b]", "key", "migrationId"] {
            let refusal = Source::read(text).unwrap_err();
            assert!(refusal.contains("must be one of") || refusal.contains("1 to 50"), "{text}: {refusal}");
        }
    }

    #[test]
    fn an_api_that_was_chosen_is_known_by_its_id() {
        let chosen = ["payments".to_owned(), "api_123".to_owned()];
        assert_eq!(chosen_api(&chosen), Some("api_123"));
        assert_eq!(chosen_api(&chosen[..1]), None);
    }
}
