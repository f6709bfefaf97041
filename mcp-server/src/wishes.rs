//! What is to be shown less than everything: said by an operator for all, or by whoever connects for one connection.
//!
//! Each wish can be said in a header, in the query of the URL, and as a setting of the program; paths say some of them
//! shorter. What is not understood is refused, with what would be: to ignore a misspelt `read_only` would show and allow
//! more than was meant.

use std::collections::BTreeSet;

use axum::http::{HeaderMap, Uri};
use keyrack_core::catalogue::Toolset;
use keyrack_core::ids::Kind;

use crate::catalogue::Catalogue;
use crate::naming::tool_name;

/// Where the paths of MCP begin.
pub(crate) const ROOT: &str = "/mcp";
/// Headers in which clients say what they wish to see begin so, but for one that a proxy of an inspector uses.
const HEADERS: &str = "x-mcp-";
const NO_WISH: &str = "x-mcp-proxy-auth";
/// Names that stand for several toolsets.
const ALL: &str = "all";
const DEFAULT: &str = "default";
/// The view of three tools.
const COMPACT: &str = "compact";

/// Something that can be wished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Groups of tools, separated by commas.
    Toolsets,
    /// Single tools, separated by commas: besides the toolsets, or alone.
    Tools,
    /// Tools that are not to be there, separated by commas.
    ExcludeTools,
    /// Nothing that changes anything.
    ReadOnly,
    /// One API alone, by its id.
    Api,
    /// Another form of the same tools.
    View,
}

impl Wish {
    /// All of them.
    pub const ALL: [Wish; 6] =
        [Wish::Toolsets, Wish::Tools, Wish::ExcludeTools, Wish::ReadOnly, Wish::Api, Wish::View];

    /// Its name in the query of a URL, such as `exclude_tools`; with `-` it is the flag of the program.
    pub const fn name(self) -> &'static str {
        match self {
            Wish::Toolsets => "toolsets",
            Wish::Tools => "tools",
            Wish::ExcludeTools => "exclude_tools",
            Wish::ReadOnly => "read_only",
            Wish::Api => "api",
            Wish::View => "view",
        }
    }

    /// Its header, in small letters. GitHub's server has the same, where it has one.
    pub const fn header(self) -> &'static str {
        match self {
            Wish::Toolsets => "x-mcp-toolsets",
            Wish::Tools => "x-mcp-tools",
            Wish::ExcludeTools => "x-mcp-exclude-tools",
            Wish::ReadOnly => "x-mcp-readonly",
            Wish::Api => "x-mcp-api",
            Wish::View => "x-mcp-view",
        }
    }
}

/// What somebody wishes to be shown. Nothing said is no wish.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wishes {
    toolsets: Option<BTreeSet<Toolset>>,
    tools: Option<BTreeSet<String>>,
    excluded: Option<BTreeSet<String>>,
    read_only: Option<bool>,
    api: Option<String>,
    is_compact: Option<bool>,
}

impl Wishes {
    /// Adds a wish as a text says it.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence: it names nothing that there is, or was said before and differently.
    pub fn add(&mut self, wish: Wish, text: &str, catalogue: &Catalogue) -> Result<(), String> {
        let said = match wish {
            Wish::Toolsets => set(&mut self.toolsets, toolsets(text)?),
            Wish::Tools => set(&mut self.tools, tools(text, catalogue)?),
            Wish::ExcludeTools => set(&mut self.excluded, tools(text, catalogue)?),
            Wish::ReadOnly => set(&mut self.read_only, truth(text)?),
            Wish::Api => set(&mut self.api, api(text)?),
            Wish::View if text.trim() == COMPACT => set(&mut self.is_compact, true),
            Wish::View => return Err(format!("`view` must be `{COMPACT}`")),
        };
        let name = wish.name();
        said.then_some(()).ok_or_else(|| format!("`{name}` is said twice, and differently; say it once"))
    }

