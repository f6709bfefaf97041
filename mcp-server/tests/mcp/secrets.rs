//! Where the operator says so, the texts of keys reach people past the model: by a link or a file. Which tools answer such
//! texts is read from their types.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use keyrack_core::caller::{Origin, Via};
use keyrack_core::catalogue::{self as core_catalogue, Operation, Tool, Visitor};
use keyrack_core::claims::{self, Behind};
use keyrack_core::keys::secret;
use keyrack_core::operations::keys::CreateKey;
use keyrack_core::schema::answered_secrets;
use keyrack_mcp_server::naming::tool_name;
use keyrack_mcp_server::{Catalogue, Confirm, KeyrackMcp, Policy, Secrets, Wish, Wishes};
use rmcp::model::{
    CallToolRequestParams, ClientCapabilities, ClientConfig, ElicitRequestParams, ElicitResult, ElicitationAction,
    ElicitationCapability, Implementation, UrlElicitationCapability,
};
use rmcp::service::{RequestContext, RoleClient};
use rmcp::{ClientHandler, ErrorData, ServiceExt as _};
use serde_json::{Value, json};

use crate::client::{Client, ERAS, Era};
use crate::leaks::Captured;
use crate::world::{self, World, catalogue};

const SERVER: &str = "https://keys.example.com/base";

/// The tools whose answers hold the text of a key, by the types of their operations.
struct Answering<'a> {
    catalogue: &'a Catalogue,
    tools: BTreeSet<String>,
}

impl Answering<'_> {
    fn of(catalogue: &Catalogue) -> BTreeSet<String> {
        let mut answering = Answering { catalogue, tools: BTreeSet::new() };
        keyrack_core::each(&mut answering);
        answering.tools
    }
}

impl Visitor for Answering<'_> {
    fn operation<O: Operation>(&mut self) {
        let secrets = answered_secrets::<O::Response>();
        let tool = tool_name(O::ABOUT.name);
        let asks = self.catalogue.find(&tool).is_some_and(|offer| {
            offer.tool.input_schema.get("properties").is_some_and(|members| members.get("decrypt").is_some())
        });
        let answers =
            secrets.once.pointers().next().is_some() || (secrets.again.pointers().next().is_some() && asks);
        if O::ABOUT.assistants.tool == Tool::Offered && answers {
            self.tools.insert(tool);
        }
    }
}

/// A client of a server with this policy, which may read stored texts.
async fn client(world: &World, era: Era, secrets: Secrets) -> Client {
    let mut wishes = Wishes::default();
    wishes.add(Wish::Toolsets, "all", catalogue()).unwrap();
    let policy = Policy { confirm: Confirm::Off, secrets, ..Policy::default() };
    let root_key = world.root_key(&["*"]).await;
    Client::of(world, era, &root_key, policy, (Arc::new(Catalogue::with_decrypt()), wishes)).await
}

/// A key whose text is stored, which assistants cannot make: its id and its text.
async fn recoverable(world: &World, api: &Value) -> (Value, String) {
    let root_key = world.root_key(&["*"]).await;
    let caller = world.keyrack.authenticate(&root_key, Origin::local(Via::Http)).unwrap();
    let new = json!({ "apiId": api, "recoverable": true });
    let made = core_catalogue::run::<CreateKey>(&world.keyrack, caller, new).await.unwrap().data;
    (json!(made.key_id), made.key.0.expose().to_owned())
}

