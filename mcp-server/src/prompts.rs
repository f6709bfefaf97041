//! Prompts: ready-made ways to begin a conversation, which people choose from a menu of their client.
//!
//! They are Markdown files: those of the folder `prompts/` of the repository are compiled in, and an operator's folder
//! adds others or has its own of the same name. A prompt names the tools that it needs; who does not see all of them is
//! not shown it. What a user says is put in as data.

mod file;
mod folder;
mod text;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use keyrack_core::Error;
use keyrack_core::catalogue::Toolset;
use rmcp::ErrorData;
use rmcp::model::{
    ContentBlock, EmbeddedResource, GetPromptResult, JsonObject, Prompt as Listed, PromptArgument, PromptMessage,
    Role,
};
use serde_json::Value;

use crate::audience::Audience;
use crate::catalogue::Catalogue;
use crate::hygiene;
use crate::resources::{self, Documents};
use crate::suggestions::Source;
use crate::view::View;
use text::{Filling, Text};

/// Characters of a value that a user says.
const LONGEST_VALUE: usize = 2000;
/// Characters of a name that is repeated.
const SHOWN: usize = 64;
/// How three tools run all operations.
const COMPACT: &str = "\n\nThe tools named above are operations here: keyrack_find shows how one is called, keyrack_read and \
                       keyrack_write run them.";

/// The prompts that are compiled in.
const SOURCES: [&str; 12] = [
    include_str!("../../prompts/add_verification.md"),
    include_str!("../../prompts/create_key.md"),
    include_str!("../../prompts/debug_verification.md"),
    include_str!("../../prompts/design_roles.md"),
    include_str!("../../prompts/explain_rate_limit.md"),
    include_str!("../../prompts/rate_limit_tiers.md"),
    include_str!("../../prompts/review_permissions.md"),
    include_str!("../../prompts/revoke_access.md"),
    include_str!("../../prompts/rotate_key.md"),
    include_str!("../../prompts/stale_keys.md"),
    include_str!("../../prompts/top_keys.md"),
    include_str!("../../prompts/usage_report.md"),
];

/// A line of a file that makes no sense.
#[derive(Debug, PartialEq, Eq)]
struct Fault {
    line: usize,
    what: String,
}

/// A prompt.
#[derive(Debug)]
struct Prompt {
    name: String,
    title: String,
    description: String,
    /// Those it is about, of each of which a caller has to see something.
    toolsets: Vec<Toolset>,
    arguments: Vec<Argument>,
    /// Addresses of documentation that goes with it, each with the line that names it.
    resources: Vec<(usize, String)>,
    /// The tools that it needs.
    tools: Vec<String>,
    text: Text,
}

/// Something that a user says.
#[derive(Debug)]
struct Argument {
    name: String,
    description: String,
    required: bool,
    source: Option<Source>,
}

/// All prompts of a server.
#[derive(Debug)]
pub struct Prompts(BTreeMap<String, Prompt>);

impl Prompts {
    /// Those that are compiled in.
    pub fn built_in() -> Arc<Prompts> {
        static BUILT_IN: LazyLock<Arc<Prompts>> = LazyLock::new(|| Arc::new(Prompts::of_sources()));
        Arc::clone(&BUILT_IN)
    }

    /// What makes no sense among them is none of them; a test reads each.
    fn of_sources() -> Prompts {
        let read = SOURCES.into_iter().filter_map(|source| file::read(source).ok());
        Prompts(read.map(|prompt| (prompt.name.clone(), prompt)).collect())
    }

    /// Those that are compiled in and those of a folder, which win over one of the same name.
    ///
    /// # Errors
    /// What of the folder cannot be read or makes no sense: file, line, and what to do, as the end of a sentence.
    pub fn with_folder(folder: &Path, catalogue: &Catalogue) -> Result<Prompts, String> {
        let mut prompts = Prompts::of_sources();
        for prompt in folder::read(folder)? {
            let is_there = |address: &str| resources::public(catalogue, &Documents::default(), address).is_some();
            if let Some((line, address)) = prompt.resources.iter().find(|(_, address)| !is_there(address)) {
                return Err(format!("{}.md, line {line}: there is no public resource `{address}`", prompt.name));
            }
            prompts.0.insert(prompt.name.clone(), prompt);
        }
        Ok(prompts)
    }

    /// Those that somebody is shown.
    pub(crate) fn listed(&self, audience: &Audience<'_>) -> Vec<Listed> {
        let shown = self.0.values().filter(|prompt| prompt.hidden(audience).is_none());
        shown.map(|prompt| prompt.listed(audience.view)).collect()
    }

