//! One finished tool per operation, made once from core's catalogue.
//!
//! This is the MCP face's visitor of `keyrack_core::each`. It erases the types for itself: an
//! [`Offer`] holds the tool as assistants see it, the schema that arguments are checked against (the very
//! schema of the tool, so that what is hidden is also refused), and a function that runs the operation.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use keyrack_core::catalogue::{self, About, Effect, Operation, Visitor};
use keyrack_core::docs;
use keyrack_core::reply::Pagination;
use keyrack_core::schema::{AnsweredSecrets, RequestSchema, answered_secrets};
use keyrack_core::{Caller, Error, Keyrack};
use rmcp::model::{Tool, ToolAnnotations};
use serde_json::Value;

use crate::naming::{closest, tool_name};
use crate::schema::{Input, each_description, input_schema, output_schema};

/// Items of a list when an assistant does not say how many: a hundred full keys are more text than most
/// conversations have room for.
pub const PAGE_SIZE: i64 = 20;

/// What an operation answered, before it is rendered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) data: Value,
    pub(crate) pagination: Option<Pagination>,
}

type Running = Pin<Box<dyn Future<Output = Result<Answer, Error>> + Send>>;

/// An operation that is a tool.
#[derive(Debug)]
pub struct Offer {
    /// The operation.
    pub about: &'static About,
    /// The tool, as it is listed.
    pub tool: Tool,
    pub(crate) secrets: AnsweredSecrets,
    arguments: RequestSchema,
    kept: Option<String>,
    run: fn(Keyrack, Caller, Value) -> Running,
}

impl Offer {
    fn new<O: Operation>() -> Self {
        let about = const { &O::ABOUT };
        let page_size = about.list.is_some().then_some(PAGE_SIZE);
        let request = catalogue::request_schema::<O>();
        let Input { schema: input, kept } = input_schema(request.as_value(), about.assistants.hidden, page_size);
        let mut tool = Tool::new(tool_name(about.name), description(about), Arc::new(input.clone()))
            .with_title(about.title)
            .with_annotations(
                ToolAnnotations::new()
                    .read_only(about.effect == Effect::Read)
                    .destructive(about.effect == Effect::Destroy)
                    .idempotent(about.idempotent)
                    .open_world(false),
            );
        if let Some(output) = output_schema::<O::Response>(about.list.is_some()) {
            tool = tool.with_raw_output_schema(Arc::new(output));
        }
        let arguments = RequestSchema::compile(Value::Object(input), request.secrets().clone());
        let secrets = answered_secrets::<O::Response>();
        Offer { about, tool, secrets, arguments, kept, run: run::<O> }
    }

    /// The schema that arguments are checked against.
    pub(crate) fn arguments(&self) -> &RequestSchema {
        &self.arguments
    }

    /// The member whose null `keep: true` stands for.
    pub(crate) fn kept(&self) -> Option<&str> {
        self.kept.as_deref()
    }

    /// Names tools in its texts where they name operations.
    fn speak_of_tools(&mut self, names: &[(&str, String)]) {
        let told = |text: &str| names.iter().fold(text.to_owned(), |text, (name, tool)| text.replace(name, tool));
        self.tool.description = self.tool.description.as_deref().map(|text| told(text).into());
        for schema in [Some(&mut self.tool.input_schema), self.tool.output_schema.as_mut()].into_iter().flatten() {
            each_description(Arc::make_mut(schema), &told);
        }
    }

    /// Runs the operation.
    pub(crate) fn run(&self, keyrack: Keyrack, caller: Caller, arguments: Value) -> Running {
        (self.run)(keyrack, caller, arguments)
    }
}

/// What a tool does, where its ids come from, and what is surprising about it.
fn description(about: &About) -> String {
    let origins: Vec<String> =
        docs::origins(about).iter().map(|(member, operation)| format!("{member} from {operation}")).collect();
    let origins = if origins.is_empty() { String::new() } else { format!("{}.", origins.join(", ")) };
    let acts = if about.effect == Effect::Destroy { "Acts at once, without asking again." } else { "" };
    let sentences = [about.summary, &origins, acts, about.assistants.hint];
    let sentences: Vec<&str> = sentences.into_iter().filter(|sentence| !sentence.is_empty()).collect();
    sentences.join(" ").replace("null clears", "`clear` empties")
}

