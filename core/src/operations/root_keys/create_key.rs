//! `rootKeys.createKey`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::power::{check_covered, check_known, in_words};
use crate::authorization::{Expression, Rule};
use crate::calendar::UnixMs;
use crate::catalogue::{About, Consequences, Effect, Operation, Question, if_so};
use crate::ids::RootKeyId;
use crate::keys::secret::Revealed;
use crate::operations::fields::distinct;
use crate::reply::Reply;
use crate::root_keys::{NewRootKey, add_root_key};
use crate::schema::together;
use crate::value::Patch;
use crate::{Caller, Code, Error, Keyrack};

/// Creates a root key.
#[derive(Debug)]
pub struct CreateKey;

/// What is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// `*`, tuples such as `api.*.read_key`, or URNs of this workspace.
    #[schemars(length(min = 0, max = 1000), inner(length(min = 1, max = 255)))]
    permissions: Vec<String>,
    /// For people.
    #[schemars(length(max = 255))]
    name: Option<String>,
    /// Unix ms after which it is refused; null or absent: never.
    #[serde(default)]
    // The contract has no bounds here; a time that is past is refused below.
    #[schemars(with = "Patch<i64>", extend("default" = null))]
    expires: Patch<UnixMs>,
}

/// What is answered.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// `key_…`
    pub key_id: RootKeyId,
    /// The root key itself. It is shown this once.
    pub key: Revealed,
}

impl Operation for CreateKey {
    const ABOUT: About = About {
        name: "rootKeys.createKey",
        title: "Create a root key",
        summary: "Creates a root key with these permissions.",
        description: "A root key authenticates against this server. Nobody gives more than they hold: each permission must be covered by one of the caller's, by \
                      being equal to it, by `*`, by a `*` resource over a concrete one, or by an enclosing URN. A \
                      caller with an expiry must give one that is not later. No permission makes an operator.",
        example: r#"{"name": "gateway", "permissions": ["api.*.verify_key"]}"#,
        rule: Rule::forbidding(Expression::Leg("unkey:v1:{workspaceId}:rootKeys/*#write")),
        effect: Effect::Write,
        idempotent: false,
        ..About::DEFAULT
    };

    const ASKS: bool = true;

    type Request = Request;
    type Response = Response;

    fn consequences(request: &Request, _: UnixMs) -> Consequences {
        let sentence = "Makes a root key. Whoever has it can do what it may, without asking anybody.";
        if_so([(sentence, !request.permissions.is_empty())])
    }

    async fn question(
        keyrack: &Keyrack,
        caller: &Caller,
        request: &Request,
        consequences: Consequences,
    ) -> Result<Question, Error> {
        let Request { permissions, name, expires } = request;
        let authorized = caller.authorize(&Self::ABOUT.rule, &[])?;
        let expires_at = expires.into_value();
        together(check_known(caller, permissions), check_expiry(keyrack, caller, expires_at))?;
        check_covered(caller, permissions)?;
        let question = authorized.asking(consequences);
        let held: Vec<&str> = permissions.iter().map(String::as_str).collect();
        let question = question.text("may", in_words(caller.workspace_id(), held));
        Ok(question.text_if_any("name", name.as_deref()).time_if_any("expires", expires_at))
    }

    async fn handle(keyrack: &Keyrack, caller: &Caller, request: Request) -> Result<Reply<Response>, Error> {
        let authorized = caller.authorize(&Self::ABOUT.rule, &[])?;
        let expires_at = request.expires.into_value();
        together(check_known(caller, &request.permissions), check_expiry(keyrack, caller, expires_at))?;
        check_covered(caller, &request.permissions)?;
        let new = NewRootKey {
            name: request.name.filter(|name| !name.is_empty()),
            permissions: distinct(request.permissions),
            operator: false,
            expires_at,
        };
        let mut mutation = keyrack.change(caller).await?;
        let (key_id, key) = add_root_key(&mut mutation, new).await?;
        mutation.commit().await?;
        Ok(authorized.reply(Response { key_id: key_id.into(), key: Revealed(key) }))
    }
}

fn check_expiry(keyrack: &Keyrack, caller: &Caller, expires_at: Option<UnixMs>) -> Result<(), Error> {
    if expires_at.is_some_and(|expires_at| expires_at <= keyrack.clock().now()) {
        return Err(Error::invalid(
            "body.expires",
            "`expires` must be in the future",
            "Send Unix milliseconds later than now, or leave it out.",
        ));
    }
    match (caller.root_key().expires_at, expires_at) {
        (Some(own), Some(expires_at)) if expires_at <= own => Ok(()),
        (None, _) => Ok(()),
        (Some(_), _) => Err(Error::new(
            Code::InsufficientPermissions,
            "A root key that expires cannot make one that outlives it. Send `expires` not later than its own.",
        )),
    }
}
