//! Calls a server's operations over HTTP, for whoever has the server's address and a root key.
//!
//! What goes wrong on the way is an [`Unanswered`]; whatever the server says, errors included, is an
//! [`Answer`]. Neither ever contains the root key or a request.

use std::error::Error as _;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use async_trait::async_trait;
use keyrack_core::caller::{ASSISTANT_AGENT, COMMAND_LINE_AGENT};
use keyrack_core::json;
use keyrack_core::keys::secret::Secret;
use keyrack_core::{Code, Error};
use keyrack_mcp_server::{Answered, Server};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, Url, redirect};
use serde_json::Value;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longer than a server lets a request run.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(90);

/// Bytes of an answer.
const LONGEST_ANSWER: usize = 16 << 20;

/// A server, and the root key to call it with.
#[derive(Debug)]
pub(crate) struct Remote {
    http: Client,
    base: Url,
    authorization: HeaderValue,
}

/// What a server answered.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The envelope.
    pub(crate) body: Value,
    /// The server's name for the request, as in its log.
    pub(crate) request_id: Option<String>,
    /// Seconds after which another try makes sense.
    pub(crate) retry_after_seconds: Option<u64>,
}

impl Answer {
    /// Whether the operation was done.
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Why there is no answer, in a sentence that says what to do.
#[derive(Debug)]
pub(crate) struct Unanswered(String);

impl fmt::Display for Unanswered {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Unanswered {}

impl Remote {
    /// A client of the server at `base`, such as `http://127.0.0.1:8080`. Nothing is sent yet.
    ///
    /// # Errors
    /// When the root key cannot be a header, or the system has no roots for https.
    pub(crate) fn new(base: Url, root_key: &Secret) -> Result<Remote, Unanswered> {
        Remote::called_by(COMMAND_LINE_AGENT, base, root_key)
    }

    /// The same for an assistant, whose calls servers write into the audit log as such.
    ///
    /// # Errors
    /// As [`Remote::new`].
    pub(crate) fn of_assistant(base: Url, root_key: &Secret) -> Result<Remote, Unanswered> {
        Remote::called_by(ASSISTANT_AGENT, base, root_key)
    }

    fn called_by(agent: &str, base: Url, root_key: &Secret) -> Result<Remote, Unanswered> {
        let mut authorization = HeaderValue::from_str(&format!("Bearer {}", root_key.expose())).map_err(|_| {
            Unanswered("the root key has characters that no root key has, such as a line break".to_owned())
        })?;
        authorization.set_sensitive(true);
        // The first installation in a process counts; a later one changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .user_agent(format!("{agent}{}", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            // Following one could carry the request to another host.
            .redirect(redirect::Policy::none());
        if is_loopback(&base) {
            builder = builder.no_proxy();
        }
        if base.scheme() == "http" {
            // Nothing to verify, so a machine without certificates is as good as any.
            builder = builder.tls_certs_only([]);
        }
        let http = builder.build().map_err(|error| {
            Unanswered(format!("https is not possible on this machine: {}", deepest_cause(&error)))
        })?;
        Ok(Remote { http, base, authorization })
    }

    /// Calls an operation, such as `keys.createKey`.
    ///
    /// # Errors
    /// When there is no answer, or one that is not Keyrack's.
    pub(crate) async fn call(&self, operation: &str, request: &Value) -> Result<Answer, Unanswered> {
        let answer = self.send(operation, request).await?;
        if answer.body.pointer("/meta/requestId").is_none() {
            return Err(Unanswered(format!(
                "the server at {} answered with status {} and not as Keyrack does; is the URL right?",
                self.base, answer.status
            )));
        }
        Ok(answer)
    }

    /// The same, whoever answers.
    async fn send(&self, operation: &str, request: &Value) -> Result<Answer, Unanswered> {
        let url = format!("{}/v2/{operation}", self.base.as_str().trim_end_matches('/'));
        let call = self.http.post(url).header(AUTHORIZATION, &self.authorization).json(request);
        let response = call.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status().as_u16();
        let header = |name: &str| response.headers().get(name)?.to_str().ok().map(str::to_owned);
        let named = header("x-request-id");
        let retry_after_seconds = header("retry-after").and_then(|seconds| seconds.parse().ok());
        let bytes = self.body(response).await?;
        let body: Value = json::read(&bytes).unwrap_or_default();
        let in_body = body.pointer("/meta/requestId").and_then(Value::as_str).map(str::to_owned);
        Ok(Answer { status, request_id: in_body.or(named), body, retry_after_seconds })
    }