/// The answers of every tool that hands out a text.
async fn handed_out(world: &World, client: &Client) -> Vec<(&'static str, Value)> {
    let mut answers = Vec::new();
    let api = client.call("apis_createApi", json!({ "name": "payments" })).await["data"]["apiId"].clone();
    client.call("apis_updateApi", json!({ "apiId": api, "storeEncryptedKeys": true })).await;
    let new = json!({ "apiId": api, "name": "mobile", "prefix": "sk_live" });
    let created = client.call("keys_createKey", new).await;
    let key = created["data"]["keyId"].clone();
    answers.push(("keys_createKey", created));
    let (stored, _) = recoverable(world, &api).await;
    let read = client.call("keys_getKey", json!({ "keyId": stored, "decrypt": true })).await;
    answers.push(("keys_getKey", read));
    let reroll = json!({ "keyId": key, "expiration": 0 });
    answers.push(("keys_rerollKey", client.call("keys_rerollKey", reroll).await));
    let new = json!({ "permissions": ["api.*.read_api"], "name": "reader" });
    let created = client.call("rootKeys_createKey", new).await;
    let reroll = json!({ "keyId": created["data"]["keyId"], "expiration": 0 });
    answers.push(("rootKeys_createKey", created));
    answers.push(("rootKeys_rerollKey", client.call("rootKeys_rerollKey", reroll).await));
    answers
}

/// Bytes of all files in a folder.
fn bytes_of(folder: &Path) -> Vec<u8> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.is_file()).flat_map(|path| std::fs::read(path).unwrap()).collect()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// The text that a link leads to.
async fn opened(world: &World, link: &str) -> Option<String> {
    let token = link.strip_prefix(SERVER).unwrap().strip_prefix("/claim/").unwrap();
    match claims::open(&world.keyrack, token, &Origin::local(Via::Http)).await.unwrap() {
        Behind::Waiting((_, text)) => Some(text.expose().to_owned()),
        Behind::Shown(_) | Behind::Nothing => None,
    }
}

/// That texts which keys have stand nowhere: in no answer, no line of the log and no file of the database.
fn assert_nowhere(world: &World, texts: &[String], answers: &[(&str, Value)], log: &str) {
    let database = bytes_of(world.folder());
    assert!(database.len() > 10_000 && log.contains("tool call"));
    for text in texts {
        assert!(text.len() > 20, "too short to look for: {text}");
        assert!(answers.iter().all(|(_, answer)| !answer.to_string().contains(text.as_str())), "{answers:?}");
        assert!(!log.lines().any(|line| line.contains(text.as_str())), "{text} is in the log");
        assert!(!holds(&database, text), "{text} is in the database");
    }
}

/// Each text is that of the key which its answer names, and begins as it says.
fn assert_belongs(world: &World, answer: &Value, text: &str) {
    let (id, hash) = (answer["data"]["keyId"].as_str().unwrap(), secret::hash(text));
    let resident = world.keyrack.resident();
    let key = resident.key(&hash).map(|key| key.id.to_string());
    let root_key = resident.root_key(&hash).map(|key| key.id.clone());
    assert_eq!(key.or(root_key).as_deref(), Some(id));
    assert_eq!(answer["data"]["start"].as_str(), Some(secret::key_start(text)));
    assert!(answer["data"].get("key").is_none() && answer["data"].get("plaintext").is_none(), "{answer}");
}

