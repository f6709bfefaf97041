//! rmcp's own client, connected to a server by an in-process pipe, in either protocol era.

use std::sync::Arc;

use keyrack_mcp_server::{Catalogue, Confirm, KeyrackMcp, Policy, Wish, Wishes};
use rmcp::ServiceExt as _;
use rmcp::model::{
    ArgumentInfo, CallToolRequestParams, CallToolResult, ClientConfig, CompleteRequestParams, CompletionContext,
    CompletionInfo, GetPromptRequestParams, GetPromptResult, ProtocolVersion, ReadResourceRequestParams,
    ReadResourceResult, Reference, ResourceContents, Tool,
};
use rmcp::service::{ClientLifecycleMode, ClientServiceExt as _, RoleClient, RunningService, ServiceError};
use serde_json::{Map, Value};

use crate::world::{World, catalogue, secret};

/// Which form of the protocol a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Era {
    /// `initialize`, up to 2025-11-25.
    Handshake,
    /// `server/discover` and metadata in each request, from 2026-07-28 on.
    Discover,
}

pub(crate) const ERAS: [Era; 2] = [Era::Handshake, Era::Discover];

/// A connected client. Every answer it gets is checked against the schema of its tool.
pub(crate) struct Client {
    running: RunningService<RoleClient, ClientConfig>,
    tools: Vec<Tool>,
}

impl Client {
    /// Connects with a root key that holds these permissions.
    pub(crate) async fn with_permissions(world: &World, era: Era, permissions: &[&str]) -> Client {
        Client::connect(world, era, &world.root_key(permissions).await, 0).await
    }

    pub(crate) async fn connect(world: &World, era: Era, root_key: &str, calls_per_minute: u32) -> Client {
        let mut wishes = Wishes::default();
        wishes.add(Wish::Toolsets, "all", catalogue()).unwrap();
        // Others are about agreement.
        let policy = Policy { calls_per_minute, confirm: Confirm::Off, ..Policy::default() };
        Client::with_wishes(world, era, root_key, policy, wishes).await
    }

    /// Connects with wishes.
    pub(crate) async fn with_wishes(
        world: &World,
        era: Era,
        root_key: &str,
        policy: Policy,
        wishes: Wishes,
    ) -> Client {
        Client::of(world, era, root_key, policy, (catalogue().clone(), wishes)).await
    }

    /// Connects to tools that an operator chose.
    pub(crate) async fn of(
        world: &World,
        era: Era,
        root_key: &str,
        policy: Policy,
        (catalogue, wishes): (Arc<Catalogue>, Wishes),
    ) -> Client {
        let (server_end, client_end) = tokio::io::duplex(1 << 20);
        let keyrack = world.keyrack.clone();
        let server = KeyrackMcp::for_root_key(keyrack, catalogue, policy, secret(root_key), wishes).unwrap();
        tokio::spawn(async move {
            let running = server.serve(server_end).await.unwrap();
            running.waiting().await.unwrap();
        });
        let info = ClientConfig::default();
        let running = match era {
            Era::Handshake => info.serve(client_end).await.unwrap(),
            Era::Discover => {
                let preferred_versions = vec![ProtocolVersion::V_2026_07_28];
                let mode = ClientLifecycleMode::Discover { preferred_versions };
                info.serve_with_lifecycle(client_end, mode).await.unwrap()
            }
        };
        let tools = running.list_all_tools().await.unwrap();
        Client { running, tools }
    }

    pub(crate) fn tools(&self) -> &[Tool] {
        &self.tools
    }

    pub(crate) fn tool_names(&self) -> Vec<&str> {
        self.tools.iter().map(|tool| &*tool.name).collect()
    }

    pub(crate) fn running(&self) -> &RunningService<RoleClient, ClientConfig> {
        &self.running
    }

    /// What is at an address.
    pub(crate) async fn read(&self, address: &str) -> Result<ReadResourceResult, ServiceError> {
        self.running.read_resource(ReadResourceRequestParams::new(address)).await
    }

    /// The text at an address.
    pub(crate) async fn text(&self, address: &str) -> String {
        let read = self.read(address).await.unwrap_or_else(|error| panic!("{address}: {error:?}"));
        let [ResourceContents::TextResourceContents { uri, text, .. }] = read.contents.as_slice() else {
            panic!("{address}: {read:?}")
        };
        assert_eq!(uri, address);
        text.clone()
    }

    /// What an operation answered, at an address.
    pub(crate) async fn data(&self, address: &str) -> Value {
        serde_json::from_str::<Value>(&self.text(address).await).unwrap()["data"].take()
    }

    /// The message of the refusal of what is not at an address.
    pub(crate) async fn nothing(&self, address: &str) -> String {
        match self.read(address).await {
            // Not found, in the words of either era.
            Err(ServiceError::McpError(error)) if [-32002, -32602].contains(&error.code.0) => {
                error.message.into_owned()
            }
            other => panic!("{address}: {other:?}"),
        }
    }

    /// A prompt with what was said.
    pub(crate) async fn prompt(&self, name: &str, said: Value) -> Result<GetPromptResult, ServiceError> {
        let said = said.as_object().unwrap().clone();
        self.running.get_prompt(GetPromptRequestParams::new(name).with_arguments(said)).await
    }

    /// What is suggested for an argument of which this was typed.
    pub(crate) async fn complete(
        &self,
        reference: Reference,
        name: &str,
        typed: &str,
        chosen: &[(&str, &str)],
    ) -> Result<CompletionInfo, ServiceError> {
        let chosen = chosen.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let asked = CompleteRequestParams::new(reference, ArgumentInfo::new(name, typed));
        let asked = asked.with_context(CompletionContext::with_arguments(chosen));
        self.running.complete(asked).await.map(|result| result.completion)
    }

    /// A call as it ends, whatever way.
    pub(crate) async fn try_call(&self, tool: &str, arguments: Value) -> Result<CallToolResult, ServiceError> {
        let arguments: Map<String, Value> = arguments.as_object().unwrap().clone();
        self.running.call_tool(CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments)).await
    }

    /// A call that goes well: its structured half, which is the same as its text and fits its schema.
    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> Value {
        let result = self.try_call(tool, arguments).await.unwrap();
        assert_eq!(result.is_error, Some(false), "{tool}: {:?}", result.content);
        let structured = result.structured_content.unwrap();
        let text = &result.content[0].as_text().unwrap().text;
        assert_eq!(&structured.to_string(), text, "{tool}: both halves say the same");
        assert!(result.meta.unwrap()["keyrack/requestId"].as_str().unwrap().starts_with("req_"));
        let listed = self.tools.iter().find(|listed| listed.name == tool).unwrap();
        if let Some(schema) = &listed.output_schema {
            let validator = jsonschema::draft202012::new(&Value::Object(schema.as_ref().clone())).unwrap();
            let faults: Vec<String> = validator.iter_errors(&structured).map(|fault| fault.to_string()).collect();
            assert!(faults.is_empty(), "{tool}: {faults:?}");
        }
        structured
    }

    /// A call that is refused: its text, which is all there is.
    pub(crate) async fn refused(&self, tool: &str, arguments: Value) -> String {
        let result = self.try_call(tool, arguments).await.unwrap();
        assert_eq!(result.is_error, Some(true), "{tool} went well: {:?}", result.structured_content);
        assert_eq!(result.structured_content, None, "clients check it against the output schema");
        result.content[0].as_text().unwrap().text.clone()
    }
}
