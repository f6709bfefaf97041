//! The victim: a workspace with keys, limits and credits, and what it is granted whatever others do.

use keyrack_test_harness::{Client, Server};
use serde_json::{Value, json};

/// The longest window there is (30 days), so that no test runs into the next one.
pub(crate) const WINDOW: u64 = 2_592_000_000;
const CREDITS: i64 = 1000;
const LIMIT: i64 = 1000;

/// A workspace of its own.
pub(crate) struct Workspace {
    pub(crate) id: String,
    /// With full access to it.
    pub(crate) owner: Client,
}

impl Workspace {
    pub(crate) async fn new(operator: &Client, name: &str) -> Self {
        let made = operator.call("workspace.createWorkspace", json!({"name": name})).await.expect(200);
        Workspace { id: made.text_of("workspaceId"), owner: operator.with_key(&made.text_of("rootKey")) }
    }

    /// A client with a root key of this workspace that holds exactly these permissions.
    pub(crate) async fn holder(&self, permissions: &[&str]) -> Client {
        let made = self.owner.call("rootKeys.createKey", json!({"permissions": permissions})).await.expect(200);
        self.owner.with_key(&made.text_of("key"))
    }
}

/// What the victim has, and how much of it was used.
pub(crate) struct Victim {
    pub(crate) workspace: Workspace,
    api: String,
    limited: String,
    paid: String,
    paid_id: String,
    uses: i64,
}

impl Victim {
    pub(crate) async fn new(server: &Server) -> Self {
        let workspace = Workspace::new(server, "victim").await;
        let owner = &workspace.owner;
        let api = owner.call("apis.createApi", json!({"name": "payments"})).await.expect(200).text_of("apiId");
        let limits = json!([{"name": "requests", "limit": LIMIT, "duration": WINDOW, "autoApply": true}]);
        let limited = owner.call("keys.createKey", json!({"apiId": api, "ratelimits": limits})).await.expect(200);
        let credits = json!({"remaining": CREDITS});
        let paid = owner.call("keys.createKey", json!({"apiId": api, "credits": credits})).await.expect(200);
        let (limited, paid, paid_id) = (limited.text_of("key"), paid.text_of("key"), paid.text_of("keyId"));
        let mut victim = Victim { workspace, api, limited, paid, paid_id, uses: 0 };
        victim.is_granted_all().await;
        victim
    }

    /// Goes on with another process on the same data.
    pub(crate) fn moves_to(&mut self, server: &Server) {
        self.workspace.owner = self.workspace.owner.moved_to(server);
    }

    async fn verified(&self, key: &str) -> Value {
        self.workspace.owner.call("keys.verifyKey", json!({"key": key})).await.expect(200).data().clone()
    }

    /// Keys verify, limits count on from where they were, credits are spent once, and management works.
    pub(crate) async fn is_granted_all(&mut self) {
        self.uses += 1;
        let owner = &self.workspace.owner;
        let limited = self.verified(&self.limited).await;
        assert_eq!(limited["code"], "VALID", "{limited}");
        assert_eq!(limited["ratelimits"][0]["remaining"], LIMIT - self.uses, "the count is another: {limited}");
        let paid = self.verified(&self.paid).await;
        assert_eq!((&paid["code"], &paid["credits"]), (&json!("VALID"), &json!(CREDITS - self.uses)), "{paid}");
        let check = json!({"namespace": "mail", "identifier": "ann", "limit": LIMIT, "duration": WINDOW});
        let checked = owner.call("ratelimit.limit", check).await.expect(200);
        assert_eq!(checked.data()["remaining"], LIMIT - self.uses, "the count is another: {}", checked.text);
        let made = owner.call("keys.createKey", json!({"apiId": self.api})).await.expect(200);
        assert_eq!(self.verified(&made.text_of("key")).await["code"], "VALID");
        owner.call("keys.deleteKey", json!({"keyId": made.text_of("keyId")})).await.expect(200);
        let read = owner.call("keys.getKey", json!({"keyId": self.paid_id})).await.expect(200);
        assert_eq!(read.data()["credits"]["remaining"], CREDITS - self.uses);
        owner.call("apis.getApi", json!({"apiId": self.api})).await.expect(200);
    }
}
