//! Connections: what a refusal does to the next request, deadlines, who is closed and who is not, and hosts.

use std::time::Duration;

use keyrack_test_harness::{ROOT_KEY, Server};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::{keyrack, program};

/// Longer than any answer here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);
const MOST_BODY_BYTES: usize = 100_000;

/// One connection, byte by byte.
struct Raw {
    stream: TcpStream,
    /// What came and was not looked at.
    came: Vec<u8>,
}

/// An answer as it came.
#[derive(Debug)]
struct Raws {
    status: u16,
    head: String,
    body: String,
}

impl Raws {
    /// Whether it says that the connection ends.
    fn announces_the_end(&self) -> bool {
        self.head.lines().any(|line| line.eq_ignore_ascii_case("connection: close"))
    }
}

impl Raw {
    async fn to(server: &Server) -> Raw {
        let stream = TcpStream::connect(("127.0.0.1", server.port())).await.expect("the server listens");
        Raw { stream, came: Vec::new() }
    }

    /// Sends, whether or not the server still reads.
    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// The next answer; `None` when the connection ends instead.
    async fn answer(&mut self) -> Option<Raws> {
        let head_end = loop {
            if let Some(at) = self.came.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            self.more().await?;
        };
        let head = String::from_utf8_lossy(&self.came[..head_end]).into_owned();
        let mut lines = head.lines().map(str::to_ascii_lowercase);
        let length = lines.find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        let end = head_end + length.unwrap_or_default();
        while self.came.len() < end {
            self.more().await?;
        }
        let body = String::from_utf8_lossy(&self.came[head_end..end]).into_owned();
        self.came.drain(..end);
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Raws { status, head, body })
    }

    async fn more(&mut self) -> Option<()> {
        let mut part = [0; 65536];
        let read =
            timeout(PATIENCE, self.stream.read(&mut part)).await.expect("the server answers or closes").ok()?;
        self.came.extend_from_slice(&part[..read]);
        (read > 0).then_some(())
    }

    /// Whether the server closes it, without another byte.
    async fn is_closed(&mut self) -> bool {
        self.came.is_empty() && self.more().await.is_none()
    }
}

/// A request that is refused before its body is read.
struct Refused {
    /// Method and path.
    line: &'static str,
    headers: String,
    status: u16,
}

fn refused(line: &'static str, headers: impl Into<String>, status: u16) -> Refused {
    Refused { line, headers: headers.into(), status }
}

const HOST: &str = "Host: 127.0.0.1\r\n";

/// Every refusal, on every kind of path. `throttled` and `disabled` are root keys.
fn refusals(throttled: &str, disabled: &str) -> Vec<Refused> {
    let mut all = Vec::new();
    for line in [
        "POST /v2/keys.verifyKey",
        "POST /v2/ratelimit.limit",
        "POST /v2/apis.createApi",
        "POST /v2/ratelimit.multiLimit",
    ] {
        all.push(refused(line, HOST, 401));
        all.push(refused(line, format!("{HOST}Authorization: Basic abc\r\n"), 401));
        all.push(refused(line, format!("{HOST}Authorization: Bearer nobody_has_this\r\n"), 401));
        all.push(refused(line, format!("{HOST}Authorization: Bearer {disabled}\r\n"), 403));
        all.push(refused(line, format!("{HOST}Authorization: Bearer {throttled}\r\n"), 429));
        all.push(refused(line, "Host: evil.example.com\r\n", 403));
    }
    for line in ["POST /mcp", "POST /mcp/v1"] {
        all.push(refused(line, HOST, 401));
        all.push(refused(line, format!("{HOST}Authorization: Bearer nobody_has_this\r\n"), 401));
        all.push(refused(line, format!("{HOST}X-Keyrack-Root-Key: nobody_has_this\r\n"), 403));
        all.push(refused(
            line,
            format!("{HOST}X-Keyrack-Root-Key: nobody_has_this\r\nAuthorization: Bearer {ROOT_KEY}\r\n"),
            400,
        ));
        all.push(refused(line, "Host: evil.example.com\r\n", 403));
    }
    for line in [
        "POST /healthz",
        "POST /readyz",
        "POST /v2/liveness",
        "POST /openapi.json",
        "PUT /v2/keys.verifyKey",
        "POST /docs",
    ] {
        all.push(refused(line, HOST, 405));
    }
    for line in ["POST /nowhere", "POST /v2/keys.noSuchThing", "POST /.well-known/oauth-protected-resource"] {
        all.push(refused(line, HOST, 404));
    }
    all.push(refused("POST /register", HOST, 400));
    all
}

