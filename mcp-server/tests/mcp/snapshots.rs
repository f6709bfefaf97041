//! What assistants see, kept as files, so that a change of it is seen in review.

use keyrack_mcp_server::MAX_INSTRUCTIONS;

use crate::client::{Client, Era};
use crate::world::{World, catalogue};

/// What an assistant that issues keys for one API would hold.
const FEW: [&str; 3] = ["api.*.read_api", "api.api_1.create_key", "api.api_1.read_key"];

#[test]
fn each_tool() {
    for offer in catalogue().offers() {
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_json_snapshot!(format!("tool_{}", offer.tool.name), offer.tool);
        });
    }
}

#[tokio::test]
async fn the_listings() {
    let world = World::new().await;
    for (name, permissions) in [("listing_full_access", &["*"][..]), ("listing_few_permissions", &FEW)] {
        let client = Client::with_permissions(&world, Era::Handshake, permissions).await;
        let lines: Vec<String> = client
            .tools()
            .iter()
            .map(|tool| {
                let hints = tool.annotations.as_ref().unwrap();
                let kind = match (hints.read_only_hint, hints.destructive_hint) {
                    (Some(true), _) => "read",
                    (_, Some(true)) => "destroy",
                    _ => "write",
                };
                format!("{:<30} {kind:<8} {}", tool.name, tool.description.as_deref().unwrap_or_default())
            })
            .collect();
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(name, lines.join("\n"));
        });
    }
}

#[tokio::test]
async fn the_instructions_name_the_workspace_in_both_eras() {
    let world = World::new().await;
    for (name, permissions) in [("instructions_full_access", &["*"][..]), ("instructions_few_permissions", &FEW)] {
        let mut told = Vec::new();
        for era in crate::client::ERAS {
            let client = Client::with_permissions(&world, era, permissions).await;
            let server = client.running().peer_info().unwrap();
            assert_eq!(server.server_info.as_ref().unwrap().title.as_deref(), Some("Keyrack (Default)"));
            let instructions = server.instructions.clone().unwrap();
            let (before, now) = instructions.split_once("It is now ").unwrap();
            let after = now.split_once('\n').unwrap().1;
            assert!(now.starts_with("20") && now.contains("Z = 1"), "{now}");
            told.push(format!("{before}It is now ….\n{after}"));
        }
        assert_eq!(told[0], told[1]);
        assert!(told[0].len() <= MAX_INSTRUCTIONS);
        let told = told[0].replace(&world.workspace_id, "ws_…");
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(name, told);
        });
    }
}
