//! Settings files of clients: an entry more in one that is there, in which all else stays as it was, comments included.

use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{CstInputValue, CstObject, CstRootNode};
use serde_json::{Map, Value};
use toml_edit::{DocumentMut, InlineTable, Item, Table, TableLike};

use super::client::{Client, Format};
use super::entry::Entry;

/// A settings file with the entry in it.
#[derive(Debug, PartialEq)]
pub(super) struct Merged {
    pub(super) text: String,
    /// Whether an entry of that name was there, and made place.
    pub(super) replaces: bool,
    /// The other servers, which stay.
    pub(super) others: Vec<String>,
}

/// A settings file with nothing but this entry.
pub(super) fn alone(client: &Client, entry: &Entry) -> Result<String, String> {
    merged(client, entry, "").map(|merged| merged.text)
}

/// The text of a settings file with the entry in it.
///
/// # Errors
/// Says why the text is no such file; it is then better left alone.
pub(super) fn merged(client: &Client, entry: &Entry, text: &str) -> Result<Merged, String> {
    match client.format {
        Format::Json => in_json(client, entry, text),
        Format::Toml => in_toml(client, entry, text),
    }
}

fn in_json(client: &Client, entry: &Entry, text: &str) -> Result<Merged, String> {
    let text = if text.trim().is_empty() { "{}\n" } else { text };
    // Comments and trailing commas are what such files have; whatever else is no JSON is a slip.
    let options = ParseOptions {
        allow_comments: true,
        allow_trailing_commas: true,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    let root = CstRootNode::parse(text, &options).map_err(|error| format!("is no JSON: {error}"))?;
    let settings = root.object_value().ok_or("is no JSON object")?;
    let servers = match once(&settings, client.servers)? {
        None => settings.object_value_or_create(client.servers),
        Some(servers) => servers.object_value(),
    };
    let servers = servers.ok_or_else(|| format!("has a `{}` that is no object", client.servers))?;
    let names = servers.properties().iter().filter_map(|property| property.decoded_name()).collect::<Vec<_>>();
    let there = once(&servers, &entry.name)?;
    let replaces = there.is_some();
    match there {
        Some(there) => there.set_value(cst(&entry.server)),
        None => drop(servers.append(&entry.name, cst(&entry.server))),
    }
    if let Some(input) = &entry.input {
        let inputs = match once(&settings, "inputs")? {
            None => settings.array_value_or_create("inputs"),
            Some(inputs) => inputs.array_value(),
        };
        let inputs = inputs.ok_or("has `inputs` that are no array")?;
        let ids = inputs.elements().into_iter().filter_map(|element| element.to_serde_value());
        if !ids.into_iter().any(|known| known.get("id") == input.get("id")) {
            inputs.append(cst(input));
        }
    }
    Ok(Merged { text: root.to_string(), replaces, others: without(names, &entry.name) })
}

/// The member of this name. Of two the client would take one, nobody knows which.
fn once(object: &CstObject, name: &str) -> Result<Option<jsonc_parser::cst::CstObjectProp>, String> {
    let properties = object.properties().into_iter();
    let mut named = properties.filter(|property| property.decoded_name().as_deref() == Some(name));
    let first = named.next();
    match named.next() {
        None => Ok(first),
        Some(_) => Err(format!("has `{name}` twice")),
    }
}

fn cst(value: &Value) -> CstInputValue {
    match value {
        Value::Null => CstInputValue::Null,
        Value::Bool(value) => CstInputValue::Bool(*value),
        Value::Number(number) => CstInputValue::Number(number.to_string()),
        Value::String(text) => CstInputValue::String(text.clone()),
        Value::Array(items) => CstInputValue::Array(items.iter().map(cst).collect()),
        Value::Object(members) => {
            CstInputValue::Object(members.iter().map(|(name, value)| (name.clone(), cst(value))).collect())
        }
    }
}

fn in_toml(client: &Client, entry: &Entry, text: &str) -> Result<Merged, String> {
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| {
        // Its own text repeats the line, which may hold a secret.
        let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        format!("is no TOML (line {line}: {})", error.message())
    })?;
    let Value::Object(members) = &entry.server else { return Err("cannot hold this entry".to_owned()) };
    let servers = document.entry(client.servers).or_insert_with(|| {
        let mut table = Table::new();
        table.set_implicit(true);
        Item::Table(table)
    });
    let is_inline = servers.is_inline_table();
    let servers: &mut dyn TableLike =
        servers.as_table_like_mut().ok_or_else(|| format!("has `{}` that is no table", client.servers))?;
    let names: Vec<String> = servers.iter().map(|(name, _)| name.to_owned()).collect();
    let item = if is_inline { Item::Value(inline(members).into()) } else { Item::Table(table(members)) };
    let replaces = servers.insert(&entry.name, item).is_some();
    Ok(Merged { text: document.to_string(), replaces, others: without(names, &entry.name) })
}

fn table(members: &Map<String, Value>) -> Table {
    members.iter().map(|(name, value)| (name.as_str(), Item::Value(toml(value)))).collect()
}

fn inline(members: &Map<String, Value>) -> InlineTable {
    members.iter().map(|(name, value)| (name.as_str(), toml(value))).collect()
}

