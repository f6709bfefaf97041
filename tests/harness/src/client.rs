//! A small client of the HTTP API for one root key.

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;

use crate::Answer;

/// Calls one server with one root key, and checks the envelope of every answer.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    root_key: String,
    inspect: Option<fn(&Answer)>,
}

impl Client {
    /// A client of the server at `base` (no trailing slash) with this root key.
    pub fn new(base: &str, root_key: &str) -> Self {
        Self { http: crate::http_client(), base: base.to_owned(), root_key: root_key.to_owned(), inspect: None }
    }

    /// The same client with another root key.
    pub fn with_key(&self, root_key: &str) -> Self {
        Self { root_key: root_key.to_owned(), ..self.clone() }
    }

    /// The same client, showing every answer of an operation to `inspect`, which panics on a bad one.
    pub fn inspected(&self, inspect: fn(&Answer)) -> Self {
        Self { inspect: Some(inspect), ..self.clone() }
    }

    /// Its root key.
    pub fn root_key(&self) -> &str {
        &self.root_key
    }

    /// The same client for another server, such as the same one after a restart.
    pub fn moved_to(&self, server: &Client) -> Self {
        Self { base: server.base.clone(), ..self.clone() }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Calls an operation, such as `keys.createKey`.
    pub async fn call(&self, operation: &str, body: Value) -> Answer {
        self.call_with_headers(operation, body, &[]).await
    }

    /// Calls an operation with extra headers, such as `X-Forwarded-For`.
    pub async fn call_with_headers(&self, operation: &str, body: Value, headers: &[(&str, &str)]) -> Answer {
        self.call_text(operation, body.to_string(), headers).await
    }

    /// Calls an operation with a body that need not be JSON.
    pub async fn call_text(
        &self,
        operation: &str,
        body: impl Into<reqwest::Body>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = self
            .request(Method::POST, &format!("/v2/{operation}"))
            .header(AUTHORIZATION, format!("Bearer {}", self.root_key))
            .header(CONTENT_TYPE, "application/json")
            .body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = self.send(operation, request).await;
        self.checked(answer)
    }

    /// Calls an operation of a server that may be gone: `None` when no whole answer came.
    pub async fn call_if_there(&self, operation: &str, body: Value) -> Option<Answer> {
        let request =
            self.request(Method::POST, &format!("/v2/{operation}")).bearer_auth(&self.root_key).json(&body);
        let answer = received(operation, request).await.ok()?;
        Some(self.checked(answer))
    }

    fn checked(&self, answer: Answer) -> Answer {
        answer.check_envelope();
        if let Some(inspect) = self.inspect {
            inspect(&answer);
        }
        answer
    }

    /// A request to a path of the server, without credentials; finish it with [`Client::send`].
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    /// Sends any request. The envelope is not checked: not every path has one.
    pub async fn send(&self, asked: &str, request: RequestBuilder) -> Answer {
        received(asked, request).await.unwrap_or_else(|fault| panic!("{asked} was not answered: {fault:?}"))
    }

    /// GET of a path, without credentials.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(&format!("GET {path}"), self.request(Method::GET, path)).await
    }
}

/// Sends a request and takes the whole answer.
async fn received(asked: &str, request: RequestBuilder) -> Result<Answer, reqwest::Error> {
    let response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await?;
    let body = serde_json::from_str(&text).unwrap_or(Value::Null);
    Ok(Answer { asked: asked.to_owned(), status, headers, body, text })
}
