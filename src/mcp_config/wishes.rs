//! What an assistant is to see: flags that become arguments of `keyrack mcp`, or the query of a server's address. Both know
//! the same wishes, and check them by the same rules.

use clap::{Arg, ArgAction, ArgMatches, Command};
use keyrack_mcp_server::Wish;
use reqwest::Url;

use crate::assistants;

/// Adds the flags to a command.
pub(super) fn add_flags(command: Command) -> Command {
    Wish::ALL.into_iter().fold(command, |command, wish| {
        let (value, help) = match wish {
            Wish::Toolsets => ("NAMES", "Groups of tools, with commas: such as keys,analytics"),
            Wish::Tools => ("NAMES", "Single tools, with commas: such as keys_getKey"),
            Wish::ExcludeTools => ("NAMES", "Tools to leave out, with commas"),
            Wish::ReadOnly => ("", "Only tools that change nothing"),
            Wish::Api => ("ID", "Only what belongs to this API"),
            Wish::View => ("compact", "compact: three tools that stand for all, for models with little room"),
        };
        let flag = Arg::new(wish.name()).long(wish.name().replace('_', "-"));
        let flag = if value.is_empty() { flag.action(ArgAction::SetTrue) } else { flag.value_name(value) };
        command.arg(flag.help(help).help_heading("What the assistant sees"))
    })
}

/// The wishes of one configuration, each with its value.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Asked(Vec<(Wish, String)>);

impl Asked {
    /// The wishes of the command line.
    ///
    /// # Errors
    /// Names what there is instead of a name that there is not.
    pub(super) fn of(matches: &ArgMatches) -> Result<Asked, String> {
        let mut asked = Vec::new();
        for wish in Wish::ALL {
            let text = match wish {
                Wish::ReadOnly => matches.get_flag(wish.name()).then(|| "true".to_owned()),
                _ => matches.get_one::<String>(wish.name()).cloned(),
            };
            let Some(text) = text else { continue };
            assistants::wish(wish, &text)
                .map_err(|what| format!("--{}: {what}", wish.name().replace('_', "-")))?;
            // No argument has a space: some clients cannot pass one on.
            asked.push((wish, text.split_whitespace().collect()));
        }
        Ok(Asked(asked))
    }

    /// As arguments of `keyrack mcp`.
    pub(super) fn arguments(&self) -> impl Iterator<Item = String> {
        self.0.iter().flat_map(|(wish, text)| [format!("--{}", wish.name().replace('_', "-")), text.clone()])
    }

    /// As the query of the MCP address of a server. Commas stay as they are: people read these addresses.
    pub(super) fn applied(&self, mut url: Url) -> Url {
        let query: Vec<String> = self.0.iter().map(|(wish, text)| format!("{}={text}", wish.name())).collect();
        if !query.is_empty() {
            url.set_query(Some(&query.join("&")));
        }
        url
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(arguments: &[&str]) -> Result<Asked, String> {
        let command = add_flags(Command::new("x"));
        Asked::of(&command.try_get_matches_from([&["x"], arguments].concat()).unwrap())
    }

    #[test]
    fn the_same_wishes_are_arguments_here_and_a_query_there() {
        let asked = asked(&[
            "--toolsets",
            "keys, analytics",
            "--exclude-tools",
            "keys_deleteKey",
            "--read-only",
            "--api",
            "api_1",
            "--view",
            "compact",
        ])
        .unwrap();
        assert_eq!(
            asked.arguments().collect::<Vec<_>>().join(" "),
            "--toolsets keys,analytics --exclude-tools keys_deleteKey --read-only true --api api_1 --view compact"
        );
        let url = asked.applied(Url::parse("https://h/base/mcp").unwrap());
        assert_eq!(
            url.as_str(),
            "https://h/base/mcp?toolsets=keys,analytics&exclude_tools=keys_deleteKey&read_only=true&api=api_1&view=compact"
        );
        let none = Asked::default();
        assert_eq!(none.applied(Url::parse("https://h/mcp").unwrap()).as_str(), "https://h/mcp");
        assert_eq!(none.arguments().count(), 0);
    }

    #[test]
    fn what_there_is_not_is_refused_with_what_there_is() {
        let error = asked(&["--toolsets", "keys,kyes"]).unwrap_err();
        assert!(error.contains("`kyes`") && error.contains("analytics"), "{error}");
        for wrong in [["--tools", "keys_fly"], ["--exclude-tools", ","], ["--api", "payments"], ["--view", "tiny"]]
        {
            assert!(asked(&wrong).is_err(), "{wrong:?}");
        }
    }
}
