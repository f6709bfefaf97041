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
