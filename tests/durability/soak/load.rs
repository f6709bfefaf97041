//! The mixed load: a few lanes, each a client of its own that does one kind of thing over and over. Whatever a lane
//! makes it deletes, so that the data do not grow.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use keyrack_test_harness::{Answer, Client, ROOT_KEY, Server};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const BALANCE: i64 = 1_000_000_000;
const MONTH_MS: u64 = 2_592_000_000;
/// Counts of rate limits that the server may keep; the lanes have many more identifiers than that.
pub(super) const CELLS: u64 = 5_000;
/// So many requests over one connection, then the lane takes another.
const PER_CONNECTION: u64 = 250;

/// The server under load, what the lanes use there, and what they have counted.
#[derive(Debug)]
pub(super) struct Load {
    base: String,
    port: u16,
    api: String,
    plain: String,
    limited: String,
    metered: Metered,
    /// Spent over connections for one request, of which some are cut off before the answer.
    passing: Metered,
    /// Requests that may have taken a credit from it, which nobody waited for.
    cut_off: AtomicI64,
    /// Made and removed by lanes, numbered.
    things: AtomicU64,
    requests: AtomicU64,
}

/// A key with a balance, and what was taken from it for sure, less what was added.
#[derive(Debug)]
struct Metered {
    id: String,
    key: String,
    spent: AtomicI64,
}

/// One connection, replaced now and then.
struct Lane {
    client: Client,
    load: Arc<Load>,
    turns: u64,
    until: Instant,
}

impl Lane {
    fn new(load: &Arc<Load>, until: Instant) -> Self {
        Lane { client: Client::new(&load.base, ROOT_KEY), load: load.clone(), turns: 0, until }
    }

    /// The number of the next turn; `None` when the time is over.
    fn turn(&mut self) -> Option<u64> {
        self.turns += 1;
        if self.turns.is_multiple_of(PER_CONNECTION) {
            self.client = Client::new(&self.load.base, ROOT_KEY);
        }
        (Instant::now() < self.until).then_some(self.turns)
    }

    /// `data` of an answer that has to be a success.
    async fn call(&self, operation: &str, body: Value) -> Value {
        self.load.requests.fetch_add(1, Ordering::Relaxed);
        self.client.call(operation, body).await.expect(200).data().clone()
    }

    async fn refused(&self, status: u16, operation: &str, body: &str) {
        self.load.requests.fetch_add(1, Ordering::Relaxed);
        self.client.call_text(operation, body.to_owned(), &[]).await.expect(status);
    }

    /// Verifies what is valid, what is not allowed, and what nobody knows.
    async fn verify(mut self) {
        while let Some(turn) = self.turn() {
            let (plain, limited) = (&self.load.plain, &self.load.limited);
            let stranger = format!("nobody_{turn}");
            let named = json!([{"name": "bulk", "limit": 1, "duration": 1000, "cost": 2}]);
            let (body, code) = match turn % 5 {
                0 => (json!({"key": plain}), "VALID"),
                1 => (json!({"key": plain, "permissions": "x.read AND (x.list OR x.write)"}), "VALID"),
                2 => (json!({"key": plain, "permissions": "x.write"}), "INSUFFICIENT_PERMISSIONS"),
                3 => (
                    json!({"key": limited, "tags": [format!("turn={turn}")], "ratelimits": named}),
                    "RATE_LIMITED",
                ),
                _ => (json!({"key": stranger}), "NOT_FOUND"),
            };
            assert_eq!(self.call("keys.verifyKey", body.clone()).await["code"], code, "{body}");
            self.call("keys.verifyKey", json!({"key": limited})).await;
        }
    }

    /// Spends credits, and adds some now and then.
    async fn spend(mut self) {
        let load = self.load.clone();
        while let Some(turn) = self.turn() {
            let cost = 1 + i64::try_from(turn % 3).expect("small");
            let body = json!({"key": load.metered.key, "credits": {"cost": cost}});
            assert_eq!(self.call("keys.verifyKey", body).await["code"], "VALID");
            load.metered.spent.fetch_add(cost, Ordering::Relaxed);
            if turn.is_multiple_of(20) {
                let body = json!({"keyId": load.metered.id, "operation": "increment", "value": 7});
                self.call("keys.updateCredits", body).await;
                load.metered.spent.fetch_sub(7, Ordering::Relaxed);
            }
        }
    }