/// A root key of a workspace that may make no requests, and one that may not be used.
async fn useless_root_keys(server: &Server) -> (String, String) {
    let made = server.call("workspace.createWorkspace", json!({"name": "throttled"})).await.expect(200);
    let (workspace, throttled) = (made.text_of("workspaceId"), made.text_of("rootKey"));
    let body = json!({"workspaceId": workspace, "requestsPerMinute": 0});
    server.call("workspace.updateWorkspace", body).await.expect(200);
    let made = server.call("rootKeys.createKey", json!({"name": "off", "permissions": []})).await.expect(200);
    let body = json!({"keyId": made.text_of("keyId"), "enabled": false});
    server.call("rootKeys.updateKey", body).await.expect(200);
    (throttled, made.text_of("key"))
}

/// How a body is announced, and what is sent of it.
fn bodies() -> Vec<(String, Vec<u8>, bool)> {
    let whole = |length: usize| (format!("Content-Length: {length}\r\n"), vec![b' '; length]);
    let chunked = |length: usize| {
        let mut body = format!("{length:x}\r\n").into_bytes();
        body.extend(vec![b' '; length]);
        body.extend(b"\r\n0\r\n\r\n");
        ("Transfer-Encoding: chunked\r\n".to_owned(), body)
    };
    let goes_on = [whole(2), whole(90_000), whole(200_000), chunked(20), chunked(90_000)];
    let ends = [whole(400_000), whole(3_000_000), chunked(3_000_000)];
    let goes_on = goes_on.into_iter().map(|(head, body)| (head, body, true));
    goes_on.chain(ends.into_iter().map(|(head, body)| (head, body, false))).collect()
}

/// Sends head and body apart, and then something innocent: what is wrong, if anything.
async fn complaint(
    connection: &mut Raw,
    refused: &Refused,
    head: &str,
    body: &[u8],
    goes_on: bool,
) -> Option<String> {
    connection.send(format!("{} HTTP/1.1\r\n{}{head}\r\n", refused.line, refused.headers)).await;
    tokio::time::sleep(Duration::from_millis(2)).await;
    connection.send(body).await;
    let Some(answer) = connection.answer().await else { return Some("no answer".to_owned()) };
    if answer.status != refused.status {
        return Some(format!("{} instead of {}: {}", answer.status, refused.status, answer.body));
    }
    if answer.announces_the_end() {
        let as_due = !goes_on && connection.is_closed().await;
        return (!as_due).then(|| format!("{} ends the connection", answer.head));
    }
    connection.send(format!("GET /healthz HTTP/1.1\r\n{HOST}\r\n")).await;
    match connection.answer().await {
        Some(next) if next.status == 200 => None,
        Some(next) => Some(format!("the next request was answered {} {}", next.head, next.body)),
        None => Some("the connection ended, although nothing had said so".to_owned()),
    }
}

#[tokio::test]
async fn a_refusal_before_the_body_was_read_costs_nobody_the_next_request() {
    let server = program().env("KEYRACK_MAX_BODY_BYTES", &MOST_BODY_BYTES.to_string()).start().await;
    let (throttled, disabled) = useless_root_keys(&server).await;
    let mut complaints = Vec::new();
    for refused in refusals(&throttled, &disabled) {
        let mut connection = Raw::to(&server).await;
        for (head, body, goes_on) in bodies() {
            // What is declared too large is refused as such, before anything is asked about the caller.
            let is_operation =
                refused.line.starts_with("POST /v2/") && refused.status != 405 && refused.status != 404;
            let is_foreign = refused.headers.contains("evil");
            let is_too_large =
                is_operation && !is_foreign && head.starts_with("Content-Length") && body.len() > MOST_BODY_BYTES;
            let status = if is_too_large { 413 } else { refused.status };
            let refused = Refused { status, headers: refused.headers.clone(), ..refused };
            if let Some(wrong) = complaint(&mut connection, &refused, &head, &body, goes_on).await {
                complaints.push(format!("{} {} {head}{wrong}", refused.line, refused.headers));
                connection = Raw::to(&server).await;
            } else if !goes_on {
                connection = Raw::to(&server).await;
            }
        }
    }
    assert!(complaints.is_empty(), "{} of them:\n{}", complaints.len(), complaints.join("\n\n"));
}

