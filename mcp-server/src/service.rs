//! The MCP server as rmcp drives it: thin, each method finds the caller and delegates.
//!
//! Nothing here depends on a session, but that in one the user of an older client can be asked. Over HTTP every request
//! brings its own caller, whichever protocol era it speaks; over stdio there is one root key, looked up anew for each request, so that a key that is
//! revoked in the middle of a session stops working in it.

use std::sync::Arc;

use ::http::request::Parts;
use ::http::{HeaderMap, HeaderName, HeaderValue};
use keyrack_core::keys::secret::Secret;
use keyrack_core::traces::TraceSpan;
use keyrack_core::{Caller, Error, Keyrack};
use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CompleteRequestParams, CompleteResult, DiscoverResult,
    GetPromptRequestParams, GetPromptResponse, Implementation, InitializeRequestParams, InitializeResult,
    ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, PaginatedRequestParams,
    ReadResourceRequestParams, ReadResourceResponse, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::{Peer, RequestContext};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use tracing::Span;

use crate::backend::{Backend, Place};
use crate::call::{Call, CallLimit, Desk, FollowTrace};
use crate::catalogue::Catalogue;
use crate::confirmation::{Channel, Confirm, Consent};
use crate::instructions::Told;
use crate::prompts::Prompts;
use crate::remote::{Remote, Server};
use crate::resources::{self, Documents, Sought};
use crate::secrets::Secrets;
use crate::sessions::InSession;
use crate::suggestions::{self, Suggested, Typed};
use crate::view::View;
use crate::wishes::Wishes;
use crate::workers::IsLarge;
use crate::{compact, completion, failure, instructions};

/// How long a client may keep the list of tools: a permission that was taken away is refused at once, and
/// one that was given shows up after this.
const LIST_TTL_MS: u64 = 60_000;
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACE_STATE: HeaderName = HeaderName::from_static("tracestate");
/// Requests that are no calls, such as lists and prompts, that a root key may make for each call it may make.
const OTHERS_PER_CALL: u32 = 5;
/// Characters of a client's name in the log.
const CLIENT_NAME: usize = 64;

/// Keyrack as an MCP server. Cloning it is cheap and gives the same one.
#[derive(Debug, Clone)]
pub struct KeyrackMcp(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    desk: Desk,
    /// The caller of every request, and what it wishes to see; `None` where each request brings its own.
    own: Option<(Secret, View)>,
    /// What the operator allows.
    ceiling: Arc<Wishes>,
    prompts: Arc<Prompts>,
    documents: Arc<Documents>,
}

/// What an operator decides about tools, over whatever transport.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Tool calls per root key and minute; 0 is no limit.
    pub calls_per_minute: u32,
    /// What may be seen: nobody who connects sees more.
    pub ceiling: Arc<Wishes>,
    /// How people are asked before what destroys, cuts off or hands out power.
    pub confirm: Confirm,
    /// How the texts of keys are handed over. Whether stored ones may be read at all says the [`Catalogue`].
    pub secrets: Secrets,
    /// Ready-made beginnings of conversations.
    pub prompts: Arc<Prompts>,
    /// The documentation of the HTTP API that the same program serves.
    pub documents: Arc<Documents>,
    /// Makes a span part of the trace that headers name, where there are traces.
    pub follow: Option<FollowTrace>,
}

impl Default for Policy {
    /// Everything may be seen, calls have no limit, people are asked, new keys are in the answers, prompts are those that are
    /// compiled in, and there is no HTTP API and no traces.
    fn default() -> Self {
        Policy {
            calls_per_minute: 0,
            ceiling: Arc::default(),
            confirm: Confirm::default(),
            secrets: Secrets::default(),
            prompts: Prompts::built_in(),
            documents: Arc::default(),
            follow: None,
        }
    }
}

impl KeyrackMcp {
    /// A server with one caller, over whatever transport.
    ///
    /// # Errors
    /// When the wishes contradict what the operator allows.
    pub fn for_root_key(
        keyrack: Keyrack,
        catalogue: Arc<Catalogue>,
        policy: Policy,
        root_key: Secret,
        wishes: Wishes,
    ) -> Result<Self, String> {
        Self::over(Arc::new(keyrack), catalogue, policy, root_key, wishes)
    }

    /// A server with one caller, whose tools a server elsewhere does the work of.
    ///
    /// # Errors
    /// When the wishes contradict what the operator allows, or ask for what can only be done beside the database.
    pub fn for_server(
        server: Arc<dyn Server>,
        catalogue: Arc<Catalogue>,
        policy: Policy,
        root_key: Secret,
        wishes: Wishes,
    ) -> Result<Self, String> {
        if policy.confirm == Confirm::Held {
            return Err(
                "calls are held for approval beside the database of the server: `confirm` can be `ask` or `off` where the \
                 server is elsewhere"
                    .to_owned(),
            );
        }
        if matches!(policy.secrets, Secrets::Claim { .. }) {
            return Err(
                "links that show a key once are made beside the database of the server: `secrets` can be `inline` or \
                 `file` where the server is elsewhere"
                    .to_owned(),
            );
        }
        Self::over(Arc::new(Remote::new(server)), catalogue, policy, root_key, wishes)
    }