    /// Where the values of an argument come from, if from anywhere.
    ///
    /// # Errors
    /// When the caller is not shown such a prompt, or it has no such argument.
    pub(crate) fn source(
        &self,
        audience: &Audience<'_>,
        name: &str,
        argument: &str,
    ) -> Result<Option<Source>, ErrorData> {
        let prompt = self.find(audience, name)?;
        let mut arguments = prompt.arguments(audience.view);
        let found = arguments.find(|known| known.name == argument);
        found.map(|found| found.source.clone()).ok_or_else(|| prompt.no_argument(audience.view, argument))
    }

    /// A prompt with what the user said in it.
    ///
    /// # Errors
    /// When the caller is not shown it, or what was said is not what it takes.
    pub(crate) fn get(
        &self,
        audience: &Audience<'_>,
        documents: &Documents,
        name: &str,
        said: JsonObject,
    ) -> Result<GetPromptResult, ErrorData> {
        let prompt = self.find(audience, name)?;
        let said = prompt.read(audience.view, said)?;
        let sees = |tool: &str| audience.sees_tool(tool);
        let mut text = prompt.text.filled(&Filling { said: &said, now: audience.backend.now(), sees: &sees });
        if audience.view.is_compact() {
            text.push_str(COMPACT);
        }
        let mut messages = vec![PromptMessage::new_text(Role::User, text)];
        for (_, address) in &prompt.resources {
            let read = resources::public(audience.catalogue, documents, address).into_iter();
            let contents = read.flat_map(|read| read.contents);
            messages.extend(contents.map(|contents| {
                PromptMessage::new(Role::User, ContentBlock::Resource(EmbeddedResource::new(contents)))
            }));
        }
        Ok(GetPromptResult::new(messages).with_description(prompt.description.clone()))
    }

    fn find(&self, audience: &Audience<'_>, name: &str) -> Result<&Prompt, ErrorData> {
        let shown = hygiene::line(name, SHOWN);
        let Some(prompt) = self.0.get(name) else {
            let names: Vec<String> = self.listed(audience).into_iter().map(|prompt| prompt.name).collect();
            let known = match names.as_slice() {
                [] => "There are none here.".to_owned(),
                names => format!("There are {}.", names.join(", ")),
            };
            return Err(invalid(&format!("There is no prompt `{shown}`. {known}")));
        };
        match prompt.hidden(audience) {
            None => Ok(prompt),
            Some(why) => {
                let why = audience.catalogue.in_tool_names(why.detail());
                Err(invalid(&format!("There is no prompt `{shown}` here. {why}")))
            }
        }
    }
}

impl Prompt {
    /// Why somebody is not shown it: a tool that it needs is hidden, or all of a toolset that it is about.
    fn hidden(&self, audience: &Audience<'_>) -> Option<Error> {
        let mut tools = self.tools.iter().filter_map(|tool| audience.catalogue.find(tool));
        let of_tools = tools.find_map(|offer| audience.misses(offer));
        of_tools.or_else(|| self.toolsets.iter().find_map(|toolset| audience.misses_all(*toolset)))
    }

    /// What it takes in a view: one of an API does not ask for that.
    fn arguments(&self, view: &View) -> impl Iterator<Item = &Argument> {
        let is_pinned = view.api().is_some();
        let is_known = move |argument: &&Argument| {
            is_pinned && !argument.required && argument.source.as_ref().is_some_and(Source::is_of_apis)
        };
        self.arguments.iter().filter(move |argument| !is_known(argument))
    }

    fn listed(&self, view: &View) -> Listed {
        let arguments = self.arguments(view).map(|argument| {
            PromptArgument::new(&argument.name)
                .with_description(&argument.description)
                .with_required(argument.required)
        });
        let arguments: Vec<PromptArgument> = arguments.collect();
        let arguments = (!arguments.is_empty()).then_some(arguments);
        Listed::new(&self.name, Some(&self.description), arguments).with_title(&self.title)
    }

    /// Reads what the user said. What is empty was not said.
    fn read(&self, view: &View, said: JsonObject) -> Result<BTreeMap<String, String>, ErrorData> {
        let mut read = BTreeMap::new();
        for (name, value) in said {
            if !self.arguments(view).any(|argument| argument.name == name) {
                return Err(self.no_argument(view, &name));
            }
            let value = match value {
                Value::Null => continue,
                Value::String(text) => hygiene::seen(&text),
                Value::Number(_) | Value::Bool(_) => value.to_string(),
                Value::Array(_) | Value::Object(_) => {
                    return Err(invalid(&format!("`{name}` must be a text.")));
                }
            };
            if value.chars().count() > LONGEST_VALUE {
                return Err(invalid(&format!("`{name}` has more than {LONGEST_VALUE} characters.")));
            }
            if !value.trim().is_empty() {
                read.insert(name, value.trim().to_owned());
            }
        }
        let mut missing =
            self.arguments(view).filter(|argument| argument.required && !read.contains_key(&argument.name));
        match missing.next() {
            Some(argument) => Err(invalid(&format!("`{}` is required: {}", argument.name, argument.description))),
            None => Ok(read),
        }
    }