#[tokio::test]
async fn a_body_that_was_never_to_come_ends_the_connection_and_the_answer_says_so() {
    let server = keyrack().await;
    for more in [
        "Content-Length: 20\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Content-Length: 20\r\nExpect: 100-continue\r\n",
    ] {
        for line in ["POST /v2/keys.verifyKey", "POST /v2/apis.createApi", "POST /mcp"] {
            let mut connection = Raw::to(&server).await;
            connection.send(format!("{line} HTTP/1.1\r\n{HOST}{more}\r\n")).await;
            let answer = connection.answer().await.expect("an answer");
            assert_eq!(answer.status, 401, "{line} {more}: {}", answer.head);
            assert!(answer.announces_the_end(), "{line} {more}: {}", answer.head);
            assert!(connection.is_closed().await, "{line} {more}");
        }
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_is_a_408_that_ends_the_connection() {
    let server = keyrack().await;
    let wait = async |line: &str| {
        let mut connection = Raw::to(&server).await;
        let head = format!("{line} HTTP/1.1\r\n{HOST}Authorization: Bearer {ROOT_KEY}\r\nContent-Length: 20\r\n");
        let kinds = "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n";
        connection.send(format!("{head}{kinds}\r\n{{\"")).await;
        let answer = connection.answer().await.expect("an answer");
        assert_eq!(answer.status, 408, "{line}: {}{}", answer.head, answer.body);
        assert!(answer.announces_the_end(), "{line}: {}", answer.head);
        assert!(
            serde_json::from_str::<Value>(&answer.body).is_ok_and(|body| body["error"].is_object()),
            "{}",
            answer.body
        );
        assert!(connection.is_closed().await, "{line}");
    };
    tokio::join!(wait("POST /v2/keys.verifyKey"), wait("POST /v2/apis.createApi"), wait("POST /mcp"));
}

#[tokio::test]
async fn a_connection_that_does_nothing_is_closed_and_one_that_does_something_is_not() {
    let server = program().env("KEYRACK_IDLE_SECONDS", "2").start().await;
    let get = format!("GET /healthz HTTP/1.1\r\n{HOST}\r\n");
    let mut silent = Raw::to(&server).await;
    let mut half = Raw::to(&server).await;
    half.send(&get[..20]).await;
    let mut used = Raw::to(&server).await;
    used.send(&get).await;
    assert_eq!(used.answer().await.expect("an answer").status, 200);
    let mut then_half = Raw::to(&server).await;
    then_half.send(&get).await;
    assert_eq!(then_half.answer().await.expect("an answer").status, 200);
    then_half.send(&get[..20]).await;
    let mut trickling = Raw::to(&server).await;
    let trickle = async {
        // Head after head is complete in time, or this one would be closed too.
        for part in get.as_bytes().chunks(2).cycle().take(400) {
            if trickling.stream.write_all(part).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let endless = async {
        let mut endless = Raw::to(&server).await;
        endless.send("GET /healthz HTTP/1.1\r\nX-Endless: ").await;
        while endless.stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let closed = async {
        silent.is_closed().await && half.is_closed().await && used.is_closed().await && then_half.is_closed().await
    };
    let (closed, (), ()) =
        tokio::join!(closed, trickle, async { timeout(PATIENCE, endless).await.expect("it is closed") });
    assert!(closed);
    let mut answers = 0;
    while let Ok(Some(answer)) = timeout(Duration::from_millis(200), trickling.answer()).await {
        assert_eq!(answer.status, 200);
        answers += 1;
    }
    assert!(answers > 5, "only {answers} requests of one that went on were answered");
}

/// Asks for an answer that is larger than what the system keeps for either side, as often as this.
async fn reading_slowly(server: &Server, times: usize) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(16 * 1024).expect("a small buffer");
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], server.port()));
    let mut stream = socket.connect(address).await.expect("the server listens");
    let get = format!("GET /openapi.json HTTP/1.1\r\n{HOST}\r\n").repeat(times);
    stream.write_all(get.as_bytes()).await.expect("sent");
    stream
}

#[tokio::test]
async fn an_answer_is_not_cut_while_its_client_takes_some_of_it_and_is_when_it_takes_nothing() {
    const TIMES: usize = 6;
    let server = program().env("KEYRACK_IDLE_SECONDS", "3").start().await;
    let whole = server.get("/openapi.json").await.expect(200).text.len();
    let slow = async {
        let mut stream = reading_slowly(&server, TIMES).await;
        let (mut taken, mut part) = (0, vec![0; 64 * 1024]);
        while taken < TIMES * whole {
            let read = timeout(PATIENCE, stream.read(&mut part)).await.expect("it goes on").unwrap_or(0);
            assert!(read > 0, "cut after {taken} of more than {} bytes", TIMES * whole);
            taken += read;
            // Of all of it for three times as long as a connection may do nothing.
            let share = u32::try_from(read * 1000 / (TIMES * whole)).expect("a part");
            tokio::time::sleep(Duration::from_secs(9) * share.max(1) / 1000).await;
        }
    };
    let stuck = async {
        let mut stream = reading_slowly(&server, TIMES).await;
        tokio::time::sleep(Duration::from_secs(8)).await;
        let mut taken = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut taken)).await.expect("it was closed");
        assert!(taken.len() < TIMES * whole, "all {} bytes were sent to one that took nothing", taken.len());
    };
    tokio::join!(slow, stuck);
}

