//! Asking people before a call that destroys, cuts off or hands out power.
//!
//! What is asked is made of what is stored, never of a model's words. Where a client shows forms, its user is asked, by the
//! mechanism of its protocol era: the newer one answers the call with a question and is called again with its answer, the
//! older one asks in between. Where it does not, the model is given a text that says the user agreed, which is a bump in
//! the road and no consent: only forms and approvals at the operator's terminal are.

use std::collections::BTreeMap;
use std::time::Duration;

use keyrack_core::catalogue::Question;
use keyrack_core::confirmations::{self, ASKED_MS, Held, Void};
use keyrack_core::{Code, Error};
use rmcp::RoleServer;
use rmcp::model::{
    ElicitRequest, ElicitRequestParams, ElicitResult, ElicitationAction, ElicitationSchema, InputRequest,
    InputRequiredResult, InputResponses,
};
use rmcp::service::Peer;
use serde_json::{Value, json};

use crate::backend::Backend;
use crate::failure::NOTHING_DONE;
use crate::hygiene;
use crate::schema::TOKEN;

/// The one question of a form, and its one answer.
const QUESTION: &str = "confirm";
/// Ways in which people are asked, as they are counted.
const FORM: &str = "form";
const TEXT: &str = "text";
/// Characters of a fact in a question.
const LONGEST_FACT: usize = 200;

/// How people are asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Confirm {
    /// Whoever talks to the assistant is, as well as their client can.
    #[default]
    Ask,
    /// Somebody at the operator's terminal is: `keyrack approvals`.
    Held,
    /// Nobody is. It is for automation, and only an operator can say so.
    Off,
}

/// How the user of a client can be asked.
#[derive(Debug)]
pub(crate) enum Channel {
    /// Not at all.
    None,
    /// By a form that answers the call.
    Form,
    /// By a form in between.
    Between(Peer<RoleServer>),
}

/// What a call brings of an agreement, and how to get one.
#[derive(Debug)]
pub(crate) struct Consent {
    pub(crate) channel: Channel,
    /// What the model says of it.
    pub(crate) token: Option<String>,
    /// What the form that answered the call before was about.
    pub(crate) state: Option<String>,
    /// What the user said in it.
    pub(crate) responses: Option<InputResponses>,
}

/// How it ended.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The call is to be acted on. What was asked between may have changed meanwhile.
    Agreed,
    /// The call is to be answered by a form.
    Asks(Box<InputRequiredResult>),
    /// The user agreed while the call waited: it [counts](counted) if what they were asked about is still so.
    Told(String),
}

impl Consent {
    /// Seeks an agreement to a call.
    ///
    /// # Errors
    /// When there is none: why not, and how there may be.
    pub(crate) async fn seek(
        self,
        mode: Confirm,
        backend: &dyn Backend,
        call: &confirmations::Call<'_>,
    ) -> Result<Verdict, Error> {
        match mode {
            Confirm::Off => Ok(Verdict::Agreed),
            Confirm::Held => held(backend, call).await,
            Confirm::Ask => self.asked(backend, call).await,
        }
    }

    async fn asked(self, backend: &dyn Backend, call: &confirmations::Call<'_>) -> Result<Verdict, Error> {
        if let (Some(state), Some(responses)) = (&self.state, &self.responses) {
            let answered = match said(responses).and_then(|said| agreed(&said, call.question)) {
                Ok(()) => counted(backend, call, state).await,
                Err(error) => Err(error),
            };
            return noted(backend, FORM, answered).map(|()| Verdict::Agreed);
        }
        if let Some(token) = &self.token {
            let answered = counted(backend, call, token).await;
            return noted(backend, TEXT, answered).map(|()| Verdict::Agreed);
        }
        let token = backend.ask(call).await?;
        let how = if matches!(self.channel, Channel::None) { TEXT } else { FORM };
        backend.metrics().asked_people(how, "asked");
        match self.channel {
            Channel::None => Err(by_token(call, &token)),
            Channel::Form => {
                let request = InputRequest::Elicitation(ElicitRequest::new(form(call)?));
                let requests = BTreeMap::from([(QUESTION.to_owned(), request)]);
                Ok(Verdict::Asks(Box::new(InputRequiredResult::new(Some(requests), Some(token)))))
            }
            Channel::Between(peer) => {
                let patience = Duration::from_millis(ASKED_MS.unsigned_abs());
                let said = peer.create_elicitation_with_timeout(form(call)?, Some(patience)).await;
                let said = said.map_err(|_| nothing_done("the user did not answer"));
                let answered = said.and_then(|said| agreed(&said, call.question));
                noted(backend, FORM, answered).map(|()| Verdict::Told(token))
            }
        }
    }
}

