//! What a call asks for: its arguments, read leniently where that is safe, and the answer to them as far as it is shown.
//!
//! Models send null for "nothing to say", an object as text that holds its JSON, and numbers as texts. Each of these can
//! mean one thing only, and is read as that. Everything else is checked against the schema that the tool shows, and all
//! faults are told at once.

use std::sync::Arc;

use keyrack_core::catalogue::{About, Effect, Pin, Question};
use keyrack_core::error::{Code, Fault};
use keyrack_core::reply::Pagination;
use keyrack_core::{Caller, Error, json};
use rmcp::model::JsonObject;
use serde_json::Value;

use crate::afterwards::Afterwards;
use crate::backend::Backend;
use crate::catalogue::{Offer, PAGE_SIZE};
use crate::projection::{self, Shown};
use crate::rendering;
use crate::schema::{CONCISE, DECRYPT, DETAIL, TOKEN, assume, drop_nulls, to_request};
use crate::secrets::Secrets;
use crate::times;

/// Bytes of texts that are read as what they hold, in one call: more is no slip of a model.
pub(crate) const TEXT_BYTES: usize = 64 << 10;
/// Values in such a text.
const MOST_VALUES: usize = 10_000;
/// Levels that may be around it.
const AROUND_TEXTS: usize = 10;
/// Times that a page is asked for again, because it did not fit.
const MOST_TRIES: usize = 4;

/// What a call asks for.
#[derive(Debug)]
pub(crate) struct Asked {
    request: Value,
    is_concise: bool,
    /// What says that the user agreed.
    token: Option<String>,
}

impl Asked {
    /// Checks arguments against the schema that the tool shows in this view, and fills in what they leave to it.
    pub(crate) fn read(offer: &Offer, mut arguments: JsonObject, api: Option<&str>) -> Result<Asked, Error> {
        let (tool, form) = offer.shape(api.is_some());
        let mut left = TEXT_BYTES;
        unwrap_texts(&mut arguments, &tool.input_schema, &mut left);
        drop_nulls(&mut arguments, &tool.input_schema);
        if offer.about.list.is_some() {
            arguments.entry("limit").or_insert_with(|| PAGE_SIZE.into());
        }
        let arguments = Value::Object(arguments);
        let faults = form.arguments.faults(&arguments);
        let Value::Object(mut request) = arguments else {
            return Err(Error::unexpected("arguments are no object"));
        };
        form.assumed.pointers().for_each(|place| assume(&mut request, place));
        let detail = request.remove(DETAIL);
        let token = offer.asks().then(|| request.remove(TOKEN)).flatten();
        let token = token.and_then(|token| token.as_str().map(|token| token.trim().to_owned()));
        // What is asked for by name is shown.
        let is_expanded = request.get("expand").is_some_and(|expand| *expand != Value::Array(Vec::new()))
            || request.get(DECRYPT) == Some(&Value::Bool(true));
        let is_concise = form.has_detail && !is_expanded && detail.is_none_or(|detail| detail == CONCISE);
        let both = if faults.is_empty() { to_request(&mut request, form.kept.as_deref()).err() } else { None };
        let faults = faults.into_iter().chain(both.map(|path| sent_and_cleared(&path))).collect::<Vec<_>>();
        if !faults.is_empty() {
            return Err(Error::new(Code::InvalidInput, "The arguments are not valid.").with_faults(faults));
        }
        if let (Some(Pin::Api(member)), Some(api)) = (offer.about.assistants.pinned_by, api) {
            request.insert(member.to_owned(), api.into());
        }
        Ok(Asked { request: Value::Object(request), is_concise, token })
    }

    /// What a person is to be asked before this is done. What is not about the one API of the view is refused.
    pub(crate) async fn question(
        &self,
        offer: &Offer,
        backend: &dyn Backend,
        caller: &Caller,
        api: Option<&str>,
    ) -> Result<Option<Question>, Error> {
        if let Some(api) = api {
            self.is_within(offer.about, backend, caller, api).await?;
        }
        backend.question(offer, caller, &self.request).await
    }

    /// The request that is sent.
    pub(crate) fn request(&self) -> &Value {
        &self.request
    }

    /// What says that the user agreed.
    pub(crate) fn token(&self) -> Option<String> {
        self.token.clone()
    }

