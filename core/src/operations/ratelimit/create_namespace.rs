//! `ratelimit.createNamespace`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::namespace::{insert, target};
use crate::audit::Event;
use crate::authorization::{Expression, Rule};
use crate::catalogue::{About, Effect, Operation};
use crate::changes::Mutation;
use crate::ids::NamespaceId;
use crate::reply::Reply;
use crate::store::namespaces::Namespace;
use crate::store::subject::Subject;
use crate::store::{namespaces, overrides};
use crate::{Caller, Code, Error, Keyrack};

/// Creates a namespace of rate limits, or revives a deleted one.
#[derive(Debug)]
pub struct CreateNamespace;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// Unique, case-sensitive.
    #[schemars(length(min = 1, max = 512))]
    name: String,
}

/// What is answered.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// `rlns_…`
    pub namespace_id: NamespaceId,
}

impl Operation for CreateNamespace {
    const ABOUT: About = About {
        name: "ratelimit.createNamespace",
        title: "Create a namespace",
        summary: "Creates a rate-limit namespace before its first use, or revives one that was deleted.",
        description: "The first check of a limit in a namespace creates it, too; created here, it can have overrides \
                      before. A name that exists answers 409. A deleted namespace lives again under its old id and \
                      without its overrides; counts of windows that have not ended go on.",
        example: r#"{"name": "sms"}"#,
        rule: Rule::forbidding(Expression::Leg("ratelimit.*.create_namespace")),
        effect: Effect::Write,
        idempotent: false,
        errors: &[Code::RatelimitNamespaceAlreadyExists],
        is_own: true,
        ..About::DEFAULT
    };

    type Request = Request;
    type Response = Response;

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Response>, Error> {
        let authorized = caller.authorize(&Self::ABOUT.rule, &[])?;
        let mut mutation = keyrack.change(caller).await?;
        let found = namespaces::find(mutation.connection(), caller.workspace_id(), &request.name).await?;
        let namespace_id = match found {
            None => insert(&mut mutation, &request.name).await?,
            Some(namespace) if namespace.deleted && namespace.name == request.name => {
                revive(&mut mutation, namespace).await?
            }
            Some(namespace) => return Err(is_taken(&namespace, &request.name)),
        };
        mutation.commit().await?;
        Ok(authorized.reply(Response { namespace_id: namespace_id.into() }))
    }
}

/// Makes a deleted namespace live again. Its overrides ended with it, and whoever sets one again gets that alone.
async fn revive(mutation: &mut Mutation, namespace: Namespace) -> Result<String, Error> {
    let now = mutation.now();
    overrides::delete_of_namespace(mutation.connection(), &namespace.id, now).await?;
    namespaces::revive(mutation.connection(), &namespace.id, now).await?;
    let text = format!("Revived rate-limit namespace {}", namespace.id);
    mutation.record(Event::new("ratelimitNamespace.create", text).on(target(&namespace)));
    mutation.touch(Subject::Namespace(namespace.id.clone()));
    Ok(namespace.id)
}

/// The refusal of a name by which another namespace is found: its name, or its id, which wins over names.
fn is_taken(namespace: &Namespace, name: &str) -> Error {
    let text = if namespace.name == name {
        format!("There is a namespace with the name \"{name}\" already.")
    } else {
        format!("\"{name}\" is the id of a namespace, so no other may have it as its name. Send a name.")
    };
    Error::new(Code::RatelimitNamespaceAlreadyExists, text)
}