/// Counts what became of a question, and passes it on. What failed on our side became of nothing.
fn noted(backend: &dyn Backend, how: &'static str, answered: Result<(), Error>) -> Result<(), Error> {
    match &answered {
        Ok(()) => backend.metrics().asked_people(how, "agreed"),
        Err(error) if error.code() == Code::PreconditionFailed => backend.metrics().asked_people(how, "refused"),
        Err(_) => {}
    }
    answered
}

/// What a user said in the form that answered the call before.
fn said(responses: &InputResponses) -> Result<ElicitResult, Error> {
    let said = responses.get(QUESTION).cloned().unwrap_or(Value::Null);
    serde_json::from_value(said).map_err(|_| nothing_done("there was no answer"))
}

/// Whether a user agreed, by what their form says.
fn agreed(said: &ElicitResult, question: &Question) -> Result<(), Error> {
    match said.action {
        ElicitationAction::Accept => {}
        ElicitationAction::Decline => return Err(nothing_done("the user declined")),
        _ => return Err(nothing_done("the user closed the question without an answer")),
    }
    let answer = said.content.as_ref().map(|content| &content[QUESTION]);
    let typed = typed(question);
    let is_agreed = match (&typed, answer) {
        (Some(typed), Some(Value::String(text))) => hygiene::line(text, LONGEST_FACT).trim() == typed,
        (None, Some(Value::Bool(is_agreed))) => *is_agreed,
        _ => false,
    };
    match (&typed, is_agreed) {
        (_, true) => Ok(()),
        (Some(_), false) => Err(nothing_done("what the user typed is not what was asked for")),
        (None, false) => Err(nothing_done("the user did not agree")),
    }
}

/// What a user types to agree, as they are shown it; nothing where it cannot be shown whole.
fn typed(question: &Question) -> Option<String> {
    let shown = hygiene::line(question.typed.as_deref()?, LONGEST_FACT).trim().to_owned();
    (!shown.is_empty() && shown.chars().count() <= LONGEST_FACT).then_some(shown)
}

/// Lets an agreement count, once.
///
/// # Errors
/// When it does not, or the store does not answer.
pub(crate) async fn counted(
    backend: &dyn Backend,
    call: &confirmations::Call<'_>,
    token: &str,
) -> Result<(), Error> {
    match backend.agree(call, token).await? {
        Ok(()) => Ok(()),
        Err(void) => Err(does_not_count(void)),
    }
}

/// Why an agreement does not count.
pub(crate) fn does_not_count(void: Void) -> Error {
    let why = match void {
        Void::Unknown => "this agreement was never asked for",
        Void::Over => "the time to agree is over",
        Void::Spent => "this agreement was used already",
        Void::OtherCall => "this agreement is for another call: the arguments must be the same",
        Void::Changed => "what the user was asked about has changed since",
    };
    nothing_done(&format!("{why}. Call again without `{TOKEN}` to ask anew"))
}

async fn held(backend: &dyn Backend, call: &confirmations::Call<'_>) -> Result<Verdict, Error> {
    let (outcome, verdict) = match backend.hold(call).await? {
        Held::Approved => ("agreed", Ok(Verdict::Agreed)),
        Held::Refused => ("refused", Err(nothing_done("the operator refused this call"))),
        Held::Waiting(id) => {
            let why = format!(
                "the operator has to approve this call, on the server: `keyrack approvals approve {id}`. Tell the user, and \
                 call again with the same arguments once that is done"
            );
            ("asked", Err(nothing_done(&why)))
        }
    };
    backend.metrics().asked_people("held", outcome);
    verdict
}

