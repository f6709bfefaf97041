//! The flags that commands make of settings.

use clap::{Arg, Command};

use super::list::facts;
use super::setting::{Facts, For, Shown};

/// What names of settings begin with that say what assistants see.
const WISHES: &str = "mcp-";
/// What stands for a value that is true or false.
const TRUTH: &str = "true|false";

/// A group of settings that a command takes as flags.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Flags {
    /// `keyrack serve`
    Serve,
    /// `keyrack mcp`
    Mcp,
    /// Commands that only open the database.
    Data,
    /// `keyrack doctor`, which looks at all of them.
    Every,
}

impl Flags {
    fn include(self, used_by: For) -> bool {
        match (self, used_by) {
            (_, For::All | For::Data) | (Flags::Every, _) => true,
            (Flags::Serve, For::Serve | For::Running) | (Flags::Mcp, For::Running | For::Acting) => true,
            (Flags::Serve, For::Acting) | (Flags::Mcp, For::Serve) => false,
            (Flags::Data, _) | (_, For::Calling) => false,
        }
    }
}

/// Adds the flags of a group to a command. What has no flag is named in its help.
pub(crate) fn add_flags(command: Command, flags: Flags) -> Command {
    let mut secrets = String::new();
    let mut command = command;
    for facts in facts().filter(|facts| flags.include(facts.used_by)) {
        if facts.is_secret {
            secrets.push_str(&format!("\n  {}  {}", facts.variable(), facts.help));
        } else {
            let flag = facts.flag();
            // Said without a value, it is meant.
            let is_truth = facts.is_wish && facts.value == TRUTH;
            let flag = if is_truth { flag.num_args(0..=1).default_missing_value("true") } else { flag };
            command = command.arg(match (flags, facts.is_wish, facts.name.strip_prefix(WISHES)) {
                (Flags::Mcp, true, Some(short)) => flag.long(short).alias(facts.name),
                _ => flag,
            });
        }
    }
    if secrets.is_empty() {
        command
    } else {
        command.after_help(format!("Secrets, from the environment only:{secrets}"))
    }
}

impl Facts {
    /// The flag of a setting. It has no default of its own, which would look like a value that somebody gave.
    pub(crate) fn flag(&self) -> Arg {
        let default = match self.default {
            Shown::Value(text) | Shown::Words(text) => format!(" [default: {text}]"),
            Shown::Nothing => String::new(),
        };
        let help = format!("{}{default} [env: {}]", self.help, self.variable());
        Arg::new(self.name).long(self.name).value_name(self.value).help(help)
    }
}
