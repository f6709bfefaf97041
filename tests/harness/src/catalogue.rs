//! The operations of a running program, as its own documents name them. `tests/house` sees to it that these documents
//! leave none out.

use crate::Server;

/// The sentences with which pages of operations begin to say what an operation does to what is stored.
const READS: &str = "<p class=\"effect\">Reads.";
const CHANGES: [&str; 2] = ["<p class=\"effect\">Changes something", "<p class=\"effect\">Removes something"];

/// Every operation. The names are kept until the process ends, so that tests can have them beside names they write.
pub async fn operations(server: &Server) -> Vec<&'static str> {
    named(server, |_| true).await
}

/// Every operation that answers pages of a list.
pub async fn listing_operations(server: &Server) -> Vec<&'static str> {
    let success = "/responses/200/content/application~1json/schema/properties/pagination";
    named(server, |described| described.pointer(success).is_some()).await
}

/// Every operation that creates, changes or removes something.
pub async fn changing_operations(server: &Server) -> Vec<&'static str> {
    let mut changing = Vec::new();
    for name in operations(server).await {
        let page = server.get(&format!("/docs/operations/{name}")).await.expect(200).text;
        let changes = CHANGES.iter().any(|sentence| page.contains(sentence));
        assert!(changes != page.contains(READS), "the page of {name} does not say what it does: {page}");
        if changes {
            changing.push(name);
        }
    }
    assert!(!changing.is_empty(), "no operation changes anything");
    changing
}

async fn named(server: &Server, wanted: impl Fn(&serde_json::Value) -> bool) -> Vec<&'static str> {
    let document = server.get("/openapi.json").await.expect(200).body;
    let described = document["paths"].as_object().expect("paths").iter();
    let operations = described.filter_map(|(path, methods)| {
        // `/v2/liveness`, which needs no root key, is no operation in this sense.
        let name = path.strip_prefix("/v2/").filter(|name| name.contains('.'))?;
        wanted(&methods["post"]).then(|| &*name.to_owned().leak())
    });
    let names: Vec<&'static str> = operations.collect();
    assert!(!names.is_empty(), "no operation is described");
    names
}
