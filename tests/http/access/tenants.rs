//! What workspaces of one instance take from each other, or from themselves: nothing.

use serde_json::json;

use crate::fixture::{limited_client, workspace_id};
use crate::keyrack;

#[tokio::test]
async fn a_throttle_of_the_own_workspace_does_not_throttle_its_correction() {
    let server = keyrack().await;
    let id = workspace_id(&server).await;
    let full = limited_client(&server, &["*"]).await;
    let limit = |limit| json!({"workspaceId": id, "requestsPerMinute": limit});
    server.call("workspace.updateWorkspace", limit(json!(1))).await.expect(200);
    // A minute may turn between two of them.
    let mut answer = server.call("workspace.getOverview", json!({})).await;
    for _ in 0..3 {
        answer = server.call("workspace.getOverview", json!({})).await;
    }
    assert_eq!(answer.status, 429, "{}", answer.text);
    assert!(answer.text.contains("workspace_rate_limited"), "{}", answer.text);
    for _ in 0..3 {
        server.call("workspace.listWorkspaces", json!({})).await.expect(200);
    }
    let refused = full.call("workspace.updateWorkspace", limit(json!(null))).await;
    assert_eq!(refused.status, 429, "whoever is no operator is held back as ever: {}", refused.text);
    server.call("workspace.updateWorkspace", limit(json!(null))).await.expect(200);
    server.call("workspace.getOverview", json!({})).await.expect(200);
}

/// A namespace may have many overrides, but few that take long to match.
#[tokio::test]
async fn patterns_of_a_namespace_are_so_many_that_matching_stays_cheap() {
    let server = keyrack().await;
    let body = json!({"namespace": "mail", "identifier": "a", "limit": 10, "duration": 60_000});
    server.call("ratelimit.limit", body).await.expect(200);
    let set = |identifier: String| {
        let body = json!({"namespace": "mail", "identifier": identifier, "limit": 10, "duration": 60_000});
        server.call("ratelimit.setOverride", body)
    };
    set("*1*2*3*4*5*6*7*8".into()).await.expect(200);
    let refused = set("*1*2*3*4*5*6*7*8*".into()).await.expect(400);
    assert_eq!(refused.locations(), ["body.identifier"]);
    for number in 1..100 {
        set(format!("a*{number}*")).await.expect(200);
    }
    let refused = set("a*one more*".into()).await.expect(400);
    assert_eq!(refused.locations(), ["body.identifier"]);
    set("a*7*".into()).await.expect(200);
    for number in 100..1_000 {
        set(format!("a*{number}")).await.expect(200);
    }
    for pattern in ["b*", "b*b*"] {
        let refused = set(pattern.into()).await.expect(400);
        assert!(refused.text.contains("1000 patterns"), "{}", refused.text);
    }
    set("an identifier".into()).await.expect(200);
    let deleted = json!({"namespace": "mail", "identifier": "a*7*"});
    server.call("ratelimit.deleteOverride", deleted).await.expect(200);
    set("b*b*".into()).await.expect(200);
    let applied = json!({"namespace": "mail", "identifier": "b b"});
    let found = server.call("ratelimit.getOverride", applied).await.expect(200);
    assert_eq!(found.data()["identifier"], "b*b*");
}