/// Texts that name nobody, or somebody else.
const FOREIGN: [&str; 8] = [
    "evil.example.com",
    "localhost:80@evil.com",
    "user@localhost",
    "127.0.0.1]evil.com",
    "[::1]evil.com",
    "localhost.evil.com",
    "localhost:http",
    "localhost,evil.com",
];

#[tokio::test]
async fn a_host_that_is_not_ours_is_refused_by_its_name() {
    let server = keyrack().await;
    for line in
        ["POST /v2/keys.verifyKey", "POST /v2/apis.createApi", "POST /mcp", "GET /openapi.json", "GET /docs"]
    {
        let mut connection = Raw::to(&server).await;
        for host in FOREIGN {
            connection.send(format!("{line} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n")).await;
            let answer = connection.answer().await.expect("an answer");
            assert_eq!(answer.status, 403, "{line} {host}: {}", answer.body);
            let body: Value = serde_json::from_str(&answer.body).expect("the envelope");
            assert_eq!(body["error"]["status"], 403);
            assert!(
                body["error"]["detail"].as_str().is_some_and(|detail| detail.contains(host)),
                "{host}: {body}"
            );
        }
        let absolute = line.replace(" /", " http://localhost@evil.com/");
        connection.send(format!("{absolute} HTTP/1.1\r\n{HOST}Content-Length: 0\r\n\r\n")).await;
        // The library that reads heads may refuse it before anybody asks.
        assert!(matches!(connection.answer().await.expect("an answer").status, 400 | 403), "{absolute}");
        let mut connection = Raw::to(&server).await;
        connection.send(format!("{line} HTTP/1.1\r\n{HOST}{HOST}Content-Length: 0\r\n\r\n")).await;
        assert_eq!(connection.answer().await.expect("an answer").status, 403, "two hosts");
    }
}

#[tokio::test]
async fn signs_of_life_are_given_to_whoever_names_nobody() {
    let server = keyrack().await;
    for path in ["/healthz", "/readyz", "/v2/liveness"] {
        for version in ["1.0", "1.1"] {
            for host in ["", "Host: 10.1.2.3:8080\r\n", "Host: evil.example.com\r\n"] {
                let mut connection = Raw::to(&server).await;
                connection.send(format!("GET {path} HTTP/{version}\r\n{host}\r\n")).await;
                assert_eq!(connection.answer().await.expect("an answer").status, 200, "{path} {version} {host}");
            }
        }
    }
}

#[tokio::test]
async fn two_root_keys_in_one_request_are_refused_and_one_sent_twice_is_one() {
    let server = keyrack().await;
    let bearer = |key: &str| format!("Authorization: Bearer {key}\r\n");
    let body = r#"{"name":"payments"}"#;
    for line in ["POST /v2/keys.verifyKey", "POST /v2/apis.createApi"] {
        let mut connection = Raw::to(&server).await;
        for (headers, refused) in [
            (bearer(ROOT_KEY) + &bearer("another"), true),
            (bearer("another") + &bearer(ROOT_KEY), true),
            (bearer(ROOT_KEY) + "Authorization: Basic abc\r\n", true),
            (bearer(ROOT_KEY) + &bearer(ROOT_KEY), false),
        ] {
            let length = body.len();
            connection
                .send(format!("{line} HTTP/1.1\r\n{HOST}{headers}Content-Length: {length}\r\n\r\n{body}"))
                .await;
            let answer = connection.answer().await.expect("an answer");
            let is_malformed = answer.status == 401 && answer.body.contains("unkey/authentication/malformed");
            assert_eq!(is_malformed, refused, "{line} {headers}: {} {}", answer.head, answer.body);
            assert!(!answer.body.contains(ROOT_KEY), "{}", answer.body);
        }
    }
}
