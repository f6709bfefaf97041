//! An assistant's side of a conversation over streamable HTTP: it knows what it was told at the beginning and what tools
//! answer, and what it is shown is counted.

use keyrack_test_harness::{ROOT_KEY, Server};
use serde_json::Value;

use crate::connection::{Connection, text};
use crate::process::hello;

/// Calls that a question may take.
const MOST_CALLS: usize = 3;
/// Bytes of results that they may put into the conversation.
const MOST_BYTES: usize = 8 * 1024;

/// A conversation about one question.
pub(crate) struct Assistant {
    connection: Connection,
    /// What time it is, in Unix ms, as the server said at the beginning.
    pub(crate) now: i64,
    calls: usize,
    bytes: usize,
}

impl Assistant {
    /// Connects, and reads the instructions.
    pub(crate) async fn connect(server: &Server) -> Assistant {
        let connection = Connection::new(server.base(), "/mcp", ROOT_KEY);
        let answer = connection.ask("initialize", hello()).await;
        let instructions = answer["result"]["instructions"].as_str().expect("instructions");
        // "It is now 2026-11-28T15:25Z = 1795879500000."
        let (_, rest) = instructions.split_once("It is now ").expect("the time");
        let (_, rest) = rest.split_once(" = ").expect("the time in ms");
        let digits = rest.split(|letter: char| !letter.is_ascii_digit()).next().expect("digits");
        Assistant { connection, now: digits.parse().expect("ms"), calls: 0, bytes: 0 }
    }

    /// The next question of the same user: what was said about another one does not count.
    pub(crate) fn begin_anew(&mut self) {
        (self.calls, self.bytes) = (0, 0);
    }

    /// Calls a tool that does what it is asked: `{data, pagination?, notes?}` as a model reads it.
    pub(crate) async fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let result = self.connection.call(tool, arguments).await;
        let text = text(&result);
        assert_eq!(result["isError"], false, "{tool}: {text}");
        let read: Value = serde_json::from_str(text).expect("JSON");
        // Some models are shown one half, and some the other.
        assert_eq!(read, result["structuredContent"], "{tool}: both halves say the same");
        self.calls += 1;
        self.count(text.len());
        assert!(self.calls <= MOST_CALLS, "{tool} is call {}", self.calls);
        read
    }

    /// What was answered about a time of so many buckets is as long as it would be on a server that had something in
    /// each of them: a server of a test has none but the last.
    pub(crate) fn as_if_all_along(&mut self, answer: &Value, buckets: usize) {
        let points: Vec<usize> = answer["data"]["series"]
            .as_array()
            .expect("a series")
            .iter()
            .map(|point| point.to_string().len() + 1)
            .collect();
        let widest = points.iter().max().expect("something happened");
        assert!(points.len() <= buckets, "{answer}");
        self.count(widest * (buckets - points.len()));
    }

    fn count(&mut self, bytes: usize) {
        self.bytes += bytes;
        assert!(self.bytes <= MOST_BYTES, "{} bytes of results after {} calls", self.bytes, self.calls);
    }
}