    /// Checks limits of identifiers that never come again, and of one that is there for the whole time.
    async fn limit(mut self) {
        while let Some(turn) = self.turn() {
            let one = self.load.things.fetch_add(1, Ordering::Relaxed);
            let duration = if turn % 2 == 0 { 1000 } else { MONTH_MS };
            let data = self.call("ratelimit.limit", check(&format!("visitor {one}"), duration)).await;
            assert_eq!((&data["success"], &data["remaining"]), (&json!(true), &json!(9)));
            self.call("ratelimit.limit", check("everyone", 1000)).await;
            if turn.is_multiple_of(4) {
                let many: Vec<Value> = (0..20).map(|n| check(&format!("batch {one} {n}"), duration)).collect();
                assert_eq!(self.call("ratelimit.multiLimit", json!(many)).await["passed"], true);
            }
        }
    }

    /// Makes a key with everything, changes and uses it, and removes it without a trace; an override, too.
    async fn change(mut self) {
        while let Some(turn) = self.turn() {
            let one = self.load.things.fetch_add(1, Ordering::Relaxed);
            let auto = json!([{"name": "auto", "limit": 5, "duration": 1000, "autoApply": true}]);
            let body = json!({
                "apiId": self.load.api, "name": format!("passing {one}"), "meta": {"n": one},
                "externalId": format!("customer-{}", one % 20), "permissions": ["x.read", "x.list"],
                "credits": {"remaining": 5}, "ratelimits": auto,
            });
            let made = self.call("keys.createKey", body).await;
            let (id, key) = (&made["keyId"], &made["key"]);
            assert_eq!(self.call("keys.verifyKey", json!({"key": key})).await["credits"], 4);
            self.call("keys.updateKey", json!({"keyId": id, "name": "renamed", "enabled": false})).await;
            assert_eq!(self.call("keys.verifyKey", json!({"key": key})).await["code"], "DISABLED");
            assert_eq!(self.call("keys.getKey", json!({"keyId": id})).await["name"], "renamed");
            self.call("keys.deleteKey", json!({"keyId": id, "permanent": true})).await;
            assert_eq!(self.call("keys.verifyKey", json!({"key": key})).await["code"], "NOT_FOUND");
            if turn.is_multiple_of(5) {
                let rule = json!({"namespace": "mail", "identifier": format!("vip {}", one % 50), "limit": 3, "duration": 1000});
                self.call("ratelimit.setOverride", rule).await;
                let rule = json!({"namespace": "mail", "identifier": format!("vip {}", one % 50)});
                self.call("ratelimit.deleteOverride", rule).await;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Reads lists, and asks for what cannot be answered.
    async fn read_and_err(mut self) {
        let api = self.load.api.clone();
        while self.turn().is_some() {
            self.call("apis.listKeys", json!({"apiId": api, "limit": 50})).await;
            self.call("permissions.listPermissions", json!({})).await;
            self.call("ratelimit.listOverrides", json!({"namespace": "mail"})).await;
            self.refused(400, "keys.createKey", "{\"apiId\":").await;
            self.refused(400, "keys.createKey", r#"{"apiId": "", "unknown": [1, 2, 3]}"#).await;
            self.refused(404, "keys.getKey", r#"{"keyId": "key_nobody"}"#).await;
            self.refused(404, "keys.noSuchThing", "{}").await;
            self.load.requests.fetch_add(1, Ordering::Relaxed);
            self.client.with_key("a root key that nobody made").call("apis.listApis", json!({})).await.expect(401);
        }
    }

    /// Connections that come and go: asked and answered once, or cut off in the head, in the body, before the answer.
    async fn come_and_go(mut self) {
        let load = self.load.clone();
        let body = json!({"key": load.passing.key}).to_string();
        let request = format!(
            "POST /v2/keys.verifyKey HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {ROOT_KEY}\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        while let Some(turn) = self.turn() {
            let sent = match turn % 4 {
                0 => 40,
                1 => request.len() - 3,
                _ => request.len(),
            };
            load.requests.fetch_add(1, Ordering::Relaxed);
            let mut stream = TcpStream::connect(("127.0.0.1", load.port)).await.expect("the server listens");
            stream.write_all(&request.as_bytes()[..sent]).await.expect("written");
            match turn % 4 {
                2 => drop(load.cut_off.fetch_add(1, Ordering::Relaxed)),
                3 => {
                    let mut answer = String::new();
                    stream.read_to_string(&mut answer).await.expect("answered and closed");
                    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("VALID"), "{answer}");
                    load.passing.spent.fetch_add(1, Ordering::Relaxed);
                }
                _ => {}
            }
            drop(stream);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn check(identifier: &str, duration: u64) -> Value {
    json!({"namespace": "mail", "identifier": identifier, "limit": 10, "duration": duration})
}

async fn new_key(server: &Server, body: Value) -> Answer {
    server.call("keys.createKey", body).await.expect(200)
}

async fn new_metered(server: &Server, api: &str) -> Metered {
    let made = new_key(server, json!({"apiId": api, "credits": {"remaining": BALANCE}})).await;
    Metered { id: made.text_of("keyId"), key: made.text_of("key"), spent: AtomicI64::new(0) }
}

async fn taken(server: &Server, metered: &Metered) -> i64 {
    let read = server.call("keys.getKey", json!({"keyId": metered.id})).await.expect(200);
    BALANCE - read.data()["credits"]["remaining"].as_i64().expect("a number")
}

impl Load {
    /// Makes what the lanes use.
    pub(super) async fn new(server: &Server) -> Arc<Self> {
        let api = server.call("apis.createApi", json!({"name": "payments"})).await.expect(200).text_of("apiId");
        let auto = json!([{"name": "auto", "limit": 50, "duration": 1000, "autoApply": true}]);
        let plain = new_key(server, json!({"apiId": api, "permissions": ["x.read", "x.list"]})).await;
        let limited = new_key(server, json!({"apiId": api, "ratelimits": auto})).await;
        // The first use makes the namespace, which some lanes list and change.
        server.call("ratelimit.limit", check("first", 1000)).await.expect(200);
        Arc::new(Load {
            base: server.base().to_owned(),
            port: server.port(),
            plain: plain.text_of("key"),
            limited: limited.text_of("key"),
            metered: new_metered(server, &api).await,
            passing: new_metered(server, &api).await,
            cut_off: AtomicI64::new(0),
            api,
            things: AtomicU64::new(0),
            requests: AtomicU64::new(0),
        })
    }

    /// Runs all lanes for so long, until the last answer. What a lane says is wrong is passed on.
    pub(super) async fn run(self: &Arc<Self>, lasts: Duration) {
        let until = Instant::now() + lasts;
        let lane = || Lane::new(self, until);
        let mut lanes = JoinSet::new();
        for _ in 0..2 {
            lanes.spawn(lane().verify());
            lanes.spawn(lane().spend());
            lanes.spawn(lane().limit());
            lanes.spawn(lane().change());
        }
        lanes.spawn(lane().read_and_err());
        lanes.spawn(lane().come_and_go());
        while let Some(ended) = lanes.join_next().await {
            if let Err(fault) = ended {
                std::panic::resume_unwind(fault.into_panic());
            }
        }
    }

    /// Requests so far, those that were cut off included.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Balances are what the lanes say, and nothing that a lane made is left.
    pub(super) async fn adds_up(&self, server: &Server) {
        assert_eq!(taken(server, &self.metered).await, self.metered.spent.load(Ordering::Relaxed));
        let (took, answered) = (taken(server, &self.passing).await, self.passing.spent.load(Ordering::Relaxed));
        let cut_off = self.cut_off.load(Ordering::Relaxed);
        let possible = answered..=answered + cut_off;
        assert!(possible.contains(&took), "{answered} answered, {cut_off} cut off, {took} taken");
        let keys = server.call("apis.listKeys", json!({"apiId": self.api, "limit": 100})).await.expect(200);
        assert_eq!(keys.data().as_array().map(Vec::len), Some(4), "{}", keys.text);
        let rules = server.call("ratelimit.listOverrides", json!({"namespace": "mail"})).await.expect(200);
        assert_eq!(rules.data(), &json!([]));
    }
}
