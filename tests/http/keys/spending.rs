//! What verifications over several connections spend together, on both databases.

use std::time::Duration;

use keyrack_test_harness::{Client, Server};
use serde_json::json;
use tokio::task::JoinSet;

use crate::fixture::{NewKey, new_api, new_key, read_key};
use crate::{keyrack, program};

const CONNECTIONS: usize = 12;
const EACH: usize = 25;

/// An answer to a verification: what it was to cost, the code, and the balance shown.
struct Said {
    cost: i64,
    code: String,
    shown: i64,
}

/// Verifies keys one after the other over a connection of its own, with costs that vary.
async fn spend(client: Client, keys: Vec<NewKey>, first: usize) -> Vec<(usize, Said)> {
    let mut said = Vec::new();
    for n in first..first + EACH {
        let (at, cost) = (n % keys.len(), [1, 2, 0, 5, 3][n % 5]);
        let body = json!({"key": keys[at].key, "credits": {"cost": cost}});
        let answer = client.call("keys.verifyKey", body).await.expect(200);
        let code = answer.data()["code"].as_str().expect("a code").to_owned();
        let shown = answer.data()["credits"].as_i64().expect("a balance");
        assert_eq!(answer.data()["valid"], code == "VALID");
        said.push((at, Said { cost, code, shown }));
    }
    said
}

/// Checks that the answers are those of one balance that went down step by step.
fn assert_one_after_the_other(start: i64, end: i64, said: &[&Said]) {
    let mut made: Vec<(i64, i64)> = said
        .iter()
        .filter(|said| said.code == "VALID" && said.cost > 0)
        .map(|said| (said.shown, said.cost))
        .collect();
    made.sort_unstable_by(|one, other| other.cmp(one));
    let mut balance = start;
    for (shown, cost) in &made {
        assert_eq!(*shown, balance - cost, "from {start}, of each the balance after and the cost: {made:?}");
        balance = *shown;
    }
    assert_eq!(balance, end, "the stored balance is another: {made:?}");
    for said in said.iter().filter(|said| said.code != "VALID") {
        assert_eq!(said.code, "USAGE_EXCEEDED");
        assert!(said.shown < said.cost, "{} of {} were refused", said.cost, said.shown);
    }
    assert!(said.iter().all(|said| (end..=start).contains(&said.shown)));
}

async fn what_is_spent_adds_up(server: Server) {
    let api = new_api(&server).await;
    let starts = [120, 1000, 3];
    let mut keys = Vec::new();
    for start in starts {
        keys.push(new_key(&server, &api, json!({"credits": {"remaining": start}})).await);
    }
    let mut tasks = JoinSet::new();
    for n in 0..CONNECTIONS {
        // A client of its own is a connection of its own.
        let client = Client::new(server.base(), keyrack_test_harness::ROOT_KEY);
        tasks.spawn(spend(client, keys.clone(), n * 7));
    }
    let said: Vec<(usize, Said)> = tasks.join_all().await.into_iter().flatten().collect();
    for (at, (key, start)) in keys.iter().zip(starts).enumerate() {
        let of_this: Vec<&Said> = said.iter().filter(|(of, _)| *of == at).map(|(_, said)| said).collect();
        let end = read_key(&server, key).await["credits"]["remaining"].as_i64().expect("a balance");
        assert_one_after_the_other(start, end, &of_this);
        assert!(end < start, "nothing was spent of {start}");
    }
}

#[tokio::test]
async fn what_several_connections_spend_with_mixed_costs_adds_up_on_sqlite() {
    what_is_spent_adds_up(keyrack().await).await;
}

#[tokio::test]
async fn what_several_connections_spend_with_mixed_costs_adds_up_on_postgres() {
    what_is_spent_adds_up(program().on_postgres().await.start().await).await;
}

#[tokio::test]
async fn and_with_normal_durability() {
    what_is_spent_adds_up(program().env("KEYRACK_CREDITS_DURABILITY", "normal").start().await).await;
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_pays_once_or_not_at_all() {
    let server = keyrack().await;
    let key = new_key(&server, &new_api(&server).await, json!({"credits": {"remaining": 1000}})).await;
    let mut impatient = JoinSet::new();
    for n in 0..40 {
        let (client, body) = (server.client(), json!({"key": key.key, "credits": {"cost": 10}}));
        impatient.spawn(async move {
            let call = client.call("keys.verifyKey", body);
            tokio::time::timeout(Duration::from_micros(500 * n), call).await.is_ok()
        });
    }
    let answered = impatient.join_all().await.into_iter().filter(|answered| *answered).count();
    let answered = i64::try_from(answered).expect("small");
    // Whatever is still on its way is made before this one, or not at all.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let left = read_key(&server, &key).await["credits"]["remaining"].as_i64().expect("a balance");
    let spent = 1000 - left;
    assert_eq!(spent % 10, 0);
    assert!((answered * 10..=400).contains(&spent), "{answered} were answered, {spent} are spent");
}