    /// The wishes of an HTTP request: of its path, query and headers together.
    ///
    /// # Errors
    /// As [`Wishes::add`], and for what looks like a wish and is none.
    pub(crate) fn of_request(uri: &Uri, headers: &HeaderMap, catalogue: &Catalogue) -> Result<Self, String> {
        let mut wishes = Wishes::default();
        wishes.add_path(uri.path(), catalogue)?;
        for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
            let wish = Wish::ALL.into_iter().find(|wish| wish.name() == name);
            let known = || Wish::ALL.map(Wish::name).join(", ");
            let wish = wish.ok_or_else(|| {
                let name: String = name.chars().take(64).collect();
                format!("`{name}` in the URL is nothing that can be wished; known are {}", known())
            })?;
            wishes.add(wish, &value, catalogue)?;
        }
        for (name, value) in headers.iter().filter(|(name, _)| name.as_str().starts_with(HEADERS)) {
            let wish = Wish::ALL.into_iter().find(|wish| *name == wish.header());
            match (wish, value.to_str()) {
                _ if *name == NO_WISH => {}
                (Some(wish), Ok(value)) => wishes.add(wish, value, catalogue)?,
                (Some(_), Err(_)) => return Err(format!("the header `{name}` is not text")),
                (None, _) => {
                    let known = Wish::ALL.map(Wish::header).join(", ");
                    return Err(format!("the header `{name}` is nothing that can be wished; known are {known}"));
                }
            }
        }
        Ok(wishes)
    }

    fn add_path(&mut self, path: &str, catalogue: &Catalogue) -> Result<(), String> {
        let below = path.strip_prefix(ROOT).unwrap_or(path).trim_matches('/');
        let parts: Vec<&str> = below.split('/').collect();
        match parts.as_slice() {
            ["ratelimits"] => self.add(Wish::Toolsets, Toolset::Ratelimit.name(), catalogue),
            [COMPACT] => self.add(Wish::View, COMPACT, catalogue),
            ["readonly"] => self.add(Wish::ReadOnly, "true", catalogue),
            ["x", toolsets] => self.add(Wish::Toolsets, toolsets, catalogue),
            ["x", toolsets, "readonly"] => {
                self.add(Wish::Toolsets, toolsets, catalogue)?;
                self.add(Wish::ReadOnly, "true", catalogue)
            }
            // The other paths are those of the whole server.
            _ => Ok(()),
        }
    }

    /// Whether these toolsets or tools are all that is to be there; `None` where nothing was said of that.
    pub(crate) fn selects(&self, toolset: Toolset, tool: &str) -> Option<bool> {
        if self.toolsets.is_none() && self.tools.is_none() {
            return None;
        }
        let is_of_toolset = self.toolsets.as_ref().is_some_and(|toolsets| toolsets.contains(&toolset));
        let is_named = self.tools.as_ref().is_some_and(|tools| tools.contains(tool));
        Some(is_of_toolset || is_named || toolset == Toolset::Context)
    }

    /// Whether a tool is not to be there.
    pub(crate) fn excludes(&self, tool: &str) -> bool {
        self.excluded.as_ref().is_some_and(|excluded| excluded.contains(tool))
    }

    /// Whether nothing that changes anything is to be there.
    pub(crate) fn is_read_only(&self) -> bool {
        self.read_only.unwrap_or_default()
    }

    /// The one API that all is about.
    pub(crate) fn api(&self) -> Option<&str> {
        self.api.as_deref()
    }

    /// Whether the tools are to be [`compact`].
    pub(crate) fn is_compact(&self) -> bool {
        self.is_compact.unwrap_or_default()
    }
}

/// Sets what was not said, or was said just so.
fn set<T: PartialEq>(said: &mut Option<T>, value: T) -> bool {
    let is_same = said.as_ref().is_none_or(|said| *said == value);
    *said = Some(value);
    is_same
}

/// The names in a text, at least one.
fn names(text: &str) -> Result<impl Iterator<Item = &str>, String> {
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    if names.clone().next().is_none() {
        return Err("it names nothing; leave it out for no wish".to_owned());
    }
    Ok(names)
}

fn toolsets(text: &str) -> Result<BTreeSet<Toolset>, String> {
    let mut toolsets = BTreeSet::new();
    for name in names(text).map_err(|what| format!("`toolsets`: {what}"))? {
        match Toolset::ALL.into_iter().find(|toolset| toolset.name() == name) {
            Some(toolset) => drop(toolsets.insert(toolset)),
            None if name == ALL => toolsets.extend(Toolset::ALL),
            None if name == DEFAULT => toolsets.extend(Toolset::ALL.into_iter().filter(|one| one.is_default())),
            None => {
                let known = Toolset::ALL.map(Toolset::name).join(", ");
                let name: String = name.chars().take(64).collect();
                return Err(format!("there is no toolset `{name}`; known are {known}, {DEFAULT} and {ALL}"));
            }
        }
    }
    Ok(toolsets)
}