fn run<O: Operation>(keyrack: Keyrack, caller: Caller, arguments: Value) -> Running {
    Box::pin(async move {
        let reply = catalogue::run::<O>(&keyrack, caller, arguments).await?;
        // What people attached is text in there: it is read as data.
        let text = serde_json::to_vec(&reply.data).map_err(Error::unexpected)?;
        let data = keyrack_core::json::read(&text).map_err(Error::unexpected)?;
        Ok(Answer { data, pagination: reply.pagination })
    })
}

/// Every operation: as a tool, or with the reason why it is none.
#[derive(Debug, Default)]
pub struct Catalogue {
    offers: Vec<Offer>,
    withheld: Vec<(&'static About, &'static str)>,
}

impl Catalogue {
    /// The catalogue of this program.
    pub fn get() -> &'static Catalogue {
        static CATALOGUE: OnceLock<Catalogue> = OnceLock::new();
        CATALOGUE.get_or_init(|| {
            let mut catalogue = Catalogue::default();
            keyrack_core::each(&mut catalogue);
            // Longer names first, because one may begin another.
            let mut names: Vec<(&str, String)> =
                catalogue.offers.iter().map(|offer| (offer.about.name, tool_name(offer.about.name))).collect();
            names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
            catalogue.offers.iter_mut().for_each(|offer| offer.speak_of_tools(&names));
            catalogue.offers.sort_by(|one, other| one.tool.name.cmp(&other.tool.name));
            catalogue
        })
    }

    /// The operations that are tools, by tool name.
    pub fn offers(&self) -> &[Offer] {
        &self.offers
    }

    /// The operations that are none, and why.
    pub fn withheld(&self) -> &[(&'static About, &'static str)] {
        &self.withheld
    }

    /// The tool with this name.
    pub fn find(&self, tool: &str) -> Option<&Offer> {
        let found = self.offers.binary_search_by(|offer| (*offer.tool.name).cmp(tool));
        found.ok().and_then(|at| self.offers.get(at))
    }

    /// The operation that would be this tool, and why it is none.
    pub(crate) fn withheld_as(&self, tool: &str) -> Option<(&'static About, &'static str)> {
        self.withheld.iter().copied().find(|(about, _)| tool_name(about.name) == tool)
    }

    /// The tool that this name was probably meant to be: one of the same group, or of the same action in another.
    pub(crate) fn closest(&self, name: &str) -> Option<&str> {
        closest(name, self.offers.iter().map(|offer| &*offer.tool.name))
    }
}

impl Visitor for Catalogue {
    fn operation<O: Operation>(&mut self) {
        match O::ABOUT.assistants.tool {
            catalogue::Tool::Offered => self.offers.push(Offer::new::<O>()),
            catalogue::Tool::Withheld(reason) => self.withheld.push((const { &O::ABOUT }, reason)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::naming::operation_name;

    #[test]
    fn tools_are_sorted_and_found_by_name() {
        let offers = Catalogue::get().offers();
        assert!(offers.is_sorted_by(|one, other| one.tool.name < other.tool.name));
        for offer in offers {
            assert_eq!(Catalogue::get().find(&offer.tool.name).unwrap().about.name, offer.about.name);
            assert_eq!(operation_name(&offer.tool.name), offer.about.name);
        }
        assert!(Catalogue::get().find("keys_doNothing").is_none());
    }

    #[test]
    fn what_is_hidden_is_refused_as_unknown_and_not_suggested() {
        let offer = Catalogue::get().find("apis_listKeys").unwrap();
        let faults = offer.arguments().faults(&serde_json::json!({ "apiId": "api_1", "decrypt": true, "zzz": 1 }));
        assert_eq!(faults.len(), 2);
        assert!(faults.iter().all(|fault| fault.message == "is not a known member"), "{faults:?}");
        assert!(!faults[1].fix.as_ref().unwrap().contains("decrypt"), "{faults:?}");
    }
}