#[tokio::test(flavor = "current_thread")]
async fn by_a_link_no_text_is_anywhere_but_behind_it_and_each_is_shown_once() {
    let (captured, _guard) = Captured::begin();
    let world = World::with_vault().await;
    let secrets = Secrets::Claim { server: SERVER.to_owned() };
    for era in ERAS {
        let client = client(&world, era, secrets.clone()).await;
        let answers = handed_out(&world, &client).await;
        let called: BTreeSet<String> = answers.iter().map(|(tool, _)| (*tool).to_owned()).collect();
        assert_eq!(
            called,
            Answering::of(&Catalogue::with_decrypt()),
            "a tool hands out texts and is not tried here"
        );
        let mut texts = Vec::new();
        for (tool, answer) in &answers {
            let link = answer["data"]["link"].as_str().unwrap_or_else(|| panic!("{tool}: {answer}"));
            let Some(text) = opened(&world, link).await else { panic!("{tool}: nothing is behind {link}") };
            assert_eq!(opened(&world, link).await, None, "once");
            assert!(answer["notes"][0].as_str().unwrap().starts_with("The key itself is not in this answer."));
            assert!(!captured.text().contains(link.rsplit('/').next().unwrap()), "the link is in the log");
            texts.push(text);
        }
        for ((tool, answer), text) in answers.iter().zip(&texts) {
            // What was rerolled at once is known no more.
            if !matches!(*tool, "keys_createKey" | "rootKeys_createKey") {
                assert_belongs(&world, answer, text);
            }
        }
        assert_nowhere(&world, &texts, &answers, &captured.text());
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "current_thread")]
async fn in_files_no_text_is_anywhere_but_in_its_file() {
    use std::os::unix::fs::PermissionsExt as _;
    let (captured, _guard) = Captured::begin();
    let world = World::with_vault().await;
    let folder = world.folder().join("secrets");
    let client = client(&world, Era::Handshake, Secrets::File { folder: folder.clone() }).await;
    let answers = handed_out(&world, &client).await;
    let mut texts = Vec::new();
    for (tool, answer) in &answers {
        let path = PathBuf::from(answer["data"]["file"].as_str().unwrap_or_else(|| panic!("{tool}: {answer}")));
        assert!(
            path.starts_with(&folder)
                && path.to_str().unwrap().contains(answer["data"]["keyId"].as_str().unwrap())
        );
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        texts.push(std::fs::read_to_string(&path).unwrap().trim_end().to_owned());
    }
    assert_belongs(&world, &answers[2].1, &texts[2]);
    assert_belongs(&world, &answers[4].1, &texts[4]);
    assert_nowhere(&world, &texts, &answers, &captured.text());
}

#[tokio::test]
async fn nothing_is_made_that_could_not_be_handed_over() {
    let world = World::new().await;
    let file = world.folder().join("in-the-way");
    std::fs::write(&file, "").unwrap();
    let client = client(&world, Era::Discover, Secrets::File { folder: file.join("secrets") }).await;
    let api = client.call("apis_createApi", json!({ "name": "payments" })).await["data"]["apiId"].clone();
    let refused = client.refused("keys_createKey", json!({ "apiId": api })).await;
    assert!(refused.starts_with("412 ") && refused.contains("Nothing was made"), "{refused}");
    let listed = client.call("keys_listKeys", json!({})).await;
    assert_eq!(listed["data"], json!([]));
    // What hands out nothing works.
    client.call("apis_getApi", json!({ "apiId": api })).await;
}

#[tokio::test]
async fn too_many_links_that_nobody_opens_stop_new_keys_and_not_old_links() {
    let world = World::new().await;
    let client = client(&world, Era::Handshake, Secrets::Claim { server: SERVER.to_owned() }).await;
    let api = client.call("apis_createApi", json!({ "name": "payments" })).await["data"]["apiId"].clone();
    let new = json!({ "apiId": api });
    let mut links = Vec::new();
    for _ in 0..100 {
        links.push(client.call("keys_createKey", new.clone()).await["data"]["link"].clone());
    }
    let refused = client.refused("keys_createKey", new.clone()).await;
    assert!(refused.starts_with("429 ") && refused.contains("nothing was done"), "{refused}");
    assert!(opened(&world, links[0].as_str().unwrap()).await.is_some());
    client.call("keys_createKey", new).await;
}

