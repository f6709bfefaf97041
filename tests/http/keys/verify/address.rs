//! The address list of an API: who is let in, and which address counts as the caller's.

use keyrack_test_harness::Server;
use serde_json::{Value, json};

use crate::fixture::{NewKey, new_api, new_key};
use crate::{keyrack, program};

struct Guarded {
    server: Server,
    api: String,
    key: NewKey,
}

impl Guarded {
    async fn on(server: Server) -> Self {
        let api = new_api(&server).await;
        let key = new_key(&server, &api, json!({})).await;
        Self { server, api, key }
    }

    /// Behind a proxy on this machine that may say whom it forwards for.
    async fn behind_proxy() -> Self {
        Self::on(program().env("KEYRACK_TRUSTED_PROXIES", "127.0.0.1/32,10.0.0.0/8").start().await).await
    }

    async fn allow(&self, list: Value) {
        let body = json!({"apiId": self.api, "ipWhitelist": list});
        self.server.call("apis.updateApi", body).await.expect(200);
    }

    async fn code(&self, forwarded_for: Option<&str>) -> Value {
        let headers: Vec<(&str, &str)> = forwarded_for.map(|list| ("X-Forwarded-For", list)).into_iter().collect();
        let body = json!({"key": self.key.key});
        let answer = self.server.call_with_headers("keys.verifyKey", body, &headers).await;
        answer.expect(200).data()["code"].clone()
    }
}

#[tokio::test]
async fn addresses_and_ranges_of_both_families_are_let_in() {
    let guarded = Guarded::behind_proxy().await;
    guarded.allow(json!(["203.0.113.9", " 198.51.100.0/24", "2001:db8::1", "2001:db8:1::/48"])).await;
    for (address, code) in [
        ("203.0.113.9", "VALID"),
        ("203.0.113.10", "FORBIDDEN"),
        ("198.51.100.77", "VALID"),
        ("198.51.101.1", "FORBIDDEN"),
        ("2001:db8::1", "VALID"),
        ("2001:0db8:0:0:0:0:0:1", "VALID"),
        ("2001:db8::2", "FORBIDDEN"),
        ("2001:db8:1:ffff::9", "VALID"),
        ("::ffff:203.0.113.9", "VALID"),
        ("203.0.113.9:4711", "VALID"),
        ("[2001:db8::1]:4711", "VALID"),
    ] {
        assert_eq!(guarded.code(Some(address)).await, code, "{address}");
    }
}

#[tokio::test]
async fn an_empty_list_lets_everyone_in() {
    let guarded = Guarded::behind_proxy().await;
    guarded.allow(json!(["203.0.113.9"])).await;
    assert_eq!(guarded.code(Some("203.0.113.10")).await, "FORBIDDEN");
    guarded.allow(json!([])).await;
    assert_eq!(guarded.code(Some("203.0.113.10")).await, "VALID");
    guarded.allow(json!(["203.0.113.9"])).await;
    guarded.allow(Value::Null).await;
    assert_eq!(guarded.code(Some("203.0.113.10")).await, "VALID");
}

#[tokio::test]
async fn of_the_forwarded_addresses_the_last_untrusted_one_counts() {
    let guarded = Guarded::behind_proxy().await;
    guarded.allow(json!(["203.0.113.9"])).await;
    assert_eq!(guarded.code(Some("203.0.113.10, 203.0.113.9")).await, "VALID");
    assert_eq!(guarded.code(Some("203.0.113.9, 203.0.113.10")).await, "FORBIDDEN");
    assert_eq!(guarded.code(Some("203.0.113.9, 10.1.2.3")).await, "VALID");
    assert_eq!(guarded.code(Some("203.0.113.9, 203.0.113.10, 10.1.2.3")).await, "FORBIDDEN");
}

#[tokio::test]
async fn without_a_trusted_proxy_the_connection_counts_and_not_the_header() {
    let guarded = Guarded::on(keyrack().await).await;
    guarded.allow(json!(["203.0.113.9"])).await;
    assert_eq!(guarded.code(Some("203.0.113.9")).await, "FORBIDDEN");
    guarded.allow(json!(["127.0.0.1"])).await;
    assert_eq!(guarded.code(Some("203.0.113.9")).await, "VALID");
    assert_eq!(guarded.code(None).await, "VALID");
}

#[tokio::test]
async fn a_list_with_something_that_is_no_address_is_refused() {
    let guarded = Guarded::on(keyrack().await).await;
    for wrong in ["not-an-address", "203.0.113.0/33", "300.1.1.1"] {
        let body = json!({"apiId": guarded.api, "ipWhitelist": ["203.0.113.9", wrong]});
        guarded.server.call("apis.updateApi", body).await.expect_error(400, "unkey/application/invalid_input");
    }
    assert_eq!(guarded.code(None).await, "VALID");
}