    fn over(
        backend: Arc<dyn Backend>,
        catalogue: Arc<Catalogue>,
        policy: Policy,
        root_key: Secret,
        wishes: Wishes,
    ) -> Result<Self, String> {
        let view = View::new(policy.ceiling.clone(), Arc::new(wishes))?;
        Ok(Self::new(backend, catalogue, policy, Some((root_key, view))))
    }

    /// A server whose requests bring their caller, an `Arc<Caller>`, and their [`View`] in the extensions of the HTTP
    /// request.
    pub(crate) fn for_http(keyrack: Keyrack, catalogue: Arc<Catalogue>, policy: Policy) -> Self {
        Self::new(Arc::new(keyrack), catalogue, policy, None)
    }

    fn new(
        backend: Arc<dyn Backend>,
        catalogue: Arc<Catalogue>,
        policy: Policy,
        own: Option<(Secret, View)>,
    ) -> Self {
        let Policy { calls_per_minute, ceiling, confirm, secrets, prompts, documents, follow } = policy;
        let limit = CallLimit::per_minute(calls_per_minute);
        let other_limit = CallLimit::per_minute(calls_per_minute.saturating_mul(OTHERS_PER_CALL));
        let desk = Desk { backend, catalogue, limit, other_limit, confirm, follow, secrets: Arc::new(secrets) };
        KeyrackMcp(Arc::new(Shared { desk, own, ceiling, prompts, documents }))
    }

    /// Where the root key of this server works and what it sees, in a line for people.
    ///
    /// # Errors
    /// When the root key may not be used, or that cannot be told.
    pub async fn summary(&self) -> Result<String, Error> {
        let caller = self.authenticate().await?;
        let backend = &self.0.desk.backend;
        let Place { id, name } = backend.place(&caller)?;
        let workspace = if id.is_empty() { name } else { format!("{name} ({id})") };
        let view = self.0.own.as_ref().map(|(_, view)| view.clone()).unwrap_or_default();
        let (offers, principal) = (self.catalogue().offers(), caller.principal());
        let seen = offers.iter().filter(|offer| view.shows(offer, principal) && backend.does(offer)).count();
        Ok(format!("workspace {workspace}; root key {} sees {seen} of {} tools", principal.id(), offers.len()))
    }

    /// Looks the root key of this server up, now.
    ///
    /// # Errors
    /// As [`Keyrack::authenticate`].
    pub(crate) async fn authenticate(&self) -> Result<Caller, Error> {
        match &self.0.own {
            Some((root_key, _)) => self.0.desk.backend.caller(root_key).await,
            None => Err(Error::unexpected("a request reached the MCP server without a caller")),
        }
    }

    async fn caller(&self, context: &RequestContext<RoleServer>) -> Result<Caller, Error> {
        match part::<Arc<Caller>>(context) {
            // Its body may have been long on its way: whatever became of the root key meanwhile counts.
            Some(caller) => self.0.desk.backend.renew(caller),
            None => self.authenticate().await,
        }
    }

    /// The caller of what is no call.
    async fn asking(&self, context: &RequestContext<RoleServer>) -> Result<Caller, ErrorData> {
        let desk = &self.0.desk;
        let caller = self.caller(context).await.and_then(|caller| {
            desk.other_limit.count(&caller, desk.backend.now())?;
            Ok(caller)
        });
        caller.map_err(|error| failure::protocol_error(self.catalogue(), &error))
    }

    /// What this connection is shown.
    fn view(&self, context: &RequestContext<RoleServer>) -> View {
        let own = self.0.own.as_ref().map(|(_, view)| view);
        let view = part::<View>(context).or(own).cloned();
        view.unwrap_or_else(|| View::allowed_by(self.0.ceiling.clone()))
    }

    fn catalogue(&self) -> &Catalogue {
        &self.0.desk.catalogue
    }

    /// What the server says of itself to this caller.
    fn introduction(&self, caller: &Caller, view: &View) -> Result<ServerConfig, ErrorData> {
        let backend = &self.0.desk.backend;
        let place = backend.place(caller).map_err(|error| failure::protocol_error(self.catalogue(), &error))?;
        let principal = caller.principal();
        let sees = |tool: &str| {
            self.catalogue().find(tool).is_some_and(|offer| view.shows(offer, principal) && backend.does(offer))
        };
        let config = self.get_info();
        let server = config.server_info.clone().with_title(instructions::title(&place));
        let asks = self.0.desk.confirm != Confirm::Off;
        let told = Told { asks, of_new_keys: self.0.desk.secrets.instruction() };
        let instructions = instructions::instructions(&place, backend.now(), view, told, sees);
        Ok(config.with_server_info(server).with_instructions(instructions))
    }
}

