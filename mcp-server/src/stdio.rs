//! MCP over standard input and output: one process, one root key, one client.
//!
//! Standard output carries JSON-RPC and nothing else; everything for people goes to standard error.

use std::fmt;

use keyrack_core::Error;
use rmcp::service::{QuitReason, ServerInitializeError, ServiceExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use crate::lines::Lines;
use crate::service::KeyrackMcp;

/// Why the service did not start, or did not end well.
#[derive(Debug)]
pub enum ServeError {
    /// The root key may not be used: there is nothing to serve.
    Rejected(Error),
    /// The client did not begin with a request of MCP.
    NotMcp,
    /// The connection to the client failed.
    Connection(String),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServeError::Rejected(error) => f.write_str(error.detail()),
            ServeError::NotMcp => f.write_str("the client did not begin with a request of MCP"),
            ServeError::Connection(reason) => write!(f, "the connection to the client failed: {reason}"),
        }
    }
}

impl std::error::Error for ServeError {}

/// Serves one client over standard input and output, until its end or `shutdown`.
///
/// # Errors
/// [`ServeError::Rejected`] before anything is written, when the root key may not be used; else when the
/// client does not speak MCP or the connection fails.
pub async fn serve(mcp: KeyrackMcp, shutdown: CancellationToken) -> Result<(), ServeError> {
    serve_over(tokio::io::stdin(), tokio::io::stdout(), mcp, shutdown).await
}

async fn serve_over(
    reader: impl AsyncRead + Send + Unpin + 'static,
    writer: impl AsyncWrite + Send + Unpin + 'static,
    mcp: KeyrackMcp,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    mcp.authenticate().await.map_err(ServeError::Rejected)?;
    let transport = Lines::new(reader, writer);
    let running = match mcp.serve_with_ct(transport, shutdown).await {
        Ok(running) => running,
        Err(ServerInitializeError::ConnectionClosed(_) | ServerInitializeError::Cancelled) => return Ok(()),
        Err(ServerInitializeError::TransportError { error, .. }) => {
            return Err(ServeError::Connection(error.to_string()));
        }
        // Others quote what the client sent, which may hold a key.
        Err(_) => return Err(ServeError::NotMcp),
    };
    match running.waiting().await {
        Ok(QuitReason::JoinError(error)) | Err(error) => Err(ServeError::Connection(error.to_string())),
        Ok(_) => Ok(()),
    }
}
