//! One finished tool per operation, made once from core's catalogue.
//!
//! This is the MCP face's visitor of `keyrack_core::each`. It erases the types for itself: an
//! [`Offer`] holds the tool as assistants see it, the schema that arguments are checked against (that of
//! the tool, so that what is hidden is also refused, and besides it the bounds of texts), and a function that runs the
//! operation.

use std::pin::Pin;
use std::sync::Arc;

use keyrack_core::calendar::UnixMs;
use keyrack_core::catalogue::{self, About, Consequences, Effect, Operation, Question, Visitor};
use keyrack_core::docs;
use keyrack_core::reply::Pagination;
use keyrack_core::schema::{
    AnsweredSecrets, Places, RequestSchema, answered_secrets, answered_times, assumed, sent_times,
};
use keyrack_core::{Caller, Error, Keyrack};
use rmcp::model::{Tool, ToolAnnotations};
use serde_json::Value;

use crate::naming::{closest, tool_name};
use crate::schema::{
    Answers, DECRYPT, DESCRIBED, Input, Offered, each_description, input_schema, output_schema, shown,
};
use crate::texts::{self, Text};

/// Items of a list when an assistant does not say how many: a hundred full keys are more text than most
/// conversations have room for.
pub const PAGE_SIZE: i64 = 20;

/// What an operation answered, before it is rendered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) data: Value,
    pub(crate) pagination: Option<Pagination>,
}

type Questioning = Pin<Box<dyn Future<Output = Result<Option<Question>, Error>> + Send>>;
type Running = Pin<Box<dyn Future<Output = Result<Answer, Error>> + Send>>;

/// An operation that is a tool.
#[derive(Debug)]
pub struct Offer {
    /// The operation.
    pub about: &'static About,
    /// The tool, as it is listed.
    pub tool: Tool,
    pub(crate) secrets: AnsweredSecrets,
    /// Times of the answer, and of the request, in Unix ms.
    pub(crate) answered_times: Places,
    pub(crate) sent_times: Places,
    pub(crate) form: Form,
    /// In a view of one API, where that is not among the arguments.
    pinned: Option<(Tool, Form)>,
    run: fn(Keyrack, Caller, Value) -> Running,
    /// What people are asked before; `None` where they never are.
    question: Option<fn(Keyrack, Caller, Value) -> Questioning>,
    consequences: fn(Value, UnixMs) -> Result<Consequences, Error>,
}

/// How the arguments of a tool are read.
#[derive(Debug)]
pub(crate) struct Form {
    /// The schema that they are checked against.
    pub(crate) arguments: RequestSchema,
    /// The member whose null `keep: true` stands for.
    pub(crate) kept: Option<String>,
    /// Whether they say how much is to be shown.
    pub(crate) has_detail: bool,
    /// Truth values that may be left out: they are true then.
    pub(crate) assumed: Places,
}

impl Offer {
    fn new<O: Operation>(decrypts: bool) -> Self {
        let about = const { &O::ABOUT };
        // A list is never a list of secrets.
        let decrypts = decrypts && about.list.is_none() && about.assistants.hidden.contains(&DECRYPT);
        let (tool, form) = shaped::<O>(None, decrypts);
        let pinned = match about.assistants.pinned_by {
            Some(catalogue::Pin::Api(member)) => Some(shaped::<O>(Some(member), decrypts)),
            _ => None,
        };
        Offer {
            about,
            tool,
            secrets: answered_secrets::<O::Response>(),
            answered_times: answered_times::<O::Response>(),
            sent_times: sent_times::<O::Request>(),
            form,
            pinned,
            run: run::<O>,
            question: O::ASKS.then_some(question::<O> as fn(Keyrack, Caller, Value) -> Questioning),
            consequences: catalogue::consequences::<O>,
        }
    }

    /// The tool, and how its arguments are read, in a view of one API or of all.
    pub(crate) fn shape(&self, is_pinned: bool) -> (&Tool, &Form) {
        match &self.pinned {
            Some((tool, form)) if is_pinned => (tool, form),
            _ => (&self.tool, &self.form),
        }
    }

    /// Names tools in its texts where they name operations.
    fn speak_of_tools(&mut self, names: &[(&str, String)]) {
        let told = |text: &str| names.iter().fold(text.to_owned(), |text, (name, tool)| text.replace(name, tool));
        for tool in [Some(&mut self.tool), self.pinned.as_mut().map(|(tool, _)| tool)].into_iter().flatten() {
            tool.description = tool.description.as_deref().map(|text| told(text).into());
            for schema in [Some(&mut tool.input_schema), tool.output_schema.as_mut()].into_iter().flatten() {
                each_description(Arc::make_mut(schema), &told);
            }
        }
    }

