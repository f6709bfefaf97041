//! Which key a question is about: one that is there, one that was, or a text that is none.

use super::ExplainKey;
use crate::authorization::Scope;
use crate::caller::Authorized;
use crate::catalogue::Operation as _;
use crate::error::OrNotFound as _;
use crate::ids::{ApiId, KeyId};
use crate::keys::explanation::{Asked as Checked, Step};
use crate::keys::secret::{self, KeyHash};
use crate::keys::verdict::Verdict;
use crate::operations::keys::{authorize_on, find, key_not_found, with_api};
use crate::resident::FoundKey;
use crate::store::keys::{self, By, Ended, Key};
use crate::{Caller, Code, Error, Keyrack};

/// What came of looking for a key.
pub(super) enum Sought {
    /// A key, with what is to be said of how it was found.
    Found(FoundKey, Step),
    /// There is none that a verification would find.
    Gone {
        /// The key that was meant, if that is known.
        key_id: Option<KeyId>,
        /// Its API.
        api_id: Option<ApiId>,
        /// Why none is found.
        existence: Step,
    },
}

fn not_found(detail: impl Into<String>, fix: impl Into<String>) -> Step {
    Step::refused(Checked::Existence, Verdict::NotFound, detail, fix)
}

/// That a key was deleted, and when.
fn ended(key: Ended) -> Sought {
    let existence = match (key.deleted_at, key.api_deleted_at) {
        (Some(at), _) => not_found(
            format!("The key {} was deleted at {}.", key.id, at.rfc3339()),
            "A deleted key does not come back: `keys.createKey` makes another one.",
        ),
        (None, at) => {
            let at = at.map(|at| format!(" at {}", at.rfc3339())).unwrap_or_default();
            not_found(
                format!("The API {} of the key {} was deleted{at}, and its keys with it.", key.api_id, key.id),
                "A deleted API does not come back: `apis.createApi` makes another one, `keys.createKey` a key in it.",
            )
        }
    };
    Sought::Gone { key_id: Some(key.id.into()), api_id: Some(key.api_id.into()), existence }
}

/// The key with an id. Who may not read it is refused.
pub(super) async fn by_id(
    keyrack: &Keyrack,
    caller: &Caller,
    key_id: &KeyId,
) -> Result<(Authorized, Sought), Error> {
    let rule = &ExplainKey::ABOUT.rule;
    let mut connection = keyrack.store().read().await?;
    let Some(key) = find(&mut connection, caller, key_id).await? else {
        let gone = keys::find_ended(&mut connection, By::Id(key_id)).await?;
        let gone = gone.filter(|gone| gone.workspace_id == caller.workspace_id());
        let gone = gone.ok_or_else(|| key_not_found(key_id))?;
        return Ok((caller.authorize(rule, &scope_of(&gone))?, ended(gone)));
    };
    drop(connection);
    let (key, api) = with_api(keyrack, Some(key)).await?.or_not_found(Code::KeyNotFound)?;
    let authorized = authorize_on::<ExplainKey>(caller, &key, &api)?;
    Ok((authorized, resident(keyrack, caller, key).await?))
}

/// A key as a verification finds it.
async fn resident(keyrack: &Keyrack, caller: &Caller, key: Key) -> Result<Sought, Error> {
    let known = || {
        let found = keyrack.resident().key_by_id(&key.id);
        found.and_then(|found| keyrack.resident().complete(caller.workspace_id(), found))
    };
    let mut found = known();
    if found.is_none() {
        keyrack.follow(caller.workspace_id()).await?;
        found = known();
    }
    let existence = match (&found, &key.pending_migration_id) {
        (_, Some(migration_id)) if KeyHash::from_base64(&key.hash).is_err() => not_found(
            "The key was imported by a part of its text and not used yet: a verification finds it only when it names \
             the migration.",
            format!("Send `migrationId` {migration_id} with `keys.verifyKey`, until the key was used once."),
        ),
        (Some(_), _) => Step::passed(Checked::Existence, format!("There is a key {}.", key.id)),
        (None, _) => not_found(
            "The key cannot be found by any text: what is stored of it cannot be read.",
            "`keys.createKey` makes another one; the server's log says what is wrong with this one.",
        ),
    };
    let is_found = existence.refusal.is_none();
    Ok(match found.filter(|_| is_found) {
        Some(found) => Sought::Found(found, existence),
        None => Sought::Gone { key_id: Some(key.id.into()), api_id: Some(key.api_id.into()), existence },
    })
}

