//! What an assistant is to see: flags that become arguments of `keyrack mcp`, or the query of a server's address.

use clap::{Arg, ArgAction, ArgMatches, Command};
use keyrack_core::catalogue::Toolset;
use reqwest::Url;

use crate::assistants;

/// The view with three tools, for small contexts.
const COMPACT: &str = "compact";
/// Words for several toolsets.
const GROUPS: [&str; 2] = ["all", "default"];

/// The wishes of one configuration, checked.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wishes {
    /// Name on the command line, and value.
    named: Vec<(&'static str, String)>,
    read_only: bool,
    compact: bool,
}

/// Adds the flags to a command.
pub(super) fn add_flags(command: Command) -> Command {
    let list = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("NAMES").help(help).help_heading("What the assistant sees")
    };
    let command = command
        .arg(list("toolsets", "Groups of tools, with commas: such as keys,analytics"))
        .arg(list("tools", "Single tools, with commas: such as keys_getKey"))
        .arg(list("exclude-tools", "Tools to leave out, with commas"));
    let heading = "What the assistant sees";
    command
        .arg(
            Arg::new("read-only")
                .long("read-only")
                .action(ArgAction::SetTrue)
                .help("Only tools that change nothing")
                .help_heading(heading),
        )
        .arg(
            Arg::new("api")
                .long("api")
                .value_name("API_ID")
                .help("Only what belongs to this API")
                .help_heading(heading),
        )
        .arg(
            Arg::new("view")
                .long("view")
                .value_parser([COMPACT])
                .help("compact: three tools that reach all others, for small contexts")
                .help_heading(heading),
        )
}

impl Wishes {
    /// The wishes of the command line.
    ///
    /// # Errors
    /// Names what there is instead of a name that there is not.
    pub(super) fn of(matches: &ArgMatches) -> Result<Wishes, String> {
        let text = |name: &str| matches.get_one::<String>(name).cloned();
        let mut wishes = Wishes {
            read_only: matches.get_flag("read-only"),
            compact: text("view").is_some(),
            ..Wishes::default()
        };
        for (name, known) in
            [("toolsets", toolsets as fn() -> Vec<String>), ("tools", tools), ("exclude-tools", tools)]
        {
            if let Some(names) = text(name) {
                wishes.named.push((name, checked(name, &names, &known())?));
            }
        }
        if let Some(api) = text("api") {
            let is_id =
                api.starts_with("api_") && api.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            if !is_id {
                return Err(
                    "--api wants the id of an API, such as api_…; `keyrack api apis list-apis` shows them"
                        .to_owned(),
                );
            }
            wishes.named.push(("api", api));
        }
        Ok(wishes)
    }

    /// As arguments of `keyrack mcp`.
    pub(super) fn arguments(&self) -> Vec<String> {
        let named = self.named.iter().flat_map(|(name, value)| [format!("--{name}"), value.clone()]);
        let read_only = self.read_only.then(|| "--read-only".to_owned());
        let view = if self.compact { vec!["--view".to_owned(), COMPACT.to_owned()] } else { Vec::new() };
        named.chain(read_only).chain(view).collect()
    }

    /// As part of the MCP address of a server.
    pub(super) fn applied(&self, mut url: Url) -> Url {
        if self.compact {
            let path = format!("{}/{COMPACT}", url.path().trim_end_matches('/'));
            url.set_path(&path);
        }
        // Commas stay as they are: people read these addresses.
        let named = self.named.iter().map(|(name, value)| format!("{}={value}", name.replace('-', "_")));
        let query: Vec<String> = named.chain(self.read_only.then(|| "read_only=true".to_owned())).collect();
        if !query.is_empty() {
            url.set_query(Some(&query.join("&")));
        }
        url
    }
}

fn toolsets() -> Vec<String> {
    let names = Toolset::ALL.iter().map(|toolset| toolset.name());
    names.chain(GROUPS).map(str::to_owned).collect()
}

fn tools() -> Vec<String> {
    assistants::catalogue().offers().iter().map(|offer| offer.tool.name.to_string()).collect()
}

fn checked(flag: &str, names: &str, known: &[String]) -> Result<String, String> {
    let names: Vec<&str> = names.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    if let Some(unknown) = names.iter().find(|name| !known.iter().any(|known| known == *name)) {
        return Err(format!("--{flag}: there is no `{unknown}`; there are {}", known.join(", ")));
    }
    if names.is_empty() {
        return Err(format!("--{flag} names nothing"));
    }
    Ok(names.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes(arguments: &[&str]) -> Result<Wishes, String> {
        let command = add_flags(Command::new("x"));
        Wishes::of(&command.try_get_matches_from([&["x"], arguments].concat()).unwrap())
    }

    #[test]
    fn the_same_wishes_are_arguments_here_and_a_query_there() {
        let wishes = wishes(&[
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
            wishes.arguments().join(" "),
            "--toolsets keys,analytics --exclude-tools keys_deleteKey --api api_1 --read-only --view compact"
        );
        let url = wishes.applied(Url::parse("https://h/base/mcp").unwrap());
        assert_eq!(
            url.as_str(),
            "https://h/base/mcp/compact?toolsets=keys,analytics&exclude_tools=keys_deleteKey&api=api_1&read_only=true"
        );
        let none = Wishes::default();
        assert_eq!(none.applied(Url::parse("https://h/mcp").unwrap()).as_str(), "https://h/mcp");
        assert!(none.arguments().is_empty());
    }

    #[test]
    fn what_there_is_not_is_refused_with_what_there_is() {
        let error = wishes(&["--toolsets", "keys,kyes"]).unwrap_err();
        assert!(error.contains("`kyes`") && error.contains("analytics"), "{error}");
        for wrong in [["--tools", "keys_fly"], ["--exclude-tools", ","], ["--api", "payments"]] {
            assert!(wishes(&wrong).is_err(), "{wrong:?}");
        }
    }
}
