//! A prompt as a file: what it is called and takes between two lines of `---`, then its text.
//!
//! ```text
//! ---
//! name: create_key
//! title: Create an API key
//! description: Issues a key with the limits and the expiry that you name.
//! toolsets: apis, keys
//! resources: keyrack://schemas/keys_createKey
//! arguments:
//! - name: api
//!   description: The API, by its id or name.
//!   required: true
//!   completion: apiId
//! ---
//! Create a key in the API {{api}} …
//! ```

use keyrack_core::catalogue::Toolset;
use keyrack_core::printable::is_invisible;

use super::text::{NOW, Text};
use super::{Argument, Fault, Prompt};
use crate::suggestions::Source;

const EDGE: &str = "---";
/// Characters of a name; clients put their own name before it, and a `/`.
const LONGEST_NAME: usize = 34;
const LONGEST_TITLE: usize = 60;
const LONGEST_DESCRIPTION: usize = 200;
const LONGEST_ARGUMENT: usize = 120;
const LONGEST_TEXT: usize = 8 << 10;
const MOST_ARGUMENTS: usize = 10;
const MOST_RESOURCES: usize = 3;
const OF_PROMPTS: [&str; 6] = ["name", "title", "description", "toolsets", "resources", "arguments"];
const OF_ARGUMENTS: [&str; 4] = ["name", "description", "required", "completion"];

/// What a line says of one thing, and where.
struct Said<'a> {
    line: usize,
    name: &'a str,
    value: &'a str,
}

/// What is said of the prompt, and of each argument.
#[derive(Default)]
struct Front<'a> {
    prompt: Vec<Said<'a>>,
    arguments: Vec<Vec<Said<'a>>>,
}

/// Reads a file.
///
/// # Errors
/// The first line that makes no sense, why, and what to write.
pub(super) fn read(file: &str) -> Result<Prompt, Fault> {
    let file = file.strip_prefix('\u{feff}').unwrap_or(file);
    let is_unseen = |character: char| is_invisible(character) && !matches!(character, '\n' | '\r' | '\t');
    if let Some(line) = file.lines().position(|line| line.contains(is_unseen)) {
        return fault(line + 1, "the line has a character that nobody sees; take it out");
    }
    let lines: Vec<&str> = file.lines().collect();
    if lines.first().is_none_or(|line| line.trim_end() != EDGE) {
        return fault(1, "a prompt begins with a line of `---`, then `name: …` and the other entries");
    }
    let end = lines.iter().skip(1).position(|line| line.trim_end() == EDGE);
    let Some(end) = end.map(|end| end + 1) else {
        return fault(lines.len(), "the entries at the beginning do not end; put a line of `---` after them");
    };
    let front = front(lines.get(1..end).unwrap_or_default())?;
    let arguments = front.arguments.iter().map(|said| argument(said)).collect::<Result<Vec<_>, _>>()?;
    let body = lines.get(end + 1..).unwrap_or_default().join("\n");
    if body.trim().is_empty() || body.len() > LONGEST_TEXT {
        return fault(end + 2, &format!("the text of a prompt has 1 to {LONGEST_TEXT} bytes"));
    }
    let names: Vec<&str> = arguments.iter().map(|argument| argument.name.as_str()).collect();
    if let Some(name) = names.iter().enumerate().find_map(|(at, name)| names[..at].contains(name).then_some(name))
    {
        return fault(1, &format!("there are two arguments `{name}`"));
    }
    let text = Text::read(&body, end + 2, &names)?;
    Ok(Prompt {
        name: text_of(&front.prompt, "name", LONGEST_NAME, is_name)?,
        title: text_of(&front.prompt, "title", LONGEST_TITLE, |_| true)?,
        description: text_of(&front.prompt, "description", LONGEST_DESCRIPTION, |_| true)?,
        toolsets: toolsets(&front.prompt)?,
        resources: resources(&front.prompt)?,
        arguments,
        tools: text.tools(),
        text,
    })
}

