//! Completion: what an argument of a prompt, or the name in an address, may be.

use rmcp::ErrorData;
use rmcp::model::{CompleteRequestParams, CompleteResult, CompletionInfo, Reference};

use crate::audience::Audience;
use crate::hygiene;
use crate::prompts::Prompts;
use crate::resources;
use crate::suggestions::{Source, Suggested};

/// Characters of a reference that are repeated.
const SHOWN: usize = 200;

/// Where the values come from that somebody asks for, if from anywhere.
///
/// # Errors
/// When the caller is not shown such a prompt, argument or template.
pub(crate) fn source(
    prompts: &Prompts,
    audience: &Audience<'_>,
    asked: &CompleteRequestParams,
) -> Result<Option<Source>, ErrorData> {
    match &asked.r#ref {
        Reference::Prompt(prompt) => prompts.source(audience, &prompt.name, &asked.argument.name),
        Reference::Resource(template) => {
            let source = resources::source(audience, &template.uri, &asked.argument.name);
            source.map(Some).ok_or_else(|| {
                let [template, name] = [&template.uri, &asked.argument.name].map(|text| hygiene::line(text, SHOWN));
                let message = format!(
                    "There is no template `{template}` with `{{{name}}}` here; resources/templates/list shows those there are."
                );
                ErrorData::invalid_params(message, None)
            })
        }
        _ => Err(ErrorData::invalid_params("`ref` must be of a prompt or of a resource template.", None)),
    }
}

/// What is suggested, as the protocol says it.
pub(crate) fn result(suggested: Suggested) -> CompleteResult {
    let Suggested { values, has_more } = suggested;
    let info = CompletionInfo::with_pagination(values, None, has_more);
    CompleteResult::new(info.unwrap_or_default())
}