fn scope_of(key: &Ended) -> [(&'static str, &str); 3] {
    [("apiId", &key.api_id), ("keySpaceId", &key.key_space_id), ("keyId", &key.id)]
}

/// The key that a text is. One that the caller may not read reads as none.
pub(super) async fn by_text(
    keyrack: &Keyrack,
    caller: &Caller,
    text: &str,
) -> Result<(Authorized, Sought), Error> {
    let may_read = |scope: Scope<'_>| caller.is_allowed(&ExplainKey::ABOUT.rule, scope);
    let readings = readings(text);
    let (workspace_id, authorized) = (caller.workspace_id(), caller.authorize_one_by_one());
    for reading in &readings {
        let found = keyrack.resident().find(workspace_id, reading.text);
        let is_shown = |found: &FoundKey| {
            let (api_id, key_id) = (&*found.key.place.api_id, &*found.key.id);
            may_read(&[("apiId", api_id), ("keySpaceId", &found.key_space_id), ("keyId", key_id)])
        };
        if let Some(found) = found.filter(is_shown) {
            let existence = reading.existence(&found.key.id);
            return Ok((authorized, Sought::Found(found, existence)));
        }
    }
    for reading in &readings {
        let hash = secret::hash(reading.text);
        let mut connection = keyrack.store().read().await?;
        let gone = keys::find_ended(&mut connection, By::Hash(&hash.to_base64())).await?;
        drop(connection);
        let is_shown = |gone: &Ended| gone.workspace_id == workspace_id && may_read(&scope_of(gone));
        if let Some(gone) = gone.filter(is_shown) {
            return Ok((authorized, ended(gone)));
        }
        let root_key = keyrack.resident().root_key(&hash);
        if root_key.is_some_and(|key| key.workspace_id == workspace_id) {
            return Ok((authorized, Sought::Gone { key_id: None, api_id: None, existence: root_key_step() }));
        }
    }
    let existence = not_found(
        "No key that this root key may read has this text.",
        "Compare it with the key as it was issued, from its prefix to its last character; `keys.listKeys` finds keys \
         by their first characters.",
    );
    Ok((authorized, Sought::Gone { key_id: None, api_id: None, existence }))
}

fn root_key_step() -> Step {
    not_found(
        "The text is a root key of this workspace: it calls Keyrack itself and is no key of an API.",
        "Verify the key of the customer instead. If a customer had this one, reroll it with `rootKeys.rerollKey`.",
    )
}

/// A text as it may have been meant.
struct Reading<'a> {
    text: &'a str,
    /// What is left out of it.
    without: Vec<&'static str>,
}

impl Reading<'_> {
    fn existence(&self, key_id: &str) -> Step {
        if self.without.is_empty() {
            return Step::passed(Checked::Existence, format!("The text is the key {key_id}."));
        }
        let without = self.without.join(" and ");
        not_found(
            format!("The text is no key as it was sent. Without {without} it is the key {key_id}."),
            format!("Send it without {without}."),
        )
    }
}

const SPACE: &str = "the white space around it";
const QUOTES: &str = "the quotes around it";
const BEARER: &str = "the word Bearer before it";

/// A text as it was sent, and each time with less around it.
fn readings(sent: &str) -> Vec<Reading<'_>> {
    let mut readings = vec![Reading { text: sent, without: Vec::new() }];
    let mut text = sent;
    let mut without: Vec<&'static str> = Vec::new();
    while let Some((less, what)) = with_less(text).filter(|(less, _)| !less.is_empty()) {
        if !without.contains(&what) {
            without.push(what);
        }
        text = less;
        readings.push(Reading { text, without: without.clone() });
    }
    readings
}

/// The text without what people copy along with a key, one thing at a time.
fn with_less(text: &str) -> Option<(&str, &'static str)> {
    let trimmed = text.trim_matches(|letter: char| {
        letter.is_whitespace() || ('\u{200b}'..='\u{200d}').contains(&letter) || letter == '\u{feff}'
    });
    if trimmed.len() < text.len() {
        return Some((trimmed, SPACE));
    }
    for (open, close) in [('"', '"'), ('\'', '\''), ('`', '`'), ('“', '”'), ('‘', '’'), ('«', '»')] {
        if let Some(inner) = text.strip_prefix(open).and_then(|rest| rest.strip_suffix(close)) {
            return Some((inner, QUOTES));
        }
    }
    let (scheme, rest) = text.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case("Bearer ").then_some((rest, BEARER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_with_less_and_less_around_it() {
        let read = |text| readings(text).iter().map(|reading| reading.text.to_owned()).collect::<Vec<_>>();
        for (sent, due) in [
            ("sk_1", &["sk_1"][..]),
            (" sk_1\n", &[" sk_1\n", "sk_1"]),
            ("\"sk_1\"", &["\"sk_1\"", "sk_1"]),
            ("bearer sk_1", &["bearer sk_1", "sk_1"]),
            ("Bearer  'sk_1'", &["Bearer  'sk_1'", " 'sk_1'", "'sk_1'", "sk_1"]),
            ("\u{feff}“sk_1”", &["\u{feff}“sk_1”", "“sk_1”", "sk_1"]),
            ("\"sk_1", &["\"sk_1"]),
            ("\"", &["\""]),
            ("  ", &["  "]),
            ("Bearer ", &["Bearer ", "Bearer"]),
            ("ééééé", &["ééééé"]),
        ] {
            assert_eq!(read(sent), due, "{sent:?}");
        }
    }

    #[test]
    fn what_was_wrong_is_said_once() {
        let readings = readings("\" \"sk_1\" \"");
        let last = readings.last().map(|reading| reading.existence("key_1"));
        let step = last.expect("a reading");
        assert_eq!(step.refusal, Some(Verdict::NotFound));
        assert!(
            step.detail.contains("Without the quotes around it and the white space around it"),
            "{}",
            step.detail
        );
    }
}