fn fault<T>(line: usize, what: &str) -> Result<T, Fault> {
    Err(Fault { line, what: what.to_owned() })
}

/// Names of prompts and of arguments.
pub(super) fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    name.len() <= LONGEST_NAME
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(is_plain)
}

fn front<'a>(lines: &[&'a str]) -> Result<Front<'a>, Fault> {
    let mut front = Front::default();
    for (at, line) in lines.iter().enumerate() {
        let number = at + 2;
        if line.trim().is_empty() {
            continue;
        }
        let is_inner = line.starts_with([' ', '\t', '-']);
        let is_first = line.trim_start().strip_prefix("- ");
        let Some((name, value)) = is_first.unwrap_or(line).split_once(':') else {
            return fault(number, "a line here is `name: value`");
        };
        let said = Said { line: number, name: name.trim(), value: value.trim() };
        let known: &[&str] = if is_inner { &OF_ARGUMENTS } else { &OF_PROMPTS };
        if !known.contains(&said.name) {
            return fault(
                number,
                &format!("`{}` is nothing to say here; known are {}", said.name, known.join(", ")),
            );
        }
        if is_first.is_some() {
            front.arguments.push(Vec::new());
        }
        let among = if is_inner { front.arguments.last_mut() } else { Some(&mut front.prompt) };
        let Some(among) = among else {
            return fault(number, "an argument begins with `- name: …` below `arguments:`");
        };
        if among.iter().any(|before| before.name == said.name) {
            return fault(number, &format!("`{}` is said twice", said.name));
        }
        among.push(said);
    }
    if front.arguments.len() > MOST_ARGUMENTS {
        return fault(2, &format!("a prompt has at most {MOST_ARGUMENTS} arguments"));
    }
    Ok(front)
}

fn said<'a, 'b>(all: &'a [Said<'b>], name: &str) -> Option<&'a Said<'b>> {
    all.iter().find(|said| said.name == name)
}