/// What the routes put into the extensions of the HTTP request, if there was one.
fn part<T: Send + Sync + 'static>(context: &RequestContext<RoleServer>) -> Option<&T> {
    context.extensions.get::<Parts>()?.extensions.get::<T>()
}

impl ServerHandler for KeyrackMcp {
    fn get_info(&self) -> ServerConfig {
        let server = Implementation::new("keyrack", env!("CARGO_PKG_VERSION"))
            .with_title("Keyrack")
            .with_description("API keys, rate limits and permissions that you run yourself.");
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_prompts()
            .enable_resources()
            .enable_completions()
            .build();
        ServerConfig::new(capabilities).with_server_info(server)
    }

    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        context.peer.set_peer_info(request.clone());
        let caller = self.asking(&context).await?;
        let negotiated = self.negotiate_initialize(&request)?;
        Ok(self.introduction(&caller, &self.view(&context))?.with_protocol_version(negotiated.protocol_version))
    }

    async fn discover(&self, context: RequestContext<RoleServer>) -> Result<DiscoverResult, ErrorData> {
        let caller = self.asking(&context).await?;
        let versions = self.supported_protocol_versions().into_owned();
        let introduction = self.introduction(&caller, &self.view(&context))?;
        let discovered = DiscoverResult::from_server_info(versions, introduction);
        Ok(discovered.with_ttl_ms(LIST_TTL_MS).with_cache_scope(CacheScope::Private))
    }

    async fn list_tools(
        &self,
        page: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        no_cursor(page)?;
        let caller = self.asking(&context).await?;
        let backend = &self.0.desk.backend;
        let mut tools = compact::listed(self.catalogue(), &self.view(&context), caller.principal());
        tools.retain(|tool| self.catalogue().find(&tool.name).is_none_or(|offer| backend.does(offer)));
        Ok(ListToolsResult::with_all_items(tools).with_ttl_ms(LIST_TTL_MS).with_cache_scope(CacheScope::Private))
    }

    /// Unfiltered: rmcp asks it for the schema of any tool, to check headers against arguments.
    fn get_tool(&self, name: &str) -> Option<Tool> {
        let of_three = compact::TOOLS.iter().find(|tool| tool.name == name).cloned();
        self.catalogue().find(name).map(|offer| offer.tool.clone()).or(of_three)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let (caller, view) = (self.caller(&context).await, self.view(&context));
        let call = Call {
            tool: request.name.into_owned(),
            arguments: request.arguments.unwrap_or_default(),
            client: client_name(&context, caller.as_ref().ok()),
            within: trace_span(&context),
            trace: named_trace(&context),
            is_large: is_large(&context),
            opens_links: opens_links(&context),
            consent: Consent {
                channel: channel(&context),
                token: None,
                state: request.request_state,
                responses: request.input_responses,
            },
            abandoned: context.ct,
            is_reading: false,
        };
        self.0.desk.answer(caller, &view, call).await
    }

    async fn list_prompts(
        &self,
        page: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        no_cursor(page)?;
        let caller = self.asking(&context).await?;
        let prompts = self.0.prompts.listed(&self.0.desk.audience(&caller, &self.view(&context)));
        Ok(ListPromptsResult::with_all_items(prompts)
            .with_ttl_ms(LIST_TTL_MS)
            .with_cache_scope(CacheScope::Private))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let (caller, view) = (self.asking(&context).await?, self.view(&context));
        let said = request.arguments.unwrap_or_default();
        let audience = self.0.desk.audience(&caller, &view);
        Ok(self.0.prompts.get(&audience, &self.0.documents, &request.name, said)?.into())
    }

    async fn list_resources(
        &self,
        page: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        no_cursor(page)?;
        let (caller, view) = (self.asking(&context).await?, self.view(&context));
        let listed = resources::listed(&self.0.desk.audience(&caller, &view), &self.0.documents);
        Ok(ListResourcesResult::with_all_items(listed)
            .with_ttl_ms(LIST_TTL_MS)
            .with_cache_scope(CacheScope::Private))
    }

    async fn list_resource_templates(
        &self,
        page: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        no_cursor(page)?;
        let caller = self.asking(&context).await?;
        let templates = resources::templates(&self.0.desk.audience(&caller, &self.view(&context)));
        let result = ListResourceTemplatesResult::with_all_items(templates);
        Ok(result.with_ttl_ms(LIST_TTL_MS).with_cache_scope(CacheScope::Private))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let (caller, view) = (self.asking(&context).await?, self.view(&context));
        let (tool, arguments) = match resources::find(self.catalogue(), &self.0.documents, &view, &request.uri)? {
            Sought::Text(text) => return Ok((*text).into()),
            Sought::Call { tool, arguments } => (tool, arguments),
        };
        let call = Call {
            tool,
            arguments,
            client: client_name(&context, Some(&caller)),
            within: trace_span(&context),
            trace: named_trace(&context),
            is_large: is_large(&context),
            opens_links: None,
            consent: Consent { channel: Channel::None, token: None, state: None, responses: None },
            abandoned: context.ct,
            is_reading: true,
        };
        let request_id = caller.origin().request_id;
        match self.0.desk.read_at(caller, &view, call).await {
            Ok(shown) => Ok(resources::answered(&request.uri, shown, request_id.as_str()).into()),
            Err(error) => Err(resources::refused(self.catalogue(), &error, &request.uri, request_id.as_str())),
        }
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        let (caller, view) = (self.asking(&context).await?, self.view(&context));
        let source = completion::source(&self.0.prompts, &self.0.desk.audience(&caller, &view), &request)?;
        let Some(source) = source else { return Ok(completion::result(Suggested::default())) };
        let chosen = request.context.and_then(|chosen| chosen.arguments).unwrap_or_default();
        let api = suggestions::chosen_api(chosen.values());
        let typed = Typed { text: &request.argument.value, api, abandoned: &context.ct };
        let suggested = Box::pin(suggestions::suggest(&self.0.desk, caller, &view, &source, &typed)).await;
        suggested.map(completion::result).map_err(|error| failure::protocol_error(self.catalogue(), &error))
    }
}