    /// Says of the tool what an operator wrote.
    fn say(&mut self, text: &Text) {
        for tool in [Some(&mut self.tool), self.pinned.as_mut().map(|(tool, _)| tool)].into_iter().flatten() {
            tool.title = text.title.clone().or(tool.title.take());
            tool.description = text.description.clone().map(Into::into).or(tool.description.take());
        }
    }

    /// Whether people may be asked before it is done.
    pub(crate) fn asks(&self) -> bool {
        self.question.is_some()
    }

    /// What a request leads to that people are asked about before, as far as it tells by itself.
    pub(crate) fn consequences(&self, request: &Value, now: UnixMs) -> Result<Consequences, Error> {
        if self.asks() { (self.consequences)(request.clone(), now) } else { Ok(Consequences::new()) }
    }

    /// What a person is to be asked before this is done, if anything.
    pub(crate) async fn question(
        &self,
        keyrack: &Keyrack,
        caller: &Caller,
        request: &Value,
    ) -> Result<Option<Question>, Error> {
        match self.question {
            Some(question) => question(keyrack.clone(), keyrack.renew(caller)?, request.clone()).await,
            None => Ok(None),
        }
    }

    /// Runs the operation.
    pub(crate) fn run(&self, keyrack: Keyrack, caller: Caller, arguments: Value) -> Running {
        (self.run)(keyrack, caller, arguments)
    }
}

/// The tool of an operation, and how its arguments are read: all of them, or those but for one that is known; and whether
/// it may be asked for a stored text.
fn shaped<O: Operation>(known: Option<&str>, decrypts: bool) -> (Tool, Form) {
    let about = const { &O::ABOUT };
    let has_detail = !about.assistants.concise.is_empty();
    let request = catalogue::request_schema::<O>();
    let hidden = about.assistants.hidden.iter().copied().filter(|member| !(decrypts && *member == DECRYPT));
    let hidden: Vec<&str> = hidden.chain(known).collect();
    let page_size = about.list.is_some().then_some(PAGE_SIZE);
    let assumed = assumed::<O::Request>();
    let offered = Offered { hidden: &hidden, page_size, has_detail, is_asked: O::ASKS, assumed: Some(&assumed) };
    let Input { schema: input, kept } = input_schema(request.as_value(), &offered);
    let is_default = about.toolset().is_default();
    let arguments = Arc::new(shown(input.clone(), is_default));
    let mut tool = Tool::new(tool_name(about.name), description(about, known), arguments)
        .with_title(about.title)
        .with_annotations(
            ToolAnnotations::new()
                .read_only(about.effect == Effect::Read)
                .destructive(about.effect == Effect::Destroy)
                .idempotent(about.idempotent)
                .open_world(false),
        );
    let described = if is_default { DESCRIBED } else { 0 };
    let answered = Answers {
        paged: about.list.is_some(),
        shown_after: about.assistants.shown_after.is_some(),
        decrypts,
        described,
    };
    if let Some(output) = output_schema::<O::Response>(&answered) {
        tool = tool.with_raw_output_schema(Arc::new(output));
    }
    let arguments = RequestSchema::compile(Value::Object(input), request.secrets().clone());
    (tool, Form { arguments, kept, has_detail, assumed })
}

/// What a tool does, where its ids come from, and what is surprising about it.
fn description(about: &About, known: Option<&str>) -> String {
    let origins = docs::origins(about);
    let origins = origins.iter().filter(|(member, _)| Some(member.as_str()) != known);
    let origins: Vec<String> = origins.map(|(member, operation)| format!("{member} from {operation}")).collect();
    let origins = if origins.is_empty() { String::new() } else { format!("{}.", origins.join(", ")) };
    let sentences = [about.summary, &origins, about.assistants.hint];
    let sentences: Vec<&str> = sentences.into_iter().filter(|sentence| !sentence.is_empty()).collect();
    sentences.join(" ").replace("null clears", "`clear` empties")
}

fn question<O: Operation>(keyrack: Keyrack, caller: Caller, request: Value) -> Questioning {
    Box::pin(async move { catalogue::question::<O>(&keyrack, &caller, request).await })
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
    offers: Vec<Arc<Offer>>,
    withheld: Vec<(&'static About, &'static str)>,
}

/// The catalogue on its way.
#[derive(Default)]
struct Making {
    decrypts: bool,
    offers: Vec<Offer>,
    withheld: Vec<(&'static About, &'static str)>,
}

impl Catalogue {
    /// Makes the catalogue of this program: some hundred schemas, so once for a server.
    pub fn new() -> Self {
        Self::made(Making::default())
    }

    /// The same, with tools that read stored texts of single keys for root keys that may: only an operator can say so.
    pub fn with_decrypt() -> Self {
        Self::made(Making { decrypts: true, ..Making::default() })
    }