fn nothing_done(why: &str) -> Error {
    Error::new(Code::PreconditionFailed, format!("{NOTHING_DONE}{why}."))
}

/// The refusal that a model reads whose client shows no forms.
fn by_token(call: &confirmations::Call<'_>, token: &str) -> Error {
    let typed = match typed(call.question) {
        Some(typed) => format!(" Have the user type `{typed}`."),
        None => String::new(),
    };
    let detail = format!(
        "{NOTHING_DONE}the user has to agree first.\n{}\nShow this to the user and ask.{typed} Only if they agree, call \
         again with the same arguments and `{TOKEN}`: \"{token}\", within {} minutes.",
        lines(call),
        ASKED_MS / 60_000,
    );
    Error::new(Code::PreconditionFailed, detail)
}

/// The form of a question.
fn form(call: &confirmations::Call<'_>) -> Result<ElicitRequestParams, Error> {
    let answer = match typed(call.question) {
        Some(typed) => {
            json!({ "type": "string", "title": "Type it to agree", "description": format!("Type {typed} to agree.") })
        }
        None => json!({ "type": "boolean", "title": "I agree", "default": false }),
    };
    let schema = json!({ "type": "object", "properties": { QUESTION: answer }, "required": [QUESTION] });
    let requested_schema: ElicitationSchema = serde_json::from_value(schema).map_err(Error::unexpected)?;
    let message = format!("An assistant asks Keyrack to do this. {}", lines(call));
    Ok(ElicitRequestParams::FormElicitationParams { meta: None, message, requested_schema })
}

/// A question in lines: what is stored stands on lines of its own, without what nobody sees.
fn lines(call: &confirmations::Call<'_>) -> String {
    let text = confirmations::shown(call.question, call.request);
    let lines: Vec<String> = text.lines().map(|line| hygiene::line(line, LONGEST_FACT)).collect();
    lines.join("\n- ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(typed: Option<&str>) -> Question {
        Question { consequences: vec!["Deletes the API."], facts: Vec::new(), typed: typed.map(str::to_owned) }
    }

    #[test]
    fn only_what_was_asked_for_is_an_agreement() {
        let said = |action, content: Value| ElicitResult::new(action).with_content(content);
        for (typed, content, is_agreed) in [
            (None, json!({ "confirm": true }), true),
            (None, json!({ "confirm": false }), false),
            (None, json!({ "confirm": "true" }), false),
            (None, json!({}), false),
            (None, Value::Null, false),
            (Some("payments"), json!({ "confirm": "payments" }), true),
            (Some("payments"), json!({ "confirm": " payments " }), true),
            (Some("payments"), json!({ "confirm": "Payments" }), false),
            (Some("payments"), json!({ "confirm": true }), false),
        ] {
            let agreed = agreed(&said(ElicitationAction::Accept, content.clone()), &question(typed));
            assert_eq!(agreed.is_ok(), is_agreed, "{typed:?} {content}");
        }
        for action in [ElicitationAction::Decline, ElicitationAction::Cancel] {
            let refused = agreed(&said(action, json!({ "confirm": true })), &question(None)).unwrap_err();
            assert!(refused.detail().starts_with("Nothing was changed: the user"), "{refused}");
        }
    }

    #[test]
    fn a_name_that_cannot_be_shown_whole_is_not_to_be_typed() {
        for (name, shown) in [
            ("payments", Some("payments")),
            (" pay\u{202e}ments\n", Some("payments")),
            ("\u{200b} ", None),
            (&"x".repeat(300), None),
        ] {
            assert_eq!(typed(&question(Some(name))).as_deref(), shown, "{name:?}");
        }
    }
}