    fn no_argument(&self, view: &View, name: &str) -> ErrorData {
        let known: Vec<&str> = self.arguments(view).map(|argument| argument.name.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        invalid(&format!(
            "The prompt `{}` has no argument `{}`; it has {known}.",
            self.name,
            hygiene::line(name, SHOWN)
        ))
    }
}

fn invalid(what: &str) -> ErrorData {
    ErrorData::invalid_params(what.to_owned(), None)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::catalogue::tests::CATALOGUE;

    #[test]
    fn every_prompt_that_is_compiled_in_can_be_read() {
        for source in SOURCES {
            let prompt = file::read(source).unwrap_or_else(|fault| panic!("{fault:?} in {source}"));
            assert!(!prompt.toolsets.is_empty(), "{}", prompt.name);
            for (_, address) in &prompt.resources {
                assert!(resources::public(&CATALOGUE, &Documents::default(), address).is_some(), "{address}");
            }
            // A prompt says which toolsets it is about: those of the tools that it needs.
            for tool in &prompt.tools {
                let toolset = CATALOGUE.find(tool).unwrap().about.toolset();
                assert!(prompt.toolsets.contains(&toolset), "{}: {tool} is of {}", prompt.name, toolset.name());
            }
        }
        assert_eq!(Prompts::built_in().0.len(), SOURCES.len(), "two have one name");
    }

    fn of_folder(files: &[(&str, &[u8])]) -> Result<Prompts, String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        Prompts::with_folder(folder.path(), &CATALOGUE)
    }

    const OWN: &str =
        "---\nname: own\ntitle: Own\ndescription: Of the house.\ntoolsets: keys\n---\nList `keys_listKeys`.\n";

    #[test]
    fn a_folder_adds_prompts_and_replaces_those_of_the_same_name() {
        let usage = OWN.replace("name: own", "name: usage_report");
        let files: [(&str, &[u8]); 3] =
            [("own.md", OWN.as_bytes()), ("usage_report.md", usage.as_bytes()), (".hidden", b"\xff")];
        let prompts = of_folder(&files).unwrap();
        assert_eq!(prompts.0.len(), SOURCES.len() + 1);
        assert_eq!(prompts.0["usage_report"].title, "Own");
    }

    #[test]
    fn a_broken_file_is_said_with_its_name_its_line_and_what_to_do() {
        let resource = OWN.replace("toolsets: keys", "toolsets: keys\nresources: keyrack://docs/nothing");
        let long = format!("{OWN}{}", "x".repeat(17_000));
        for (name, text, expected) in [
            ("own.md", OWN.replace("title", "titel").as_bytes(), "own.md, line 3: `titel` is nothing to say here"),
            ("other.md", OWN.as_bytes(), "other.md: its `name` is `own`; call the file own.md"),
            ("own.txt", OWN.as_bytes(), "own.txt: prompts are files that end in .md"),
            (
                "own.md",
                resource.as_bytes(),
                "own.md, line 6: there is no public resource `keyrack://docs/nothing`",
            ),
            ("own.md", long.as_bytes(), "own.md: it has more than 16384 bytes"),
            ("own.md", b"\xff\xfe".as_slice(), "own.md: it is not text in UTF-8"),
            ("\u{202e}own.md", OWN.as_bytes(), "name` is `own`"),
        ] {
            let refusal = of_folder(&[(name, text)]).unwrap_err();
            assert!(refusal.contains(expected) && !refusal.contains('\u{202e}'), "{refusal}");
        }
        assert!(of_folder(&[]).unwrap_err().contains("no file"));
        let many: Vec<(String, Vec<u8>)> = (0..101).map(|at| (format!("{at}.md"), Vec::new())).collect();
        let many: Vec<(&str, &[u8])> = many.iter().map(|(name, text)| (name.as_str(), text.as_slice())).collect();
        assert!(of_folder(&many).unwrap_err().contains("more than 100 files"));
        let nowhere = tempfile::tempdir().unwrap().path().join("nowhere");
        assert!(Prompts::with_folder(&nowhere, &CATALOGUE).unwrap_err().contains("cannot be read"));
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("own.md")).unwrap();
        assert!(Prompts::with_folder(folder.path(), &CATALOGUE).unwrap_err().contains("own.md: it is no file"));
    }
}
