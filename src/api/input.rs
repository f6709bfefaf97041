//! What a command reads besides its arguments: standard input, at most once, and files.

use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Read};
use std::path::Path;

use keyrack_core::json;
use keyrack_core::keys::secret::Secret;
use serde_json::Value;

use super::failure::Failure;
use crate::printable;

/// Standard input, and which flag took it.
pub(crate) struct Inputs {
    stdin: Box<dyn Read>,
    is_terminal: bool,
    taken_by: Option<String>,
}

impl Inputs {
    /// Those of this process.
    pub(crate) fn of_process() -> Self {
        Inputs::new(Box::new(io::stdin()), io::stdin().is_terminal())
    }

    /// Those of a test.
    pub(crate) fn new(stdin: Box<dyn Read>, is_terminal: bool) -> Self {
        Inputs { stdin, is_terminal, taken_by: None }
    }

    /// A secret from a file, or from standard input for `-`, or if no file is named and somebody pipes.
    /// One line break at its end does not belong to it.
    pub(crate) fn secret(&mut self, flag: &str, path: Option<&str>) -> Result<Secret, Failure> {
        if path.is_none() && self.is_terminal {
            return Err(Failure::Usage(format!(
                "the secret is missing: name a file with {flag} PATH, or pipe it in, as in \
                 `printf %s \"$KEY\" | keyrack api …`. Secrets are not taken from arguments, which others can see."
            )));
        }
        let text = self.text(flag, path.unwrap_or("-"))?;
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() {
            return Err(Failure::Usage(format!("the secret for {flag} is empty")));
        }
        Ok(Secret::from_string(line.to_owned()))
    }

    /// JSON given as itself, as `@file`, or as `-` for standard input.
    pub(crate) fn json(&mut self, flag: &str, argument: &str) -> Result<Value, Failure> {
        let text = self.given(flag, argument)?;
        json::read(text.as_bytes()).map_err(|error| Failure::Usage(format!("{flag} is not JSON: {error}")))
    }

    /// A text given as itself, as `@file`, or as `-` for standard input.
    pub(crate) fn given(&mut self, flag: &str, argument: &str) -> Result<String, Failure> {
        match (argument, argument.strip_prefix('@')) {
            ("-", _) => self.text(flag, "-"),
            (_, Some(path)) => self.text(flag, path),
            (literal, None) => Ok(literal.to_owned()),
        }
    }

    /// Asks a question that is answered with yes or no, and no if with neither; `None` where nobody can be asked.
    pub(super) fn agrees(&mut self, question: &str) -> Option<bool> {
        if !self.is_terminal || self.taken_by.is_some() {
            return None;
        }
        eprint!("{}", printable::line(question));
        let mut answer = String::new();
        // A line that cannot be read is no yes.
        let _ = BufReader::new(&mut self.stdin).read_line(&mut answer);
        Some(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
    }

    fn text(&mut self, flag: &str, path: &str) -> Result<String, Failure> {
        if path != "-" {
            let read = std::fs::read_to_string(Path::new(path));
            return read.map_err(|error| Failure::Usage(format!("{flag}: {path} cannot be read: {error}")));
        }
        if let Some(other) = &self.taken_by {
            return Err(Failure::Usage(format!("standard input cannot be both {other} and {flag}")));
        }
        self.taken_by = Some(flag.to_owned());
        let mut text = String::new();
        match self.stdin.read_to_string(&mut text) {
            Ok(_) => Ok(text),
            Err(error) => Err(Failure::Usage(format!("{flag}: standard input cannot be read: {error}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn piped(text: &'static str) -> Inputs {
        Inputs::new(Box::new(Cursor::new(text)), false)
    }

    #[test]
    fn a_secret_is_a_line_of_standard_input() {
        for text in ["sk_1", "sk_1\n", "sk_1\r\n"] {
            assert_eq!(piped(text).secret("--key-file", None).unwrap().expose(), "sk_1");
        }
        assert!(matches!(piped("\n").secret("--key-file", Some("-")), Err(Failure::Usage(_))));
    }

    #[test]
    fn nobody_is_asked_for_a_secret_at_a_terminal() {
        let mut terminal = Inputs::new(Box::new(io::empty()), true);
        let Err(Failure::Usage(text)) = terminal.secret("--key-file", None) else { panic!("refused") };
        assert!(text.contains("--key-file PATH"), "{text}");
    }

    #[test]
    fn standard_input_is_read_once() {
        let mut inputs = piped("{}");
        inputs.json("--json", "-").unwrap();
        let Err(Failure::Usage(text)) = inputs.secret("--key-file", None) else { panic!("refused") };
        assert_eq!(text, "standard input cannot be both --json and --key-file");
    }

    #[test]
    fn json_is_a_literal_or_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), r#"{"a":1}"#).unwrap();
        let at = format!("@{}", file.path().display());
        assert_eq!(piped("").json("--meta-json", &at).unwrap()["a"], 1);
        assert_eq!(piped("").json("--meta-json", "[]").unwrap(), serde_json::json!([]));
        let Err(Failure::Usage(text)) = piped("").json("--meta-json", "{") else { panic!("refused") };
        assert!(text.starts_with("--meta-json is not JSON"), "{text}");
    }
}