/// Lists are one page each.
fn no_cursor(page: Option<PaginatedRequestParams>) -> Result<(), ErrorData> {
    if page.is_some_and(|page| page.cursor.is_some()) {
        let message = "No page of this list ever gave a cursor: it is one page. Ask without `cursor`.";
        return Err(ErrorData::invalid_params(message, None));
    }
    Ok(())
}

/// The span of the HTTP request that the call came in: the library runs the call elsewhere.
fn trace_span(context: &RequestContext<RoleServer>) -> Span {
    part::<TraceSpan>(context).map_or_else(Span::none, |span| span.0.clone())
}

/// What a call says of the trace that it is part of. Where its HTTP request says so itself, that counts.
fn named_trace(context: &RequestContext<RoleServer>) -> HeaderMap {
    let is_known = |parts: &Parts| parts.headers.contains_key(TRACE_PARENT);
    if context.extensions.get::<Parts>().is_some_and(is_known) {
        return HeaderMap::new();
    }
    let named = [(TRACE_PARENT, context.meta.get_traceparent()), (TRACE_STATE, context.meta.get_tracestate())];
    let header = |(name, text): (HeaderName, Option<&str>)| Some((name, HeaderValue::from_str(text?).ok()?));
    named.into_iter().filter_map(header).collect()
}

/// How the user of the client can be asked.
fn channel(context: &RequestContext<RoleServer>) -> Channel {
    let declared = context.client_capabilities().and_then(|capabilities| capabilities.elicitation);
    // One that names no mode means forms.
    if declared.is_none_or(|modes| modes.form.is_none() && modes.url.is_some()) {
        return Channel::None;
    }
    match context.protocol_version() {
        Some(version) if !version.has_initialize() => Channel::Form,
        _ if part::<Arc<Caller>>(context).is_some() && part::<InSession>(context).is_none() => Channel::None,
        _ => Channel::Between(context.peer.clone()),
    }
}

/// Who opens links for the user of the client, where a server may ask in between.
fn opens_links(context: &RequestContext<RoleServer>) -> Option<Peer<RoleServer>> {
    let declared = context.client_capabilities().and_then(|capabilities| capabilities.elicitation)?;
    let is_asked_between = context.protocol_version().is_none_or(|version| version.has_initialize())
        && part::<Arc<Caller>>(context).is_none();
    (declared.url.is_some() && is_asked_between).then(|| context.peer.clone())
}

/// Whether the message of the call is large.
fn is_large(context: &RequestContext<RoleServer>) -> bool {
    part::<IsLarge>(context).is_some()
}

/// What a client calls itself. Over HTTP only the newer era says so in every request; for the older one
/// the `User-Agent` is all there is.
fn client_name(context: &RequestContext<RoleServer>, caller: Option<&Caller>) -> String {
    let named = context.meta.client_info().map(|client| client.name);
    let is_http = context.extensions.get::<Parts>().is_some();
    let name = named.or_else(|| {
        if is_http {
            caller.and_then(|caller| caller.origin().user_agent().map(str::to_owned))
        } else {
            context.client_info().map(|client| client.name)
        }
    });
    name.unwrap_or_default().chars().take(CLIENT_NAME).collect()
}