    /// Runs the operation, and shows of its answer what fits.
    pub(crate) async fn run(
        self,
        offer: &Arc<Offer>,
        backend: &dyn Backend,
        caller: Caller,
        secrets: &Secrets,
        after: Option<Afterwards>,
    ) -> Result<Shown, Error> {
        let once_more = offer.about.list.is_some_and(|list| list.id.is_none());
        let again = once_more.then(|| (self.request.clone(), backend.renew(&caller)));
        let meant = match offer.about.effect {
            Effect::Read => Vec::new(),
            Effect::Write | Effect::Destroy => times::meant(&offer.sent_times, &self.request, backend.now()),
        };
        let delivery = secrets.prepare(backend, &caller, offer, &self.request).await?;
        let mut answer = backend.run(offer, caller, self.request).await?;
        // Nothing comes between a key and whoever is to have it.
        let mut notes = secrets.hand_over(delivery, backend, offer, &mut answer).await?;
        let after = match after {
            Some(after) => after.shown(backend, &answer.data).await,
            None => None,
        };
        if offer.about.list.is_none() {
            let written = times::written(&offer.answered_times, &answer.data);
            notes.extend((!written.is_empty()).then(|| format!("Times: {}.", written.join("; "))));
        }
        notes.extend(meant);
        let mut shown = projection::show(offer.about, answer, self.is_concise);
        if let (Some(_), Some((mut request, renewed))) = (shown.again, again) {
            let caller = renewed?;
            // Only a page itself says where the next one begins, and what comes meanwhile may be longer.
            for _ in 0..MOST_TRIES {
                let Some(kept) = shown.again else { break };
                request["limit"] = kept.into();
                let answer = backend.run(offer, backend.renew(&caller)?, request.clone()).await?;
                shown = projection::show(offer.about, answer, self.is_concise);
            }
        }
        notes.append(&mut shown.notes);
        let goes_on = |pagination: &Pagination| pagination.has_more && pagination.cursor.is_some();
        let has_more = shown.answer.pagination.as_ref().is_some_and(goes_on);
        notes.extend(has_more.then(|| rendering::MORE.to_owned()));
        Ok(Shown { notes, after, ..shown })
    }

    /// Whether what is asked is about the one API of the view.
    async fn is_within(
        &self,
        about: &About,
        backend: &dyn Backend,
        caller: &Caller,
        api: &str,
    ) -> Result<(), Error> {
        let Some(pin) = about.assistants.pinned_by else { return Ok(()) };
        let named = self.request[pin.member()].as_str().map(|named| (pin, named));
        // Some take a key by its id or by its text.
        let by_text = self.request["key"].as_str().map(|text| (Pin::Key("key"), text));
        match named.or(by_text) {
            Some(named) if backend.is_of_api(caller, named, api).await? => Ok(()),
            _ => Err(Error::not_found(if let Pin::Api(_) = pin { Code::ApiNotFound } else { Code::KeyNotFound })),
        }
    }
}

/// Reads texts as what a schema asks for, where they can be nothing else: JSON of an object or an array, numbers, truth
/// values. An empty text is nothing where no text is asked for.
fn unwrap_texts(arguments: &mut JsonObject, schema: &JsonObject, left: &mut usize) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    arguments.retain(|name, value| {
        let kind = properties.get(name).and_then(|schema| schema["type"].as_str());
        !(value == "" && kind.is_some_and(|kind| kind != "string"))
    });
    for (name, value) in arguments {
        if let Some(schema) = properties.get(name).and_then(Value::as_object) {
            unwrap_text(value, schema, left);
        }
    }
}

/// Reads a text as JSON, as a message would be: so deep, so long, every name as data. `left` is how many bytes of texts
/// may still be.
pub(crate) fn read_text(text: &str, left: &mut usize) -> Option<Value> {
    *left = left.checked_sub(text.len())?;
    json::look_at(text.as_bytes(), AROUND_TEXTS, MOST_VALUES).ok()?;
    json::read(text.as_bytes()).ok()
}

fn unwrap_text(value: &mut Value, schema: &JsonObject, left: &mut usize) {
    let kind = schema.get("type").and_then(Value::as_str).unwrap_or_default();
    let is_text = matches!(kind, "" | "string");
    if let Value::String(text) = value
        && !is_text
        && let Some(read) = read_text(text, left)
    {
        let is_meant = match kind {
            "object" => read.is_object(),
            "array" => read.is_array(),
            "integer" => read.is_i64() || read.is_u64(),
            "number" => read.is_number(),
            "boolean" => read.is_boolean(),
            _ => false,
        };
        if is_meant {
            *value = read;
        }
    }
    match value {
        Value::Object(members) => unwrap_texts(members, schema, left),
        Value::Array(items) => {
            let Some(schema) = schema.get("items").and_then(Value::as_object) else { return };
            items.iter_mut().for_each(|item| unwrap_text(item, schema, left));
        }
        _ => {}
    }
}