    fn made(mut making: Making) -> Self {
        keyrack_core::each(&mut making);
        let Making { mut offers, withheld, .. } = making;
        // Longer names first, because one may begin another.
        let mut names: Vec<(&str, String)> =
            offers.iter().map(|offer| (offer.about.name, tool_name(offer.about.name))).collect();
        names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        offers.iter_mut().for_each(|offer| offer.speak_of_tools(&names));
        offers.sort_by(|one, other| one.tool.name.cmp(&other.tool.name));
        Catalogue { offers: offers.into_iter().map(Arc::new).collect(), withheld }
    }

    /// The same catalogue with an operator's titles and descriptions in place of ours: a JSON object whose members are
    /// named after tools and have a `title` of at most 80 characters, a `description` of at most 300, or both.
    ///
    /// # Errors
    /// What is wrong with the texts, and where.
    pub fn with_texts(mut self, file: &str) -> Result<Self, String> {
        for (tool, text) in texts::read(file)? {
            let at = self.offers.binary_search_by(|offer| (*offer.tool.name).cmp(&tool));
            match at.ok().and_then(|at| Arc::get_mut(&mut self.offers[at])) {
                Some(offer) => offer.say(&text),
                None => {
                    let closest = self.closest(&tool).map(|closest| format!("; did you mean {closest}?"));
                    return Err(format!("{tool} is no tool{}", closest.unwrap_or_default()));
                }
            }
        }
        Ok(self)
    }

    /// The operations that are tools, by tool name.
    pub fn offers(&self) -> &[Arc<Offer>] {
        &self.offers
    }

    /// The operations that are none, and why.
    pub fn withheld(&self) -> &[(&'static About, &'static str)] {
        &self.withheld
    }

    /// The tool with this name.
    pub fn find(&self, tool: &str) -> Option<&Arc<Offer>> {
        let found = self.offers.binary_search_by(|offer| (*offer.tool.name).cmp(tool));
        found.ok().and_then(|at| self.offers.get(at))
    }

