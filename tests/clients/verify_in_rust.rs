use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

/// What Keyrack says of a key.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    pub valid: bool,
    pub code: String,
    pub key_id: Option<String>,
    pub identity: Option<Identity>,
}

/// Whose key it is.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    pub external_id: String,
}

/// A client of Keyrack, to be made once.
pub struct Keyrack {
    http: reqwest::Client,
    address: String,
    root_key: String,
}

impl Keyrack {
    /// A client of the server at `base`.
    pub fn new(base: &str, root_key: String) -> reqwest::Result<Keyrack> {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(2)).build()?;
        Ok(Keyrack { http, address: format!("{base}/v2/keys.verifyKey"), root_key })
    }

    /// Asks about a key. An error is no verdict: answer 503, not 401.
    pub async fn verify(&self, key: &str, permissions: Option<&str>) -> reqwest::Result<Verdict> {
        #[derive(Deserialize)]
        struct Answer {
            data: Verdict,
        }
        let mut question = json!({ "key": key });
        if let Some(permissions) = permissions {
            question["permissions"] = permissions.into();
        }
        let request = self.http.post(&self.address).bearer_auth(&self.root_key).json(&question);
        let answer: Answer = request.send().await?.error_for_status()?.json().await?;
        Ok(answer.data)
    }
}