fn text_of(all: &[Said<'_>], name: &str, longest: usize, is_fine: impl Fn(&str) -> bool) -> Result<String, Fault> {
    let line = all.first().map_or(2, |first| first.line);
    let Some(said) = said(all, name) else {
        return fault(line, &format!("`{name}: …` is missing"));
    };
    if said.value.is_empty() || said.value.chars().count() > longest || !is_fine(said.value) {
        let what = if name == "name" { "small letters, digits and `_`, a letter first" } else { "text" };
        return fault(said.line, &format!("`{name}` must be 1 to {longest} characters of {what}"));
    }
    Ok(said.value.to_owned())
}

fn argument(all: &[Said<'_>]) -> Result<Argument, Fault> {
    let name = text_of(all, "name", LONGEST_NAME, |name| is_name(name) && name != NOW)?;
    let required = match said(all, "required").map(|said| (said.line, said.value)) {
        None | Some((_, "false")) => false,
        Some((_, "true")) => true,
        Some((line, _)) => return fault(line, "`required` must be `true` or `false`"),
    };
    let source = match said(all, "completion") {
        None => None,
        Some(said) => match Source::read(said.value) {
            Ok(source) => Some(source),
            Err(what) => return fault(said.line, &format!("`completion`: {what}")),
        },
    };
    Ok(Argument { name, description: text_of(all, "description", LONGEST_ARGUMENT, |_| true)?, required, source })
}

fn toolsets(all: &[Said<'_>]) -> Result<Vec<Toolset>, Fault> {
    let known = || Toolset::ALL.map(Toolset::name).join(", ");
    let Some(said) = said(all, "toolsets") else {
        return fault(2, &format!("`toolsets: …` is missing; there are {}", known()));
    };
    let names = said.value.split(',').map(str::trim).map(|name| {
        let toolset = Toolset::ALL.into_iter().find(|toolset| toolset.name() == name);
        toolset.ok_or_else(|| Fault {
            line: said.line,
            what: format!("there is no toolset `{name}`; there are {}", known()),
        })
    });
    names.collect()
}

/// Addresses of documentation that goes with the text; whether they are there is seen where that is.
fn resources(all: &[Said<'_>]) -> Result<Vec<(usize, String)>, Fault> {
    let Some(said) = said(all, "resources") else { return Ok(Vec::new()) };
    let addresses: Vec<_> = said.value.split(',').map(|address| (said.line, address.trim().to_owned())).collect();
    if addresses.len() > MOST_RESOURCES {
        return fault(said.line, &format!("a prompt brings at most {MOST_RESOURCES} resources"));
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "---\nname: rotate\ntitle: Rotate: a key\ndescription: Replaces it.\ntoolsets: keys, apis\n\
                        arguments:\n- name: key_id\n  description: Which.\n  required: true\n  completion: keyId\n\
                        - name: how\n  description: How.\n  completion: [soon, now]\n---\n\nRotate {{key_id}} {{how}} with\n  `keys_rerollKey`.\n";

    #[test]
    fn a_file_says_all_of_a_prompt() {
        for file in [FILE.to_owned(), FILE.replace('\n', "\r\n"), format!("\u{feff}{FILE}")] {
            let prompt = read(&file).unwrap();
            assert_eq!((prompt.name.as_str(), prompt.title.as_str()), ("rotate", "Rotate: a key"));
            assert_eq!(prompt.toolsets, [Toolset::Keys, Toolset::Apis]);
            let arguments: Vec<_> = prompt
                .arguments
                .iter()
                .map(|one| (one.name.as_str(), one.required, one.source.is_some()))
                .collect();
            assert_eq!(arguments, [("key_id", true, true), ("how", false, true)]);
            assert_eq!(prompt.tools, ["keys_rerollKey"]);
        }
    }

    #[test]
    fn a_broken_file_is_refused_with_its_line_and_what_to_write() {
        let changed = |from: &str, to: &str| {
            assert!(FILE.contains(from), "{from}");
            FILE.replacen(from, to, 1)
        };
        for (file, line, expected) in [
            (String::new(), 1, "begins with a line of `---`"),
            ("# A prompt\n".to_owned(), 1, "begins with a line of `---`"),
            (changed("---\n\nRotate", "\nRotate"), 16, "put a line of `---`"),
            (changed("name: rotate\n", ""), 2, "`name: …` is missing"),
            (changed("name: rotate", "name: Rotate-it"), 2, "small letters"),
            (changed("title: Rotate: a key", "title:"), 3, "1 to 60 characters"),
            (changed("title", "titel"), 3, "`titel` is nothing to say here; known are name, title"),
            (changed("title: Rotate: a key", "name: again"), 3, "`name` is said twice"),
            (changed("title: Rotate: a key", "no colon"), 3, "`name: value`"),
            (changed("keys, apis", "keys, apps"), 5, "no toolset `apps`; there are context"),
            (changed("- name: key_id", "  name: key_id"), 7, "begins with `- name: …`"),
            (changed("key_id\n", "now\n"), 7, "small letters"),
            (changed("required: true", "required: yes"), 9, "`true` or `false`"),
            (changed("completion: keyId", "completion: keys"), 10, "`completion`: must be one of operation"),
            (changed("  description: How.\n", ""), 11, "`description: …` is missing"),
            (changed("- name: how", "- name: key_id"), 1, "two arguments `key_id`"),
            (changed("Rotate {{key_id}}", "Rotate {{key}}"), 16, "{{key}} is no argument"),
            (changed("rerollKey", "rerolKey"), 16, "did you mean `keys_rerollKey`?"),
            (changed("Rotate {{key_id}}", "\u{202e}Rotate {{key_id}}"), 16, "nobody sees"),
            (changed("{{how}} with\n", &format!("{{{{how}}}} {}\n", "x".repeat(9000))), 15, "8192 bytes"),
            (
                changed("arguments:", &format!("resources: {}\narguments:", "a,".repeat(5))),
                6,
                "at most 3 resources",
            ),
        ] {
            let fault = read(&file).expect_err(expected);
            assert!(fault.line == line && fault.what.contains(expected), "{expected}: {fault:?}");
        }
    }
}