#[tokio::test]
async fn a_stored_text_is_read_only_where_the_operator_allows_it_and_never_in_a_list() {
    let world = World::with_vault().await;
    for tool in ["keys_getKey", "apis_listKeys", "keys_listKeys", "keys_whoami"] {
        let refusing = Client::with_permissions(&world, Era::Handshake, &["*"]).await;
        let refused = refusing.refused(tool, json!({ "decrypt": true })).await;
        assert!(refused.contains("decrypt: is not a known member"), "{tool}: {refused}");
    }
    let allowing = client(&world, Era::Handshake, Secrets::Inline).await;
    let api = allowing.call("apis_createApi", json!({ "name": "payments" })).await["data"]["apiId"].clone();
    allowing.call("apis_updateApi", json!({ "apiId": api, "storeEncryptedKeys": true })).await;
    let (key, text) = recoverable(&world, &api).await;
    let read = allowing.call("keys_getKey", json!({ "keyId": key, "decrypt": true })).await;
    assert_eq!(read["data"]["plaintext"], text);
    assert!(read["notes"].to_string().contains("`data.plaintext` is a secret"), "{read}");
    let of_api = json!({ "apiId": "api_123456", "decrypt": true });
    let refused = allowing.refused("apis_listKeys", of_api).await;
    assert!(refused.contains("decrypt: is not a known member"), "{refused}");
}

#[tokio::test]
async fn a_model_is_told_once_what_becomes_of_new_keys() {
    let world = World::new().await;
    for (secrets, told) in [
        (Secrets::Inline, "A new key is shown once"),
        (Secrets::Claim { server: SERVER.to_owned() }, "give the user its link, and never open it"),
        (Secrets::File { folder: world.folder().join("secrets") }, "tell the user which file it is in"),
    ] {
        let client = client(&world, Era::Handshake, secrets).await;
        let instructions = client.running().peer_info().unwrap().instructions.clone().unwrap();
        assert!(instructions.contains(told), "{instructions}");
    }
}

/// A client that opens links for its user, and what they were led to.
#[derive(Clone)]
struct Browser {
    says: ElicitationAction,
    opened: Arc<Mutex<Vec<String>>>,
}

impl ClientHandler for Browser {
    fn get_info(&self) -> ClientConfig {
        let mut capabilities = ClientCapabilities::default();
        capabilities.elicitation = Some(ElicitationCapability::new().with_url(UrlElicitationCapability::new()));
        ClientConfig::new(capabilities, Implementation::new("test", "1"))
    }

    async fn create_elicitation(
        &self,
        request: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        let ElicitRequestParams::UrlElicitationParams { url, .. } = request else { panic!("no link") };
        self.opened.lock().unwrap().push(url);
        Ok(ElicitResult::new(self.says.clone()))
    }
}

#[tokio::test]
async fn a_client_that_opens_links_leads_its_user_there_and_the_model_sees_none() {
    let world = World::new().await;
    let root_key = world.root_key(&["*"]).await;
    for (says, is_seen) in [(ElicitationAction::Accept, false), (ElicitationAction::Decline, true)] {
        let policy = Policy { secrets: Secrets::Claim { server: SERVER.to_owned() }, ..Policy::default() };
        let server = KeyrackMcp::for_root_key(
            world.keyrack.clone(),
            catalogue().clone(),
            policy,
            world::secret(&root_key),
            Wishes::default(),
        );
        let (server_end, client_end) = tokio::io::duplex(1 << 20);
        tokio::spawn(async move { server.unwrap().serve(server_end).await.unwrap().waiting().await.unwrap() });
        let browser = Browser { says, opened: Arc::default() };
        let running = browser.clone().serve(client_end).await.unwrap();
        let call = async |tool: &'static str, arguments: Value| {
            let arguments = arguments.as_object().unwrap().clone();
            let call = CallToolRequestParams::new(tool).with_arguments(arguments);
            running.call_tool(call).await.unwrap().structured_content.unwrap()
        };
        let api = call("apis_createApi", json!({ "name": "payments" })).await["data"]["apiId"].clone();
        let made = call("keys_createKey", json!({ "apiId": api })).await;
        let led = browser.opened.lock().unwrap().clone();
        assert_eq!(led.len(), 1);
        assert_eq!(made.to_string().contains("/claim/"), is_seen, "{made}");
        assert_eq!(made["notes"].to_string().contains("was led to the page"), !is_seen, "{made}");
        assert!(opened(&world, &led[0]).await.is_some());
    }
}