fn tools(text: &str, catalogue: &Catalogue) -> Result<BTreeSet<String>, String> {
    let mut tools = BTreeSet::new();
    for name in names(text).map_err(|what| format!("tools: {what}"))? {
        let tool = tool_name(name);
        if catalogue.find(&tool).is_none() {
            let shown: String = name.chars().take(64).collect();
            let known: Vec<&str> = catalogue.offers().iter().map(|offer| &*offer.tool.name).collect();
            return Err(format!("there is no tool `{shown}`; known are {}", known.join(", ")));
        }
        tools.insert(tool);
    }
    Ok(tools)
}

fn truth(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("`read_only` must be `true` or `false`".to_owned()),
    }
}

fn api(text: &str) -> Result<String, String> {
    let (text, prefix) = (text.trim(), format!("{}_", Kind::Api.prefix()));
    let is_plain =
        |id: &str| id.chars().all(|character| character.is_ascii_alphanumeric() || "_-".contains(character));
    if text.starts_with(&prefix) && text.len() <= 255 && is_plain(text) {
        return Ok(text.to_owned());
    }
    Err(format!("`api` must be the id of an API, such as {prefix}…; apis.listApis shows them"))
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;
    use crate::catalogue::tests::CATALOGUE;

    fn of(uri: &str, headers: &[(&'static str, &'static str)]) -> Result<Wishes, String> {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        Wishes::of_request(&uri.parse().unwrap(), &headers, &CATALOGUE)
    }

    #[test]
    fn the_same_can_be_wished_in_each_way() {
        let ways = [
            of("/mcp/x/keys,apis/readonly", &[("x-mcp-exclude-tools", "keys_deleteKey")]),
            of("/mcp?toolsets=keys,apis&read_only=true&exclude_tools=keys.deleteKey", &[]),
            of("/mcp/v2/?toolsets=apis%2Ckeys&read_only=1&exclude_tools=keys_deleteKey", &[]),
            of(
                "/mcp",
                &[
                    ("x-mcp-toolsets", "keys, apis"),
                    ("x-mcp-readonly", "true"),
                    ("x-mcp-exclude-tools", "keys_deleteKey"),
                ],
            ),
        ];
        for way in &ways {
            assert_eq!(way, &ways[0]);
        }
        let wishes = ways[0].clone().unwrap();
        assert_eq!(wishes.selects(Toolset::Keys, "keys_getKey"), Some(true));
        assert_eq!(wishes.selects(Toolset::Audit, "audit_getLog"), Some(false));
        assert!(wishes.is_read_only() && wishes.excludes("keys_deleteKey"));
        assert_eq!(of("/mcp/ratelimits/", &[]), of("/mcp?toolsets=ratelimit", &[]));
        assert!(of("/mcp/compact", &[]).unwrap().is_compact());
        assert_eq!(of("/mcp/v1", &[("x-mcp-proxy-auth", "x")]), Ok(Wishes::default()));
    }

    #[test]
    fn what_is_not_understood_is_refused_with_what_would_be() {
        for (uri, headers, expected) in [
            (
                "/mcp?readonly=true",
                &[][..],
                "`readonly` in the URL is nothing that can be wished; known are toolsets",
            ),
            ("/mcp?", &[("x-mcp-read-only", "true")], "known are x-mcp-toolsets"),
            ("/mcp?read_only=", &[], "`true` or `false`"),
            ("/mcp?read_only=maybe", &[], "`true` or `false`"),
            ("/mcp?toolsets=", &[], "names nothing"),
            ("/mcp?toolsets=keys,kees", &[], "no toolset `kees`; known are context, apis"),
            ("/mcp/x/nothing", &[], "no toolset `nothing`"),
            ("/mcp?tools=keys_doNothing", &[], "known are "),
            ("/mcp?exclude_tools=deleteKey", &[], "no tool `deleteKey`"),
            ("/mcp?api=payments", &[], "id of an API"),
            ("/mcp?view=tiny", &[], "`compact`"),
            ("/mcp/readonly?read_only=false", &[], "said twice"),
            ("/mcp?toolsets=keys", &[("x-mcp-toolsets", "apis")], "said twice"),
        ] {
            let refusal = of(uri, headers).unwrap_err();
            assert!(refusal.contains(expected), "{uri} {headers:?}: {refusal}");
            assert!(refusal.len() < 4000);
        }
    }
}
