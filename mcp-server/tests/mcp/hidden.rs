//! Members that assistants are not offered: no text that reaches them speaks of one without saying so.

use keyrack_mcp_server::Offer;
use serde_json::json;

use crate::client::{Client, Era};
use crate::world::{World, catalogue};

/// The sentence that says so.
const NOT_AVAILABLE: &str = "Not available to assistants: ";

fn names(text: &str, member: &str) -> bool {
    text.split(|letter: char| !letter.is_alphanumeric() && letter != '_').any(|word| word == member)
}

fn hiding() -> impl Iterator<Item = &'static Offer> {
    catalogue()
        .offers()
        .iter()
        .map(std::sync::Arc::as_ref)
        .filter(|offer| !offer.about.assistants.hidden.is_empty())
}

#[test]
fn no_tool_names_a_member_that_it_hides() {
    let mut faults = Vec::new();
    for offer in hiding() {
        let text = serde_json::to_string(&offer.tool).unwrap();
        let named = offer.about.assistants.hidden.iter().filter(|member| names(&text, member));
        faults.extend(named.map(|member| format!("{}: {member}", offer.tool.name)));
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[tokio::test]
async fn pages_of_the_documentation_say_what_is_not_available_and_nothing_else_of_it() {
    let world = World::new().await;
    let client = Client::with_permissions(&world, Era::Handshake, &["*"]).await;
    let mut seen = 0;
    for offer in hiding() {
        let own = [offer.about.name];
        for query in own.iter().chain(offer.about.assistants.hidden) {
            let answer = client.call("docs_search", json!({ "query": query, "limit": 20 })).await;
            let path = format!("/docs/operations/{}", offer.about.name);
            let pages = answer["data"]["pages"].as_array().unwrap().iter();
            for page in pages.filter(|page| page["path"] == *path) {
                let text = page["text"].as_str().unwrap();
                let (before, said) = text.split_once(NOT_AVAILABLE).unwrap_or_else(|| panic!("{query}: {text}"));
                let (said, after) = said.split_once('.').unwrap();
                for member in offer.about.assistants.hidden {
                    assert!(names(said, member), "{member} is not said to be hidden: {text}");
                    let elsewhere =
                        [before, after, page["title"].as_str().unwrap(), page["summary"].as_str().unwrap()];
                    assert!(
                        !elsewhere.iter().any(|part| names(part, member)),
                        "{path} speaks of {member}: {text}"
                    );
                }
                seen += 1;
            }
        }
    }
    assert!(seen >= hiding().count(), "a page is not found by its name");
}
