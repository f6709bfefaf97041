//! What is declared about an operation: its texts, and the facts that faces build on.

use serde_json::Value;

use crate::authorization::{OnDenied, Rule};
use crate::error::Code;

/// What an operation does to what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing that a later request could see.
    Read,
    /// Creates or changes.
    Write,
    /// Removes something that cannot be brought back.
    Destroy,
}

/// Whether an operation is a tool for assistants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// It is.
    Offered,
    /// It is not, for this reason.
    Withheld(&'static str),
}

/// A list that is read page by page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct List {
    /// The member of an item that, sent as `cursor`, makes that item the first of a page; `None` where only the page
    /// before says where one starts.
    pub id: Option<&'static str>,
}

/// What assistants are shown of an operation.
#[derive(Debug)]
pub struct Assistants {
    /// Whether it is a tool.
    pub tool: Tool,
    /// The group of tools that it is in, where that is not the one of its namespace.
    pub toolset: Option<Toolset>,
    /// What goes after the summary and the origins of ids: at most 140 characters, on what is surprising.
    pub hint: &'static str,
    /// Request members that are not offered.
    pub hidden: &'static [&'static str],
    /// Members of the answer, or of each item of a list, that a concise answer has, such as `identity.externalId`;
    /// none: all of them.
    pub concise: &'static [&'static str],
    /// What makes it an operation on one API.
    pub pinned_by: Option<Pin>,
    /// The read that shows what was created or changed, as it is afterwards.
    pub shown_after: Option<ShownAfter>,
    /// What it answers to its example, as a thing that can be read at an address.
    pub resource: Option<Resource>,
}

/// A read about what an operation created or changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShownAfter {
    /// `keys.getKey`
    pub read: &'static str,
    /// The members of its request. Each is in the answer of the operation, or in its request.
    pub by: &'static [&'static str],
}

/// Something that can be read at an address. The address ends in what the placeholder of the operation's example stands
/// for, if it has one: `keys/{keyId}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resource {
    /// What the address begins with: `keys`.
    pub path: &'static str,
    /// What it is, for people: `A key`.
    pub title: &'static str,
}

impl Assistants {
    /// What is shown of an operation that says nothing: a tool of its namespace's toolset, all of it.
    pub const DEFAULT: Assistants = Assistants {
        tool: Tool::Offered,
        toolset: None,
        hint: "",
        hidden: &[],
        concise: &[],
        pinned_by: None,
        shown_after: None,
        resource: None,
    };
}

/// The request member that says which API an operation is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pin {
    /// It names the API.
    Api(&'static str),
    /// It names a key of the API by its id.
    KeyId(&'static str),
    /// It is a key of the API itself, and a secret.
    Key(&'static str),
}

impl Pin {
    /// The member.
    pub fn member(self) -> &'static str {
        match self {
            Pin::Api(member) | Pin::KeyId(member) | Pin::Key(member) => member,
        }
    }
}

/// A group of tools that are useful together, and that people choose by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is what its tools are about")]
pub enum Toolset {
    Context,
    Apis,
    Keys,
    Identities,
    Ratelimit,
    Analytics,
    Permissions,
    Migrations,
    Audit,
    Admin,
}

impl Toolset {
    /// All of them.
    pub const ALL: [Toolset; 10] = [
        Toolset::Context,
        Toolset::Apis,
        Toolset::Keys,
        Toolset::Identities,
        Toolset::Ratelimit,
        Toolset::Analytics,
        Toolset::Permissions,
        Toolset::Migrations,
        Toolset::Audit,
        Toolset::Admin,
    ];

    /// What people call it.
    pub const fn name(self) -> &'static str {
        match self {
            Toolset::Context => "context",
            Toolset::Apis => "apis",
            Toolset::Keys => "keys",
            Toolset::Identities => "identities",
            Toolset::Ratelimit => "ratelimit",
            Toolset::Analytics => "analytics",
            Toolset::Permissions => "permissions",
            Toolset::Migrations => "migrations",
            Toolset::Audit => "audit",
            Toolset::Admin => "admin",
        }
    }

    /// Whether its tools are worth their place in every conversation.
    pub const fn is_default(self) -> bool {
        match self {
            Toolset::Context
            | Toolset::Apis
            | Toolset::Keys
            | Toolset::Identities
            | Toolset::Ratelimit
            | Toolset::Analytics => true,
            Toolset::Permissions | Toolset::Migrations | Toolset::Audit | Toolset::Admin => false,
        }
    }

    /// Where the operations of a namespace belong that say nothing else: what is not known administers the server.
    fn of_namespace(namespace: &str) -> Toolset {
        match namespace {
            "analytics" => Toolset::Analytics,
            "docs" => Toolset::Context,
            "apis" => Toolset::Apis,
            "keys" => Toolset::Keys,
            "identities" => Toolset::Identities,
            "ratelimit" => Toolset::Ratelimit,
            "permissions" => Toolset::Permissions,
            "audit" => Toolset::Audit,
            _ => Toolset::Admin,
        }
    }
}

