//! `keyrack usage` and `keyrack events`: what people read, what scripts get, and what comes while one looks on.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use keyrack_test_harness::{Server, program_under_test};
use serde_json::json;

use crate::{Shell, keyrack};

/// A text that would clear a screen.
const HOSTILE: &str = "ann\u{1b}[2J";

/// Verifies a key of a customer three times, of which two are let in.
async fn decide(server: &Server) -> String {
    let api = server.call("apis.createApi", json!({"name": "payments"})).await.expect(200).text_of("apiId");
    let body = json!({"apiId": api, "externalId": HOSTILE, "name": "=1+1", "credits": {"remaining": 2}});
    let key = server.call("keys.createKey", body).await.expect(200).text_of("key");
    for _ in 0..3 {
        server.call("keys.verifyKey", json!({"key": key, "tags": ["x"]})).await.expect(200);
    }
    for cost in [1, 9] {
        let body = json!({"namespace": "mail", "identifier": "bob", "limit": 5, "duration": 60_000, "cost": cost});
        server.call("ratelimit.limit", body).await.expect(200);
    }
    key
}

#[tokio::test]
async fn usage_is_a_chart_for_people_and_rows_for_scripts() {
    let server = keyrack().await;
    let shell = Shell::beside(&server);
    let nothing = shell.run(&["usage"]).expect(0);
    assert!(nothing.stdout.starts_with("0 verifications from "), "{nothing:#?}");
    decide(&server).await;
    let chart = shell.run(&["usage", "--since", "2d"]).expect(0).stdout;
    assert!(chart.starts_with("3 verifications from ") && chart.contains("33.3 % refused"), "{chart}");
    assert!(chart.contains("VALID") && chart.contains("USAGE_EXCEEDED") && chart.contains("▇▇▇"), "{chart}");

    let customers = shell.run(&["usage", "--by", "customer"]).expect(0).stdout;
    assert!(customers.contains("ann\\u{1b}[2J") && !customers.contains('\u{1b}'), "{customers}");
    let csv = shell.run(&["usage", "--by", "key", "--csv"]).expect(0).stdout;
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines[0], "id,name,total,VALID,USAGE_EXCEEDED,spentCredits,lastTime");
    assert!(lines[1].starts_with("key_") && lines[1].contains(",'=1+1,3,2,1,2,"), "{csv}");
    let as_json = shell.run(&["usage", "--by", "tag", "--output", "json"]).expect(0).json();
    assert_eq!((&as_json["groups"][0]["id"], &as_json["groups"][0]["total"]), (&json!("x"), &json!(3)));
    let limits = shell.run(&["usage", "--by", "identifier", "--namespace", "mail", "--csv"]).expect(0).stdout;
    assert!(limits.contains("bob,,2,1,1,10,"), "{limits}");
}

#[tokio::test]
async fn a_month_has_all_its_days() {
    let server = keyrack().await;
    decide(&server).await;
    let shell = Shell::beside(&server);
    let csv = shell.run(&["usage", "--month", "2024-02", "--csv"]).expect(0);
    let days = csv.stdout.lines().skip(1).count();
    assert_eq!((days, csv.stdout.lines().nth(29).map(|line| &line[..10])), (29, Some("2024-02-29")));
    assert!(csv.stderr.contains("is older than what is kept"), "{}", csv.stderr);
    for wrong in ["2024", "2024-13", "2024-2", "24-02", "2024-02-01", "é"] {
        shell.run(&["usage", "--month", wrong]).expect(2);
    }
    let wrong = shell.run(&["usage", "--by", "key", "--ratelimits"]).expect(1);
    assert!(wrong.stderr.contains("body.by"), "{}", wrong.stderr);
}

#[tokio::test]
async fn events_are_listed_the_newest_last_and_by_what_they_are() {
    let server = keyrack().await;
    let shell = Shell::beside(&server);
    assert_eq!(shell.run(&["events"]).expect(0).stderr, "no events\n");
    assert!(shell.run(&["events", "--csv"]).expect(0).stdout.starts_with("time,outcome,keyId,"));
    decide(&server).await;
    let table = shell.run(&["events", "--since", "1h"]).expect(0).stdout;
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 4, "{table}");
    assert!(lines[0].contains("outcome") && lines[3].contains("USAGE_EXCEEDED"), "{table}");
    assert!(!table.contains('\u{1b}'), "{table}");
    let refused = shell.run(&["events", "--outcome", "usage_exceeded", "--customer", HOSTILE, "--output", "json"]);
    let refused = refused.expect(0).json();
    assert_eq!((&refused["outcome"], &refused["externalId"]), (&json!("USAGE_EXCEEDED"), &json!(HOSTILE)));
    assert_eq!(shell.run(&["events", "--limit", "2", "--csv"]).expect(0).stdout.lines().count(), 3);
    let limits = shell.run(&["events", "--refused", "--output", "json"]).expect(0).json();
    assert_eq!((&limits["identifier"], &limits["tokens"]), (&json!("bob"), &json!(9)));
    let log = shell.run(&["events", "--log"]).expect(0).stdout;
    assert!(log.lines().count() >= 5, "{log}");
    shell.run(&["events", "--log", "--key", "key_1"]).expect(2);
}

#[tokio::test]
async fn who_follows_sees_each_event_once_as_it_comes() {
    let server = keyrack().await;
    let key = decide(&server).await;
    let mut following = Command::new(program_under_test())
        .args(["events", "--follow", "--output", "json"])
        .env("KEYRACK_URL", server.base())
        .env("KEYRACK_DATA_DIR", server.data_dir())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let (sender, lines) = std::sync::mpsc::channel();
    let output = following.stdout.take().expect("its output");
    std::thread::spawn(move || {
        BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    let next = || lines.recv_timeout(std::time::Duration::from_secs(30)).expect("an event");
    let mut seen: Vec<String> = (0..3).map(|_| next()).collect();
    for _ in 0..2 {
        server.call("keys.verifyKey", json!({"key": key})).await.expect(200);
        seen.push(next());
    }
    following.kill().expect("it runs");
    following.wait().expect("it ends");
    seen.extend(lines.iter());
    let mut unique = seen.clone();
    unique.sort();
    unique.dedup();
    assert_eq!((seen.len(), unique.len()), (5, 5), "{seen:#?}");
}