    /// Core speaks of operations (`apis.listApis`); here they are tools (`apis_listApis`).
    pub(crate) fn in_tool_names(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for offer in &self.offers {
            if text.contains(offer.about.name) {
                text = text.replace(offer.about.name, &offer.tool.name);
            }
        }
        text
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

impl Visitor for Making {
    fn operation<O: Operation>(&mut self) {
        match O::ABOUT.assistants.tool {
            catalogue::Tool::Offered => self.offers.push(Offer::new::<O>(self.decrypts)),
            catalogue::Tool::Withheld(reason) => self.withheld.push((const { &O::ABOUT }, reason)),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::LazyLock;

    use keyrack_core::catalogue::ShownAfter;
    use rmcp::model::JsonObject;
    use serde_json::json;

    use super::*;
    use crate::naming::operation_name;

    /// One for all tests of the crate.
    pub(crate) static CATALOGUE: LazyLock<Arc<Catalogue>> = LazyLock::new(|| Arc::new(Catalogue::new()));

    #[test]
    fn tools_are_sorted_and_found_by_name() {
        let offers = CATALOGUE.offers();
        assert!(offers.is_sorted_by(|one, other| one.tool.name < other.tool.name));
        for offer in offers {
            assert_eq!(CATALOGUE.find(&offer.tool.name).unwrap().about.name, offer.about.name);
            assert_eq!(operation_name(&offer.tool.name), offer.about.name);
        }
        assert!(CATALOGUE.find("keys_doNothing").is_none());
    }

    #[test]
    fn what_is_hidden_is_refused_as_unknown_and_not_suggested() {
        let (_, form) = CATALOGUE.find("apis_listKeys").unwrap().shape(false);
        let faults = form.arguments.faults(&serde_json::json!({ "apiId": "api_1", "decrypt": true, "zzz": 1 }));
        assert_eq!(faults.len(), 2);
        assert!(faults.iter().all(|fault| fault.message == "is not a known member"), "{faults:?}");
        assert!(!faults[1].fix.as_ref().unwrap().contains("decrypt"), "{faults:?}");
    }

    #[test]
    fn stored_texts_are_read_one_by_one_and_only_where_the_operator_allows_it() {
        let allowing = Catalogue::with_decrypt();
        let takes = |catalogue: &Catalogue, tool: &str| {
            let (tool, _) = catalogue.find(tool).unwrap().shape(true);
            (tool.input_schema["properties"].get(DECRYPT).is_some(), json_of(tool).contains("\"plaintext\""))
        };
        let reading: Vec<&str> = allowing
            .offers()
            .iter()
            .map(|offer| &*offer.tool.name)
            .filter(|tool| takes(&allowing, tool) != (false, false))
            .collect();
        assert_eq!(reading, ["keys_getKey"], "of single keys, and no list");
        assert_eq!(takes(&allowing, "keys_getKey"), (true, true));
        assert_eq!(takes(&CATALOGUE, "keys_getKey"), (false, false));
    }

    fn json_of(tool: &Tool) -> String {
        serde_json::to_string(tool).unwrap()
    }

    #[test]
    fn what_is_shown_after_a_change_is_a_read_that_the_change_can_name() {
        let members = |schema: Option<&Arc<JsonObject>>| {
            let schema = Value::Object(schema.map(|schema| schema.as_ref().clone()).unwrap_or_default());
            let members = |at: &str| schema.pointer(at).and_then(Value::as_object).cloned().unwrap_or_default();
            members("/properties").into_iter().chain(members("/properties/data/properties")).map(|(name, _)| name)
        };
        let changes: Vec<_> =
            CATALOGUE.offers().iter().filter(|offer| offer.about.assistants.shown_after.is_some()).collect();
        assert!(changes.len() >= 5);
        for change in changes {
            let ShownAfter { read, by } = change.about.assistants.shown_after.unwrap();
            let read = CATALOGUE.find(&tool_name(read)).unwrap();
            let about = change.about;
            assert!(read.about.effect == Effect::Read && about.effect != Effect::Read, "{}", about.name);
            let known: Vec<String> = members(Some(&change.tool.input_schema))
                .chain(members(change.tool.output_schema.as_ref()))
                .collect();
            let asked: Vec<String> = members(Some(&read.tool.input_schema)).collect();
            let are_known = by
                .iter()
                .all(|name| known.iter().any(|known| known == name) && asked.iter().any(|asked| asked == name));
            assert!(are_known, "{}: {by:?} of {known:?} for {asked:?}", about.name);
        }
    }

    #[test]
    fn in_a_view_of_one_api_no_tool_asks_for_it() {
        for offer in CATALOGUE.offers() {
            let (tool, _) = offer.shape(true);
            if let Some(catalogue::Pin::Api(member)) = offer.about.assistants.pinned_by {
                let schema = Value::Object(tool.input_schema.as_ref().clone());
                assert!(schema["properties"].get(member).is_none(), "{}", tool.name);
                assert!(!schema["required"].to_string().contains(&format!("\"{member}\"")), "{}", tool.name);
                assert!(!tool.description.as_ref().unwrap().contains(&format!("{member} from")), "{}", tool.name);
            } else {
                assert_eq!(*tool, offer.tool);
            }
        }
    }

    #[test]
    fn texts_of_the_operator_stand_in_place_of_ours_in_every_view() {
        let file = json!({
            "keys_createKey": { "title": "Schlüssel anlegen", "description": "Legt einen Schlüssel an. Frage vorher nach dem Team." },
            "apis_getApi": { "title": "Eine API" },
        });
        let (plain, said) = (Catalogue::new(), Catalogue::new().with_texts(&file.to_string()).unwrap());
        for is_pinned in [false, true] {
            let shape = |catalogue: &Catalogue, tool| catalogue.find(tool).unwrap().shape(is_pinned).0.clone();
            let made = shape(&said, "keys_createKey");
            assert_eq!(made.title.as_deref(), Some("Schlüssel anlegen"));
            assert_eq!(made.description.as_deref(), file["keys_createKey"]["description"].as_str());
            let (before, after) = (shape(&plain, "apis_getApi"), shape(&said, "apis_getApi"));
            assert_eq!(after.title.as_deref(), Some("Eine API"));
            assert_eq!(after.description, before.description);
            assert_eq!(shape(&plain, "keys_getKey"), shape(&said, "keys_getKey"));
        }
    }

    #[test]
    fn what_makes_no_sense_says_where() {
        let long = "x".repeat(301);
        for (file, expected) in [
            (json!([]), "JSON object"),
            (
                json!({ "keys_createKeys": { "title": "A" } }),
                "keys_createKeys is no tool; did you mean keys_createKey?",
            ),
            (json!({ "keys_createKey": { "titel": "A" } }), "unknown field `titel`"),
            (json!({ "keys_createKey": { "title": " " } }), "keys_createKey.title must have from 1 to 80"),
            (
                json!({ "keys_createKey": { "description": long } }),
                "keys_createKey.description must have from 1 to 300",
            ),
            (json!({ "keys_createKey": { "description": "a\nb" } }), "line breaks"),
            (json!({ "keys_createKey": { "description": "a\u{202e}b" } }), "nobody sees"),
        ] {
            let fault = Catalogue::new().with_texts(&file.to_string()).err().unwrap();
            assert!(fault.contains(expected), "{file}: {fault}");
        }
    }
}
