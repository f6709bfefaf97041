//! Analytics: SQL over what was decided.

mod refused;
mod rights;
mod truth;
mod usage;

use keyrack_test_harness::Client;
use serde_json::{Value, json};

/// What `analytics.getVerifications` answers.
async fn verifications(client: &Client, query: &str) -> Value {
    client.call("analytics.getVerifications", json!({"query": query})).await.expect(200).data().clone()
}

/// What `analytics.getRatelimits` answers.
async fn ratelimits(client: &Client, query: &str) -> Value {
    client.call("analytics.getRatelimits", json!({"query": query})).await.expect(200).data().clone()
}