    /// A body of no more than an answer can have.
    async fn body(&self, mut response: reqwest::Response) -> Result<Vec<u8>, Unanswered> {
        let mut bytes = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            if bytes.len() + piece.len() > LONGEST_ANSWER {
                return Err(Unanswered(format!(
                    "the server at {} answered with more than {} MiB, which no answer has",
                    self.base,
                    LONGEST_ANSWER >> 20
                )));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    fn unreachable(&self, error: &reqwest::Error) -> Unanswered {
        if error.is_timeout() && !error.is_connect() {
            return Unanswered(format!(
                "the server at {} did not answer within {} seconds; the operation may have been done",
                self.base,
                ANSWER_TIMEOUT.as_secs()
            ));
        }
        let advice = if is_loopback(&self.base) {
            "start it with `keyrack serve`, or name another one with --url or KEYRACK_URL"
        } else {
            "check --url or KEYRACK_URL, and that `keyrack serve` runs there"
        };
        Unanswered(format!("the server at {} cannot be reached ({}); {advice}", self.base, deepest_cause(error)))
    }
}

#[async_trait]
impl Server for Remote {
    fn address(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    async fn call(&self, operation: &str, body: &Value) -> Result<Answered, Error> {
        let answer = self.send(operation, body).await;
        let Answer { status, body, request_id, retry_after_seconds } = answer.map_err(|Unanswered(why)| {
            let mut letters = why.chars();
            let first = letters.next().map(|letter| letter.to_ascii_uppercase());
            let sentence = first.into_iter().chain(letters).collect::<String>();
            Error::new(Code::ServiceUnavailable, format!("{sentence}."))
        })?;
        Ok(Answered { status, body, request_id, retry_after_seconds })
    }
}

/// By its beginning, servers write calls into the audit log as calls of the command line.
fn user_agent() -> String {
    format!("{COMMAND_LINE_AGENT}{}", env!("CARGO_PKG_VERSION"))
}

/// Whether a Keyrack answers at this address of this machine.
pub(crate) async fn keyrack_answers(address: SocketAddr) -> bool {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder =
        Client::builder().user_agent(user_agent()).timeout(CONNECT_TIMEOUT).no_proxy().tls_certs_only([]);
    let Ok(http) = builder.redirect(redirect::Policy::none()).build() else { return false };
    let Ok(response) = http.get(format!("http://{address}/v2/liveness")).send().await else { return false };
    let body: Value = response.bytes().await.ok().and_then(|bytes| json::read(&bytes).ok()).unwrap_or_default();
    body.pointer("/data/message").and_then(Value::as_str).is_some_and(|message| message.contains("Keyrack"))
}

/// Reads the address of a server.
///
/// # Errors
/// Says what is wrong with it, without repeating credentials.
pub(crate) fn parse_base(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("is not a URL ({error}); http://127.0.0.1:8080 is one"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must start with http:// or https://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not contain a user or a password".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must end with the host, the port or a path".to_owned());
    }
    Ok(url)
}

/// Whether a server at this address is on this machine, where its files are at hand too.
pub(crate) fn is_loopback(base: &Url) -> bool {
    let host = base.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// The last cause says `Connection refused`; those before it only that something was refused.
fn deepest_cause(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    let mut text = String::new();
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    if text.is_empty() { "the request could not be sent".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_http_without_credentials() {
        assert!(parse_base("https://keys.example.com/keyrack/").is_ok());
        for wrong in ["127.0.0.1:8080", "ftp://a", "http://root:hunter2@a", "http://a/?x=1"] {
            let error = parse_base(wrong).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn only_addresses_of_this_machine_are_loopback() {
        let is_local = |text: &str| is_loopback(&parse_base(text).unwrap());
        for local in ["http://127.0.0.1:8080", "http://127.9.9.9", "http://localhost:1", "http://[::1]:8080"] {
            assert!(is_local(local), "{local}");
        }
        for other in ["http://10.0.0.1", "http://localhost.example.com", "http://127.0.0.1.example.com"] {
            assert!(!is_local(other), "{other}");
        }
    }

    #[tokio::test]
    async fn an_unreachable_server_is_named_and_the_root_key_is_not() {
        let secret = Secret::from_string("keyrack_planted".to_owned());
        let remote = Remote::new(parse_base("http://127.0.0.1:1").unwrap(), &secret).unwrap();
        let error = remote.call("apis.listApis", &serde_json::json!({})).await.unwrap_err().to_string();
        assert!(error.contains("http://127.0.0.1:1/") && error.contains("keyrack serve"), "{error}");
        assert!(error.contains("refused"), "{error}");
        assert!(!format!("{remote:?}{error}").contains("planted"));
    }

    #[test]
    fn https_works_with_the_roots_of_the_system() {
        let secret = Secret::from_string("k".to_owned());
        Remote::new(parse_base("https://keys.example.com").unwrap(), &secret).unwrap();
    }

    #[test]
    fn a_root_key_with_a_line_break_is_refused_without_showing_it() {
        let secret = Secret::from_string("planted\nx".to_owned());
        let error = Remote::new(parse_base("http://a").unwrap(), &secret).unwrap_err();
        assert!(!error.to_string().contains("planted"));
    }
}
