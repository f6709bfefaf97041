//! Messages as lines: MCP over standard input and output.
//!
//! Every line is answered or taken: what is no message gets its refusal here ([`crate::gate`]), in the turn of the
//! answers, so that no two lines mix. A line is bounded, because a client that never ends one would fill the memory.

use std::io;
use std::sync::Arc;

use rmcp::RoleServer;
use rmcp::model::{ClientJsonRpcMessage, ErrorCode, JsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::Transport;
use serde_json::Value;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::sync::{Mutex, mpsc};

use crate::gate::{self, Refusal};

/// Bytes of a line: more than a message over HTTP may have.
const LONGEST_LINE: u64 = 4 << 20;
/// Messages that were read and not taken yet.
const READ_AHEAD: usize = 16;

/// The writing end, shared by the library's answers and by refusals.
struct Writer<W>(Arc<Mutex<Option<W>>>);

impl<W> Clone for Writer<W> {
    fn clone(&self) -> Self {
        Writer(self.0.clone())
    }
}

impl<W: AsyncWrite + Send + Unpin> Writer<W> {
    async fn write(&self, mut line: Vec<u8>) -> io::Result<()> {
        line.push(b'\n');
        let mut writer = self.0.lock().await;
        let Some(writer) = writer.as_mut() else { return Err(io::ErrorKind::NotConnected.into()) };
        writer.write_all(&line).await?;
        writer.flush().await
    }
}

/// One client over two pipes.
pub(crate) struct Lines<W> {
    messages: mpsc::Receiver<ClientJsonRpcMessage>,
    writer: Writer<W>,
}

impl<W: AsyncWrite + Send + Unpin + 'static> Lines<W> {
    /// Begins to read.
    pub(crate) fn new(reader: impl AsyncRead + Send + Unpin + 'static, writer: W) -> Self {
        let writer = Writer(Arc::new(Mutex::new(Some(writer))));
        let (sender, messages) = mpsc::channel(READ_AHEAD);
        tokio::spawn(read_all(BufReader::new(reader), writer.clone(), sender));
        Lines { messages, writer }
    }
}

/// Reads lines until their end, or until nobody takes messages or answers any more.
async fn read_all<W: AsyncWrite + Send + Unpin>(
    mut reader: impl AsyncBufRead + Send + Unpin,
    writer: Writer<W>,
    messages: mpsc::Sender<ClientJsonRpcMessage>,
) {
    loop {
        let refusal = match next_line(&mut reader).await {
            Ok(Some(line)) if line.trim_ascii().is_empty() => continue,
            Ok(Some(line)) => match gate::read(&line) {
                Ok(message) => match messages.send(message).await {
                    Ok(()) => continue,
                    Err(_) => return,
                },
                Err(refusal) => refusal,
            },
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                let message = format!("A line is longer than {LONGEST_LINE} bytes, which no message may be.");
                Refusal::without_id(ErrorCode::INVALID_REQUEST, message)
            }
            Ok(None) => return,
            Err(error) => {
                tracing::error!(%error, "standard input cannot be read");
                return;
            }
        };
        if writer.write(refusal.to_json().to_string().into_bytes()).await.is_err() {
            return;
        }
    }
}

/// The next line without its end; `None` at the end of all. One that is too long is read to its end and dropped.
async fn next_line(reader: &mut (impl AsyncBufRead + Send + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let mut is_too_long = false;
    loop {
        let read = (&mut *reader).take(LONGEST_LINE).read_until(b'\n', &mut line).await?;
        let is_whole = line.ends_with(b"\n") || (read as u64) < LONGEST_LINE;
        if is_whole && is_too_long {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if is_whole {
            return Ok((!line.is_empty()).then_some(line));
        }
        is_too_long = true;
        line.clear();
    }
}

impl<W: AsyncWrite + Send + Unpin + 'static> Transport<RoleServer> for Lines<W> {
    type Error = io::Error;

    fn send(&mut self, item: ServerJsonRpcMessage) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let writer = self.writer.clone();
        async move { writer.write(line(&item)?).await }
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        self.messages.recv().await
    }

    async fn close(&mut self) -> io::Result<()> {
        self.messages.close();
        self.writer.0.lock().await.take();
        Ok(())
    }
}

/// A message of ours as a line. The library leaves out an id that it does not know; JSON-RPC wants null.
fn line(item: &ServerJsonRpcMessage) -> io::Result<Vec<u8>> {
    if matches!(item, JsonRpcMessage::Error(error) if error.id.is_none()) {
        let mut value = serde_json::to_value(item)?;
        value["id"] = Value::Null;
        return Ok(value.to_string().into_bytes());
    }
    Ok(serde_json::to_vec(item)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_bounded_and_the_next_one_is_read() {
        let long = "x".repeat(LONGEST_LINE as usize * 2 + 5);
        let text = format!("one\n{long}\n\ntwo\nlast");
        let mut reader = BufReader::new(text.as_bytes());
        let mut read = Vec::new();
        loop {
            match next_line(&mut reader).await {
                Ok(Some(line)) => read.push(String::from_utf8(line).unwrap()),
                Ok(None) => break,
                Err(error) => read.push(format!("{}", error.kind())),
            }
        }
        assert_eq!(read, ["one\n", "file too large", "\n", "two\n", "last"]);
    }
}