fn toml(value: &Value) -> toml_edit::Value {
    match value {
        Value::Array(items) => toml_edit::Value::Array(items.iter().map(toml).collect()),
        Value::Object(members) => inline(members).into(),
        Value::Bool(value) => (*value).into(),
        Value::String(text) => text.as_str().into(),
        // No entry has any.
        Value::Null | Value::Number(_) => value.to_string().into(),
    }
}

fn without(mut names: Vec<String>, name: &str) -> Vec<String> {
    names.retain(|known| known != name);
    names
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(server: Value) -> Entry {
        Entry { name: "keyrack".to_owned(), server, input: None }
    }

    fn client(name: &str) -> &'static Client {
        Client::named(name).unwrap()
    }

    #[test]
    fn an_entry_goes_beside_others_and_nothing_else_changes() {
        let before = "{\n  // Mine.\n  \"theme\": \"dark\",\n  \"context_servers\": {\n    \"github\": { \"url\": \"x\" }, // theirs\n  },\n}\n";
        let merged = merged(client("zed"), &entry(json!({"url": "https://k/mcp"})), before).unwrap();
        assert!(!merged.replaces);
        assert_eq!(merged.others, ["github"]);
        for kept in ["// Mine.", "\"theme\": \"dark\"", "\"github\": { \"url\": \"x\" }", "// theirs"] {
            assert!(merged.text.contains(kept), "{kept}: {}", merged.text);
        }
        let value = CstRootNode::parse(&merged.text, &ParseOptions::default()).unwrap().to_serde_value().unwrap();
        assert_eq!(value["context_servers"]["keyrack"]["url"], "https://k/mcp");
        let again = super::merged(client("zed"), &entry(json!({"url": "https://k/mcp"})), &merged.text).unwrap();
        assert!(again.replaces);
        assert_eq!((again.text, again.others), (merged.text, vec!["github".to_owned()]));
    }

    #[test]
    fn a_file_that_is_empty_or_not_there_gets_everything() {
        for before in ["", "\n", "{}"] {
            let merged =
                merged(client("cursor"), &entry(json!({"command": "k", "args": ["mcp"]})), before).unwrap();
            let value: Value = serde_json::from_str(&merged.text).unwrap();
            assert_eq!(value, json!({"mcpServers": {"keyrack": {"command": "k", "args": ["mcp"]}}}));
        }
    }

    #[test]
    fn what_is_no_settings_file_is_left_alone() {
        for before in [
            "[]",
            "{",
            "x",
            "{\"mcpServers\": []}",
            "{\"mcpServers\": {}, \"mcpServers\": {}}",
            "{'a': 1}",
            "{\"a\": 1 \"b\": 2}",
        ] {
            assert!(merged(client("cursor"), &entry(json!({})), before).is_err(), "{before}");
        }
        for before in ["mcp_servers = 1", "[x", "a = 1\na = 2"] {
            assert!(merged(client("codex"), &entry(json!({})), before).is_err(), "{before}");
        }
        let error = merged(client("codex"), &entry(json!({})), "a = 1\nkey = planted").unwrap_err();
        assert!(error.contains("line 2") && !error.contains("planted"), "{error}");
        let error = merged(client("cursor"), &entry(json!({})), "{\n\"key\": planted}").unwrap_err();
        assert!(error.contains("line 2") && !error.contains("planted"), "{error}");
    }

    #[test]
    fn toml_keeps_its_comments_and_tables() {
        let before = "# Mine.\nmodel = \"x\"\n\n[mcp_servers.github]\nurl = \"y\" # theirs\n";
        let server = json!({"command": "/opt/keyrack", "args": ["mcp"], "env": {"KEYRACK_DATA_DIR": "/d"}});
        let merged = merged(client("codex"), &entry(server), before).unwrap();
        let expected = format!(
            "{before}\n[mcp_servers.keyrack]\ncommand = \"/opt/keyrack\"\nargs = [\"mcp\"]\nenv = {{ KEYRACK_DATA_DIR = \"/d\" }}\n"
        );
        assert_eq!(merged.text, expected);
        assert_eq!(merged.others, ["github"]);
        let inline =
            super::merged(client("codex"), &entry(json!({"url": "k"})), "mcp_servers = { a = { url = \"y\" } }\n");
        let inline: toml::Table = toml::from_str(&inline.unwrap().text).unwrap();
        assert_eq!(inline["mcp_servers"]["keyrack"]["url"].as_str(), Some("k"));
        assert_eq!(inline["mcp_servers"]["a"]["url"].as_str(), Some("y"));
    }

    #[test]
    fn what_vscode_asks_is_asked_once() {
        let asking = |name: &str| Entry {
            name: name.to_owned(),
            server: json!({"type": "http"}),
            input: Some(json!({"type": "promptString", "id": format!("{name}-root-key")})),
        };
        let before = "{\"inputs\": [{\"id\": \"theirs\"}]}";
        let once = merged(client("vscode"), &asking("one"), before).unwrap().text;
        let twice = merged(client("vscode"), &asking("one"), &once).unwrap().text;
        let value: Value =
            serde_json::from_str(&merged(client("vscode"), &asking("two"), &twice).unwrap().text).unwrap();
        let ids: Vec<&Value> = value["inputs"].as_array().unwrap().iter().map(|input| &input["id"]).collect();
        assert_eq!(ids, ["theirs", "one-root-key", "two-root-key"]);
        assert_eq!(value["servers"].as_object().unwrap().len(), 2);
    }
}
