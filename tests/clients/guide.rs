//! The programs of the guide `verify-in-your-service`: taken from the page of a running server as their reader copies them,
//! compiled, and asked about a key that is good, one that may not, one that there is not, and with nobody to answer.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::StatusCode;
use keyrack_test_harness::{Program, ROOT_KEY, Server, program_under_test};
use serde_json::json;
use tokio::process::Command;

use crate::verify_in_rust::Keyrack;
use crate::{folder, node, python, run};

const GUIDE: &str = "/docs/guides/verify-in-your-service.md";
/// What each program answers: a good key, one without the permission, an unknown one, and no verdict.
const ANSWERS: &str = "allowed ada\nrefused INSUFFICIENT_PERMISSIONS\nrefused NOT_FOUND\nunknown\n";

/// A server, a key of a customer in it, and a second server that never gives a verdict.
struct Desk {
    server: Server,
    key: String,
    away: String,
    asked: Arc<AtomicUsize>,
}

impl Desk {
    async fn new() -> Desk {
        let server = Program::new(program_under_test()).start().await;
        let api = server.call("apis.createApi", json!({"name": "payments"})).await.expect(200).text_of("apiId");
        let body = json!({"apiId": api, "prefix": "pay", "externalId": "ada"});
        let key = server.call("keys.createKey", body).await.expect(200).text_of("key");
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let away = axum::Router::new().fallback(async move || {
            counted.fetch_add(1, Ordering::Relaxed);
            (StatusCode::SERVICE_UNAVAILABLE, axum::Json(json!({"meta": {"requestId": "req_1"}})))
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, away).await });
        Desk { server, key, away: format!("http://{address}"), asked }
    }

    /// The program in this language, and the same that asks who never gives a verdict.
    async fn programs(&self, language: &str) -> (String, String) {
        let guide = self.server.get(GUIDE).await.expect(200).text;
        let (_, rest) = guide.split_once(&format!("```{language}\n")).expect("the guide has a program");
        let (program, _) = rest.split_once("\n```").expect("the program ends");
        (format!("{program}\n"), format!("{}\n", program.replace(self.server.base(), &self.away)))
    }

    /// Runs a client that prints what the program answers.
    async fn assert_answers(&self, mut command: Command, what: &str) {
        command
            .env("KEYRACK_ROOT_KEY", ROOT_KEY)
            .env("KEYRACK_TEST_KEY", &self.key)
            .env("NO_PROXY", "*")
            .env("no_proxy", "*");
        let told = run(command, what, || self.server.log()).await;
        assert_eq!(told, ANSWERS, "{what}");
        assert_eq!(self.asked.load(Ordering::Relaxed), 1, "{what} asks more than once");
    }
}

/// Writes both programs of a language into a folder, each under a name of its own.
async fn both(desk: &Desk, language: &str, folder: &Path, names: [&str; 2]) {
    let (program, without) = desk.programs(language).await;
    for (name, text) in names.into_iter().zip([program, without]) {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }
}

#[tokio::test]
async fn the_typescript_of_the_guide_has_right_types_and_verifies() {
    let desk = Desk::new().await;
    let folder = tempfile::tempdir().expect("a folder");
    both(&desk, "ts", folder.path(), ["verify.ts", "away.ts"]).await;
    let folder = folder.path().to_str().expect("a path");
    desk.assert_answers(node(&["guide.mjs", folder]), "the guide's TypeScript").await;
}

#[tokio::test]
async fn the_python_of_the_guide_verifies() {
    let desk = Desk::new().await;
    let folder = tempfile::tempdir().expect("a folder");
    both(&desk, "py", folder.path(), ["verify.py", "away.py"]).await;
    let folder = folder.path().to_str().expect("a path");
    desk.assert_answers(python(&["guide.py", folder]), "the guide's Python").await;
}

#[tokio::test]
async fn the_go_of_the_guide_is_vetted_and_verifies() {
    let desk = Desk::new().await;
    let work = tempfile::tempdir().expect("a folder");
    both(&desk, "go", work.path(), ["keyrack/verify.go", "away/verify.go"]).await;
    for (from, to) in [("main.go", "main.go"), ("go.mod", "go.mod")] {
        std::fs::copy(folder().join("go").join(from), work.path().join(to)).expect("a file");
    }
    let go = |arguments: &[&str]| {
        let mut go = Command::new("go");
        // Nothing but its own library, which it compiles once.
        let cache = folder().join("go/.cache");
        go.args(arguments).current_dir(work.path());
        go.env("GOPROXY", "off").env("GOTOOLCHAIN", "local").env("GOFLAGS", "-mod=mod").env("GOCACHE", cache);
        go
    };
    run(go(&["vet", "./..."]), "go vet", || desk.server.log()).await;
    let mut format = Command::new("gofmt");
    format.args(["-l", "."]).current_dir(work.path());
    assert_eq!(run(format, "gofmt", String::new).await, "", "gofmt would write the guide's Go in another way");
    desk.assert_answers(go(&["run", "."]), "the guide's Go").await;
}

#[tokio::test]
async fn the_rust_of_the_guide_verifies() {
    let desk = Desk::new().await;
    let (program, _) = desk.programs("rust").await;
    assert_eq!(program, include_str!("verify_in_rust.rs"), "copy one to the other");
    let root_key = || ROOT_KEY.to_owned();
    let keyrack = Keyrack::new(desk.server.base(), root_key()).expect("a client");
    let allowed = keyrack.verify(&desk.key, None).await.expect("a verdict");
    assert_eq!((allowed.valid, allowed.code.as_str()), (true, "VALID"));
    assert_eq!(allowed.identity.map(|identity| identity.external_id).as_deref(), Some("ada"));
    assert!(allowed.key_id.is_some_and(|id| id.starts_with("key_")));
    let refused = keyrack.verify(&desk.key, Some("documents.read")).await.expect("a verdict");
    assert_eq!((refused.valid, refused.code.as_str()), (false, "INSUFFICIENT_PERMISSIONS"));
    assert_eq!(keyrack.verify("pay_nobody", None).await.expect("a verdict").code, "NOT_FOUND");
    let away = Keyrack::new(&desk.away, root_key()).expect("a client");
    assert!(away.verify(&desk.key, None).await.is_err());
    assert_eq!(desk.asked.load(Ordering::Relaxed), 1);
}
