//! `docs.search`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::caller::Via;
use crate::catalogue::{About, Assistants, Operation};
use crate::docs::Reader;
use crate::operations::index;
use crate::reply::Reply;
use crate::{Caller, Error, Keyrack};

const DEFAULT_LIMIT: i64 = 5;

/// Finds pages of the documentation.
#[derive(Debug)]
pub struct Search;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// What to look for, in a few words.
    #[schemars(length(min = 1, max = 256))]
    query: String,
    /// Pages at most.
    #[serde(default = "default_limit")]
    #[schemars(range(min = 1, max = 20))]
    limit: i64,
}

fn default_limit() -> i64 {
    DEFAULT_LIMIT
}

/// What is answered.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Response {
    /// Best first; empty when nothing matches.
    pub pages: Vec<Page>,
}

/// A page of the documentation.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Page {
    /// Where it is on this server; after a `#`, the part of it.
    pub path: String,
    /// The operation, the error code, or the guide and its part.
    pub title: String,
    /// In a sentence.
    pub summary: String,
    /// What else to know: permissions, an example, what to do; of a guide, the part that fits, in Markdown.
    pub text: String,
}

impl Operation for Search {
    const ABOUT: About = About {
        name: "docs.search",
        title: "Search the documentation",
        summary: "Finds pages of the built-in documentation: operations with an example, error codes with what to do, guides.",
        description: "Pages that have all words of the query come first. The path leads to the whole page on this \
                      server, which lists every member of the request and the answer.",
        example: r#"{"query": "limit a key to 100 uses per minute"}"#,
        assistants: Assistants { hint: "Ask with a few words, or with an error's code.", ..Assistants::DEFAULT },
        is_own: true,
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = Response;

    async fn handle(_: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Response>, Error> {
        let authorized = caller.authorize(&Self::ABOUT.rule, &[])?;
        let most = usize::try_from(request.limit).unwrap_or_default();
        let reader = if caller.origin().via == Via::Mcp { Reader::Assistant } else { Reader::Anyone };
        let pages = index().search(&request.query, most, reader).into_iter().map(|page| Page {
            path: page.path,
            title: page.title,
            summary: page.summary,
            text: page.text,
        });
        Ok(authorized.reply(Response { pages: pages.collect() }))
    }
}
