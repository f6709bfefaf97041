//! The MCP server as rmcp drives it: thin, each method finds the caller and delegates.
//!
//! Nothing here depends on a session. Over HTTP every request brings its own caller, whichever protocol
//! era it speaks; over stdio there is one root key, looked up anew for each request, so that a key that is
//! revoked in the middle of a session stops working in it.

use std::sync::Arc;

use keyrack_core::caller::{Origin, Via};
use keyrack_core::error::Code;
use keyrack_core::keys::secret::Secret;
use keyrack_core::traces::TraceSpan;
use keyrack_core::{Caller, Error, Keyrack};
use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, DiscoverResult, Implementation, InitializeRequestParams,
    InitializeResult, ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};
use tracing::Span;

use crate::call::{self, Call, CallLimit};
use crate::catalogue::Catalogue;
use crate::workers::IsLarge;
use crate::{failure, instructions, view};

/// How long a client may keep the list of tools: a permission that was taken away is refused at once, and
/// one that was given shows up after this.
const LIST_TTL_MS: u64 = 60_000;
/// Characters of a client's name in the log.
const CLIENT_NAME: usize = 64;

/// Keyrack as an MCP server. Cloning it is cheap and gives the same one.
#[derive(Debug, Clone)]
pub struct KeyrackMcp(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    keyrack: Keyrack,
    /// The caller of every request; `None` where each request brings its own.
    root_key: Option<Secret>,
    limit: CallLimit,
}

impl KeyrackMcp {
    /// A server with one caller, over whatever transport. `calls_per_minute` limits tool calls; 0 does not.
    pub fn for_root_key(keyrack: Keyrack, root_key: Secret, calls_per_minute: u32) -> Self {
        Self::new(keyrack, Some(root_key), calls_per_minute)
    }

    /// A server whose requests bring their caller, an `Arc<Caller>` in the extensions of the HTTP request.
    pub(crate) fn for_http(keyrack: Keyrack, calls_per_minute: u32) -> Self {
        Self::new(keyrack, None, calls_per_minute)
    }

    fn new(keyrack: Keyrack, root_key: Option<Secret>, calls_per_minute: u32) -> Self {
        KeyrackMcp(Arc::new(Shared { keyrack, root_key, limit: CallLimit::per_minute(calls_per_minute) }))
    }

    /// Looks the root key of this server up, now.
    ///
    /// # Errors
    /// As [`Keyrack::authenticate`].
    pub(crate) fn authenticate(&self) -> Result<Caller, Error> {
        match &self.0.root_key {
            Some(root_key) => self.0.keyrack.authenticate(root_key.expose(), Origin::local(Via::Mcp)),
            None => Err(Error::unexpected("a request reached the MCP server without a caller")),
        }
    }

    fn caller(&self, context: &RequestContext<RoleServer>) -> Result<Caller, Error> {
        let parts = context.extensions.get::<::http::request::Parts>();
        match parts.and_then(|parts| parts.extensions.get::<Arc<Caller>>()) {
            // Its body may have been long on its way: whatever became of the root key meanwhile counts.
            Some(caller) => self.0.keyrack.renew(caller),
            None => self.authenticate(),
        }
    }

    /// What the server says of itself to this caller.
    fn introduction(&self, caller: &Caller) -> Result<ServerConfig, ErrorData> {
        let workspace = self.0.keyrack.resident().workspace(caller.workspace_id());
        let workspace =
            workspace.ok_or_else(|| failure::protocol_error(&Error::not_found(Code::WorkspaceNotFound)))?;
        let principal = caller.principal();
        let sees =
            |tool: &str| Catalogue::get().find(tool).is_some_and(|offer| view::is_visible(offer.about, principal));
        let config = self.get_info();
        let server = config.server_info.clone().with_title(instructions::title(&workspace));
        Ok(config.with_server_info(server).with_instructions(instructions::instructions(&workspace, sees)))
    }
}

impl ServerHandler for KeyrackMcp {
    fn get_info(&self) -> ServerConfig {
        let server = Implementation::new("keyrack", env!("CARGO_PKG_VERSION"))
            .with_title("Keyrack")
            .with_description("API keys, rate limits and permissions that you run yourself.");
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build()).with_server_info(server)
    }

    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        context.peer.set_peer_info(request.clone());
        let caller = self.caller(&context).map_err(|error| failure::protocol_error(&error))?;
        let negotiated = self.negotiate_initialize(&request)?;
        Ok(self.introduction(&caller)?.with_protocol_version(negotiated.protocol_version))
    }

    async fn discover(&self, context: RequestContext<RoleServer>) -> Result<DiscoverResult, ErrorData> {
        let caller = self.caller(&context).map_err(|error| failure::protocol_error(&error))?;
        let versions = self.supported_protocol_versions().into_owned();
        let discovered = DiscoverResult::from_server_info(versions, self.introduction(&caller)?);
        Ok(discovered.with_ttl_ms(LIST_TTL_MS).with_cache_scope(CacheScope::Private))
    }

    async fn list_tools(
        &self,
        page: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        if page.is_some_and(|page| page.cursor.is_some()) {
            let message = "No page of this list ever gave a cursor: it is one page. Ask without `cursor`.";
            return Err(ErrorData::invalid_params(message, None));
        }
        let caller = self.caller(&context).map_err(|error| failure::protocol_error(&error))?;
        let offers = Catalogue::get().offers().iter();
        let visible = offers.filter(|offer| view::is_visible(offer.about, caller.principal()));
        let tools = visible.map(|offer| offer.tool.clone()).collect();
        Ok(ListToolsResult::with_all_items(tools).with_ttl_ms(LIST_TTL_MS).with_cache_scope(CacheScope::Private))
    }

    /// Unfiltered: rmcp asks it for the schema of any tool, to check headers against arguments.
    fn get_tool(&self, name: &str) -> Option<Tool> {
        Catalogue::get().find(name).map(|offer| offer.tool.clone())
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let caller = self.caller(&context);
        let call = Call {
            tool: request.name.into_owned(),
            arguments: request.arguments.unwrap_or_default(),
            client: client_name(&context, caller.as_ref().ok()),
            within: trace_span(&context),
            is_large: is_large(&context),
            abandoned: context.ct,
        };
        let result = call::answer(&self.0.keyrack, &self.0.limit, caller, call).await?;
        Ok(result.into())
    }
}

/// The span of the HTTP request that the call came in: the library runs the call elsewhere.
fn trace_span(context: &RequestContext<RoleServer>) -> Span {
    let parts = context.extensions.get::<::http::request::Parts>();
    let span = parts.and_then(|parts| parts.extensions.get::<TraceSpan>());
    span.map_or_else(Span::none, |span| span.0.clone())
}

/// Whether the message of the call is large.
fn is_large(context: &RequestContext<RoleServer>) -> bool {
    let parts = context.extensions.get::<::http::request::Parts>();
    parts.is_some_and(|parts| parts.extensions.get::<IsLarge>().is_some())
}

/// What a client calls itself. Over HTTP only the newer era says so in every request; for the older one
/// the `User-Agent` is all there is.
fn client_name(context: &RequestContext<RoleServer>, caller: Option<&Caller>) -> String {
    let named = context.meta.client_info().map(|client| client.name);
    let is_http = context.extensions.get::<::http::request::Parts>().is_some();
    let name = named.or_else(|| {
        if is_http {
            caller.and_then(|caller| caller.origin().user_agent().map(str::to_owned))
        } else {
            context.client_info().map(|client| client.name)
        }
    });
    name.unwrap_or_default().chars().take(CLIENT_NAME).collect()
}
