//! What stands before a server and adds a root key to what passes, and changes nothing else: for clients that can send none.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH, TRANSFER_ENCODING};
use axum::response::Response;
use keyrack_test_harness::{Server, http_client};

/// No request of a test is larger.
const LARGEST: usize = 1 << 20;

/// A listener of its own, until the test ends.
pub(super) struct Front {
    address: std::net::SocketAddr,
}

struct Behind {
    http: reqwest::Client,
    base: String,
    root_key: String,
}

impl Front {
    /// Stands before this server.
    pub(super) async fn of(server: &Server, root_key: &str) -> Front {
        let behind = Behind { http: http_client(), base: server.base().to_owned(), root_key: root_key.to_owned() };
        let routes = Router::new().fallback(pass_on).with_state(Arc::new(behind));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Front { address }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// Everything as it came, `Host` and `Origin` included; the answer as it comes.
async fn pass_on(State(behind): State<Arc<Behind>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let body = to_bytes(body, LARGEST).await.expect("a small body");
    let mut headers = parts.headers;
    headers.remove(CONTENT_LENGTH);
    headers.remove(TRANSFER_ENCODING);
    let asked = behind.http.request(parts.method, format!("{}{path}", behind.base)).headers(headers);
    let answer = asked.header(AUTHORIZATION, format!("Bearer {}", behind.root_key)).body(body).send().await;
    let answer: Response<reqwest::Body> = answer.expect("the server answers").into();
    answer.map(Body::new)
}
