//! Events over the end of a process: what was answered a fifth of a second before a kill is in the log, and before an
//! orderly stop all of it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use keyrack_test_harness::{Client, Server, ended};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::program;

/// What a kill may lose.
const LOSS: Duration = Duration::from_millis(200);

/// Requests that were answered, with when.
type Answered = Arc<Mutex<Vec<(String, Instant)>>>;

/// The ids of the requests in the log of events.
fn logged(server: &Server) -> BTreeSet<String> {
    let output = ended(&mut server.program().command(&["events", "--log"]));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    let ids = text.lines().map(|line| {
        let event: Value = serde_json::from_str(line).expect("an object per line");
        let (_, event) = event.as_object().expect("an object").iter().next().expect("a kind");
        event["requestId"].as_str().expect("an id").to_owned()
    });
    ids.collect()
}

/// Requests of every kind of event, again and again until the server is gone.
async fn ask(client: Client, bodies: Vec<(&'static str, Value)>, answered: Answered) {
    let http = keyrack_test_harness::http_client();
    for (operation, body) in bodies.iter().cycle() {
        let request =
            http.post(format!("{}/v2/{operation}", client.base())).bearer_auth(client.root_key()).json(body);
        let Ok(answer) = request.send().await else { return };
        let Ok(answer) = answer.json::<Value>().await else { return };
        let Some(id) = answer["meta"]["requestId"].as_str() else { return };
        // A server that stops answers that it does.
        if answer.get("error").is_none() {
            let mut answered = answered.lock().unwrap_or_else(PoisonError::into_inner);
            answered.push((id.to_owned(), Instant::now()));
        }
    }
}

async fn load(server: &Server) -> (JoinSet<()>, Answered) {
    let api = server.call("apis.createApi", json!({"name": "payments"})).await.expect(200).text_of("apiId");
    let key = server.call("keys.createKey", json!({"apiId": api})).await.expect(200).text_of("key");
    let body = json!({"apiId": api, "credits": {"remaining": 1_000_000}});
    let paid = server.call("keys.createKey", body).await.expect(200).text_of("key");
    let limit = json!({"namespace": "mail", "identifier": "ann", "limit": 10, "duration": 60_000});
    let bodies = vec![
        ("keys.verifyKey", json!({"key": key})),
        ("keys.verifyKey", json!({"key": paid})),
        ("keys.verifyKey", json!({"key": "nobody_knows_this_one"})),
        ("ratelimit.limit", limit),
    ];
    let (mut tasks, answered) = (JoinSet::new(), Answered::default());
    for first in 0..bodies.len() {
        let mut bodies = bodies.clone();
        bodies.rotate_left(first);
        tasks.spawn(ask(server.client(), bodies, answered.clone()));
    }
    (tasks, answered)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_loses_no_event_that_is_older_than_a_fifth_of_a_second() {
    for _ in 0..3 {
        let mut server = program().start().await;
        let (tasks, answered) = load(&server).await;
        tokio::time::sleep(Duration::from_millis(700)).await;
        let killed = Instant::now();
        server.kill();
        tasks.join_all().await;
        let logged = logged(&server);
        let answered = answered.lock().unwrap_or_else(PoisonError::into_inner);
        let due = answered.iter().filter(|(_, at)| killed.duration_since(*at) > LOSS);
        let lost: Vec<_> = due.clone().filter(|(id, _)| !logged.contains(id)).collect();
        assert!(due.count() > 20, "little was asked");
        assert!(lost.is_empty(), "{} are lost: {lost:?}", lost.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_loses_no_event_at_all() {
    for _ in 0..3 {
        let mut server = program().env("KEYRACK_SHUTDOWN_DELAY_SECONDS", "0").start().await;
        let (tasks, answered) = load(&server).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.signal("TERM");
        assert!(server.wait_for_exit(Duration::from_secs(30)).await.success(), "{}", server.log());
        tasks.join_all().await;
        let logged = logged(&server);
        let answered = answered.lock().unwrap_or_else(PoisonError::into_inner);
        let lost: Vec<_> = answered.iter().filter(|(id, _)| !logged.contains(id)).collect();
        assert!(answered.len() > 20, "little was asked");
        assert!(lost.is_empty(), "{} of {} are lost", lost.len(), answered.len());
    }
}