/// What every face needs to know about an operation.
#[derive(Debug)]
pub struct About {
    /// `keys.createKey`: the namespace, a dot, the action. It is the path, the tool and the command.
    pub name: &'static str,
    /// A title for people: `Create a key`.
    pub title: &'static str,
    /// One sentence of at most 160 characters.
    pub summary: &'static str,
    /// Markdown: what is irreversible, secret or surprising, where ids come from, what it costs.
    pub description: &'static str,
    /// A request in JSON that works, with a placeholder of [`crate::docs::PLACEHOLDERS`], such as `<apiId>`,
    /// for what its reader has to fill in.
    pub example: &'static str,
    /// The permission rule.
    pub rule: Rule,
    /// Codes that it answers besides those that any operation may.
    pub errors: &'static [Code],
    /// What it does to what is stored.
    pub effect: Effect,
    /// Whether doing it twice leaves the same as doing it once.
    pub idempotent: bool,
    /// The request member that an HTTP body consists of, where that body is not an object. Faces whose
    /// roots are objects, tools and commands, name it.
    pub bare_body: Option<&'static str>,
    /// Bytes that the body of a request may have: enough for the maxima of its schema, as a test makes sure.
    pub largest_body: usize,
    /// The request member that may name the root key of the call, which is then refused for good: people are asked
    /// before it is sent.
    pub ends_root_key: Option<&'static str>,
    /// Whether the answer has `data`: all have but `identities.deleteIdentity`, whose wire has `meta` alone.
    pub has_data: bool,
    /// What the answer is a page of, if it is one.
    pub list: Option<List>,
    /// Whether [`super::Operation::attempt`] is worth trying.
    pub is_hot: bool,
    /// Whether only Keyrack has it: other servers of the same API do not.
    pub is_own: bool,
    /// What assistants are shown of it.
    pub assistants: Assistants,
}

impl About {
    /// What an operation is unless it says otherwise: a read, offered as a tool.
    pub const DEFAULT: About = About {
        name: "",
        title: "",
        summary: "",
        description: "",
        example: "",
        rule: Rule::ANY_ROOT_KEY,
        errors: &[],
        effect: Effect::Read,
        idempotent: true,
        bare_body: None,
        largest_body: 256 * 1024,
        ends_root_key: None,
        has_data: true,
        list: None,
        is_hot: false,
        is_own: false,
        assistants: Assistants::DEFAULT,
    };

    /// The part of the name before its dot: `keys`.
    pub fn namespace(&self) -> &'static str {
        self.name.split_once('.').map_or(self.name, |(namespace, _)| namespace)
    }

    /// The part of the name after its dot: `createKey`.
    pub fn action(&self) -> &'static str {
        self.name.split_once('.').map_or("", |(_, action)| action)
    }

    /// The group of tools that it is in.
    pub fn toolset(&self) -> Toolset {
        self.assistants.toolset.unwrap_or_else(|| Toolset::of_namespace(self.namespace()))
    }

    /// Codes that any operation may answer, whatever it does.
    pub const COMMON_CODES: [Code; 13] = [
        Code::InvalidInput,
        Code::RequestBodyUnreadable,
        Code::CredentialMissing,
        Code::CredentialMalformed,
        Code::RootKeyNotFound,
        Code::Forbidden,
        Code::KeyDisabled,
        Code::WorkspaceDisabled,
        Code::RequestTimeout,
        Code::RequestBodyTooLarge,
        Code::WorkspaceRateLimited,
        Code::UnexpectedError,
        Code::ServiceUnavailable,
    ];

    /// The codes of this operation: what its rules say of a refusal, and what it states itself; by status, without
    /// [`About::COMMON_CODES`].
    pub fn codes(&self) -> Vec<Code> {
        let main = self.rule.asks().then_some(self.rule.on_denied);
        let denied = main.into_iter().chain(self.rule.conditional.iter().map(|rule| rule.on_denied));
        let denied = denied.filter_map(|on_denied| match on_denied {
            OnDenied::Forbidden => Some(Code::InsufficientPermissions),
            OnDenied::Masked(code) => Some(code),
            OnDenied::Verdict => None,
        });
        let mut codes: Vec<Code> = denied.chain(self.errors.iter().copied()).collect();
        codes.sort_by_key(|code| (code.status(), code.path()));
        codes.dedup();
        codes
    }

    /// A request as an HTTP body.
    pub fn to_body(&self, mut request: Value) -> Value {
        match self.bare_body {
            Some(member) => request[member].take(),
            None => request,
        }
    }
}