fn sent_and_cleared(path: &str) -> Fault {
    Fault {
        location: format!("body.{path}"),
        message: "is sent, and is to be cleared or kept as well".to_owned(),
        fix: Some(format!("Send `{path}`, or what clears or keeps it, not both.")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::catalogue::tests::CATALOGUE;

    fn read(tool: &str, arguments: Value, api: Option<&str>) -> Result<Asked, Error> {
        let Value::Object(arguments) = arguments else { unreachable!() };
        Asked::read(CATALOGUE.find(tool).unwrap(), arguments, api)
    }

    #[test]
    fn lists_have_a_page_size_unless_the_call_says_otherwise() {
        let request = |arguments| read("apis_listApis", arguments, None).unwrap().request;
        assert_eq!(request(json!({})), json!({ "limit": PAGE_SIZE }));
        assert_eq!(request(json!({ "limit": 3 })), json!({ "limit": 3 }));
    }

    #[test]
    fn what_can_mean_one_thing_only_is_read_as_that() {
        let asked = read(
            "keys_createKey",
            json!({
                "apiId": "api_123456", "meta": r#"{"plan": "free", "n": "5"}"#, "expires": "1798243200000", "enabled": "true",
                "credits": "", "ratelimits": r#"[{"name": "requests", "limit": "5", "duration": 1000, "autoApply": true}]"#,
                "roles": null,
            }),
            None,
        );
        let expected = json!({
            "apiId": "api_123456", "meta": { "plan": "free", "n": "5" }, "expires": 1_798_243_200_000_i64, "enabled": true,
            "ratelimits": [{ "name": "requests", "limit": 5, "duration": 1000, "autoApply": true }],
        });
        assert_eq!(asked.unwrap().request, expected);
        // An empty name is a text, and one that is too short.
        let unnamed = read("keys_createKey", json!({ "apiId": "api_123456", "name": "" }), None).unwrap_err();
        assert_eq!(unnamed.faults()[0].location, "body.name");
        for (arguments, place) in [
            (json!({ "apiId": "api_123456", "expires": "tomorrow" }), "body.expires"),
            (json!({ "apiId": "api_123456", "meta": "[1]" }), "body.meta"),
            (json!({ "apiId": "api_123456", "enabled": "5" }), "body.enabled"),
        ] {
            let error = read("keys_createKey", arguments, None).unwrap_err();
            assert_eq!(error.faults()[0].location, place);
        }
    }

    #[test]
    fn texts_are_read_as_messages_are_and_not_further() {
        let reserved = r#"{"$serde_json::private::RawValue": "{\"a\": 1}"}"#;
        let new = json!({ "apiId": "api_123456", "meta": reserved });
        assert_eq!(read("keys_createKey", new, None).unwrap_err().faults()[0].location, "body.meta");
        let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
        for text in [format!(r#"{{"a": {deep}}}"#), format!("[{}1]", "1,".repeat(50_000)), "{}".repeat(40_000)] {
            let mut left = TEXT_BYTES;
            assert_eq!(read_text(&text, &mut left), None);
        }
        // Nulls in a text are as those outside of it.
        let credits =
            json!({ "apiId": "api_123456", "credits": r#"{"remaining": 10, "refill": null}"#, "limit": null });
        let given = read("keys_createKey", credits, None);
        let faults = given.as_ref().err().map(|error| error.faults().len());
        assert_eq!(faults, Some(1), "limit is no member: {given:?}");
        let asked = read("apis_listApis", json!({ "limit": null }), None).unwrap();
        assert_eq!(asked.request, json!({ "limit": PAGE_SIZE }));
    }

    #[test]
    fn in_a_view_of_one_api_it_is_filled_in_and_no_other_can_be_said() {
        assert_eq!(read("keys_createKey", json!({}), Some("api_123456")).unwrap().request["apiId"], "api_123456");
        let error = read("keys_createKey", json!({ "apiId": "api_654321" }), Some("api_123456")).unwrap_err();
        assert_eq!(error.faults()[0].location, "body.apiId");
        assert!(read("keys_createKey", json!({}), None).is_err());
    }

    #[test]
    fn how_much_is_shown_is_no_member_of_the_request() {
        let concise = |arguments| read("keys_getKey", arguments, None).unwrap();
        assert!(concise(json!({ "keyId": "key_123456" })).is_concise);
        let full = concise(json!({ "keyId": "key_123456", "detail": "full" }));
        assert!(!full.is_concise && full.request == json!({ "keyId": "key_123456" }));
        assert!(read("keys_getKey", json!({ "keyId": "key_123456", "detail": "some" }), None).is_err());
        assert!(!read("apis_getApi", json!({ "apiId": "api_123456" }), None).unwrap().is_concise);
    }
}
