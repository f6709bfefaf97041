//! Guides: what they say to copy works as it is printed, and answers what is true.

use std::process::Command;

use keyrack_test_harness::{Client, ROOT_KEY, Server, ended};
use serde_json::{Value, json};

use crate::fixture::{NewKey, WINDOW, new_api, new_key, now, verify};
use crate::{keyrack, program};

const ANALYTICS: &str = "/docs/guides/analytics-sql";

async fn page(server: &Server, path: &str) -> String {
    let answer = server.get(path).await.expect(200);
    assert!(answer.header("content-type").starts_with("text/html"), "{path}");
    answer.text
}

/// The blocks of code in this language, each with what leads to the heading above it.
fn blocks(page: &str, language: &str) -> Vec<(String, String)> {
    let begin = format!("<pre><code class=\"language-{language}\">");
    let mut blocks = Vec::new();
    for (at, _) in page.match_indices(&begin) {
        let (_, heading) = page[..at].rsplit_once(" id=\"").expect("a heading");
        let (text, _) = page[at + begin.len()..].split_once("</code></pre>").expect("its end");
        let text = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")]
            .into_iter()
            .fold(text.to_owned(), |text, (escape, letter)| text.replace(escape, letter));
        blocks.push((heading.split('"').next().expect("its end").to_owned(), text));
    }
    blocks
}

/// The keys of two customers, and one of nobody that is disabled.
struct Customers {
    acme: NewKey,
    globex: NewKey,
    nobody: NewKey,
}

/// Nine verifications of three keys, and five decisions on a limit.
async fn decide(server: &Server) -> Customers {
    // So that all of it happens in one hour.
    while now() % 3_600_000 > 3_600_000 - 30_000 {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    let api = new_api(server).await;
    let burst = json!([{"name": "burst", "limit": 3, "duration": WINDOW, "autoApply": true}]);
    let credits = json!({"remaining": 1000});
    let acme = json!({"externalId": "acme", "ratelimits": burst, "credits": credits});
    let acme = new_key(server, &api, acme).await;
    let globex = new_key(server, &api, json!({"externalId": "globex", "credits": credits})).await;
    let nobody = new_key(server, &api, json!({"enabled": false})).await;
    for _ in 0..5 {
        verify(server, &acme, json!({"credits": {"cost": 2}, "tags": ["path=/v1/chat"]})).await;
    }
    for _ in 0..2 {
        verify(server, &globex, json!({"tags": ["path=/v1/images", "plan=pro"]})).await;
    }
    verify(server, &globex, json!({"permissions": "docs.read"})).await;
    verify(server, &nobody, json!({})).await;
    for identifier in ["ann", "ann", "ann", "ann", "bob"] {
        let body = json!({"namespace": "mail", "identifier": identifier, "limit": 2, "duration": WINDOW});
        server.call("ratelimit.limit", body).await.expect(200);
    }
    Customers { acme, globex, nobody }
}

async fn asked(client: &Client, query: &str) -> Vec<Value> {
    let is_of_limits = query.contains("analytics.getRatelimits");
    let operation = if is_of_limits { "analytics.getRatelimits" } else { "analytics.getVerifications" };
    let answer = client.call(operation, json!({"query": query})).await;
    assert_eq!(answer.status, 200, "{query}\n{}", answer.text);
    answer.data().as_array().expect("rows").clone()
}

/// The same question as it will be asked after so long a time.
fn later(query: &str, time: &str) -> String {
    assert!(query.contains("today()"), "{query}");
    query.replace("today()", &format!("(today() + INTERVAL {time})"))
}

#[track_caller]
fn assert_rows(about: &str, rows: &[Value], expected: Value) {
    let expected = expected.as_array().expect("rows").clone();
    let alike =
        rows.len() == expected.len() && rows.iter().zip(&expected).all(|(row, other)| is_alike(row, other));
    assert!(alike, "{about}:\n{rows:#?}\ninstead of\n{expected:#?}");
}

/// Whether two values are equal, numbers as numbers.
fn is_alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let is_there =
                |(name, value): (&String, &Value)| other.get(name).is_some_and(|other| is_alike(value, other));
            one.len() == other.len() && one.iter().all(is_there)
        }
        (one, other) => one == other || (one.is_number() && one.as_f64() == other.as_f64()),
    }
}

/// What the queries about usage answer, and as of when where that is not now.
fn usage(customers: &Customers, month: &Value, day: &Value) -> Vec<(&'static str, &'static str, Value)> {
    let Customers { acme, globex, nobody } = customers;
    let customer = |name: &str, verifications: u32, valid: u32| json!({"customer": name, "verifications": verifications, "valid": valid});
    let months = |name: &str, last: i32, this: i32| json!({"customer": name, "last_month": last, "this_month": this, "change": this - last});
    let key = |key: &NewKey, verifications: u32| json!({"key_id": key.id, "last_day": day, "verifications": verifications});
    let share = |key: &NewKey, verifications: u32, percent: f64| json!({"key_id": key.id, "verifications": verifications, "refused_percent": percent});
    let mut keys = [key(acme, 5), key(globex, 3), key(nobody, 1)];
    keys.sort_by_key(|key| key["key_id"].as_str().map(str::to_owned));
    let bill = |name: &str, credits: u32, amount: f64| json!({"month": month, "customer": name, "credits": credits, "amount": amount});
    vec![
        ("usage-per-customer-last-month", "", json!([])),
        (
            "usage-per-customer-last-month",
            "1 MONTH",
            json!([customer("acme", 5, 3), customer("globex", 3, 2), customer("", 1, 0)]),
        ),
        (
            "the-five-most-used-keys-of-the-last-week-with-their-error-rates",
            "",
            json!([share(acme, 5, 40.0), share(globex, 3, 33.3), share(nobody, 1, 100.0)]),
        ),
        ("keys-that-nobody-used-for-90-days", "", json!([])),
        ("keys-that-nobody-used-for-90-days", "91 DAY", json!(keys)),
        (
            "a-bill-spent-credits-per-customer-and-month",
            "",
            json!([bill("acme", 6, 0.12), bill("globex", 2, 0.04)]),
        ),
        (
            "this-month-beside-the-last-one",
            "",
            json!([months("acme", 0, 5), months("globex", 0, 3), months("", 0, 1)]),
        ),
        (
            "this-month-beside-the-last-one",
            "1 MONTH",
            json!([months("", 1, 0), months("globex", 3, 0), months("acme", 5, 0)]),
        ),
    ]
}

/// What the queries about refusals and charts answer.
fn refusals(customers: &Customers) -> Vec<(&'static str, &'static str, Value)> {
    let Customers { acme, globex, nobody } = customers;
    let refused = |name: &str, key: &NewKey, outcome: &str, by: &[&str], times: u32| json!({"customer": name, "key_id": key.id, "outcome": outcome, "refused_by": by, "times": times});
    let mut once = [
        refused("globex", globex, "INSUFFICIENT_PERMISSIONS", &["docs.read"], 1),
        refused("", nobody, "DISABLED", &[], 1),
    ];
    once.sort_by_key(|row| row["key_id"].as_str().map(str::to_owned));
    let [first, second] = once;
    let tag = |tag: &str, verifications: u32| json!({"tag": tag, "verifications": verifications});
    let burst = json!({"limit_name": "burst", "refused": 2, "keys": 1, "customers": 1});
    let mail = json!({
        "namespace": "mail", "decisions": 5, "refused_percent": 40, "identifiers": 2, "refused_identifiers": 1,
    });
    vec![
        (
            "who-was-refused-today-and-why",
            "",
            json!([refused("acme", acme, "RATE_LIMITED", &["burst"], 2), first, second]),
        ),
        ("is-the-limit-of-keys-too-low", "", json!([burst])),
        ("is-the-limit-of-a-namespace-too-low", "", json!([mail])),
        (
            "verifications-by-tag",
            "",
            json!([tag("path=/v1/chat", 5), tag("path=/v1/images", 2), tag("plan=pro", 2)]),
        ),
    ]
}

/// What those answer that say more than can be written down before.
fn assert_told(about: &str, rows: &[Value], customers: &Customers, hour: &Value, latencies: &[f64]) {
    match about {
        "a-chart-by-hour-without-gaps" => {
            assert_eq!(rows.len(), 24, "{rows:?}");
            let (last, before) = rows.split_last().expect("rows");
            assert_eq!(last, &json!({"hour": hour, "verifications": 9, "refused": 4}));
            let is_empty = |row: &Value| row["verifications"] == 0 && row["refused"] == 0;
            assert!(before.iter().all(is_empty) && rows.is_sorted_by_key(|row| row["hour"].as_str()), "{rows:?}");
        }
        "latency-by-day" => {
            let number = |name: &str| rows[0][name].as_f64().expect("a number");
            let mut sorted = latencies.to_vec();
            sorted.sort_by(f64::total_cmp);
            let mean = sorted.iter().sum::<f64>() / 9.0;
            assert_eq!((rows.len(), sorted.len()), (1, 9), "{rows:?}");
            assert!((number("average_ms") - mean).abs() < 0.001, "{rows:?} {mean}");
            let p99 = number("p99_ms");
            assert!((sorted[7] - 0.001..=sorted[8] + 0.001).contains(&p99), "{p99} {sorted:?}");
        }
        "the-last-verifications-of-one-customer" => {
            assert_eq!(rows.len(), 5, "{rows:?}");
            let time = |row: &Value| row["decided_at"].as_str().expect("a time").to_owned();
            assert!(rows.is_sorted_by(|later, earlier| time(later) >= time(earlier)), "{rows:?}");
            let is_right =
                |row: &Value| row["key_id"] == json!(customers.acme.id) && row["tags"] == json!(["path=/v1/chat"]);
            assert!(rows.iter().all(is_right), "{rows:?}");
            assert_eq!(rows.iter().filter(|row| row["outcome"] == "VALID").count(), 3, "{rows:?}");
        }
        "check-it" => {
            assert_eq!(rows[0]["verifications"], 9, "{rows:?}");
            assert!((now() - 60_000..=now()).contains(&rows[0]["newest"].as_i64().expect("ms")), "{rows:?}");
        }
        "what-can-go-wrong" => {
            assert_eq!((rows.len(), &rows[0]["verifications"]), (1, &json!(9)), "{rows:?}");
            assert!(rows[0]["meaningless"].as_i64().is_some_and(|rows| (1..9).contains(&rows)), "{rows:?}");
        }
        other => panic!("what does the query of {other} answer? say it in {}", file!()),
    }
}

#[tokio::test]
async fn every_query_of_the_guide_answers_what_is_true() {
    let server = keyrack().await;
    let customers = decide(&server).await;
    let times = "SELECT today() AS day, toStartOfMonth(today()) AS month, toStartOfHour(now()) AS hour \
                 FROM key_verifications_v1 LIMIT 1";
    let times = asked(&server, times).await.remove(0);
    let latencies = asked(&server, "SELECT latency FROM key_verifications_v1").await;
    let latencies: Vec<f64> = latencies.iter().filter_map(|row| row["latency"].as_f64()).collect();
    let mut expected = usage(&customers, &times["month"], &times["day"]);
    expected.extend(refusals(&customers));
    let queries = blocks(&page(&server, ANALYTICS).await, "sql");
    assert!(queries.len() >= 12, "{queries:?}");
    for (about, query) in &queries {
        let known: Vec<_> = expected.iter().filter(|(known, _, _)| known == about).collect();
        for (about, after, rows) in &known {
            let query = if after.is_empty() { query.clone() } else { later(query, after) };
            assert_rows(about, &asked(&server, &query).await, rows.clone());
        }
        if known.is_empty() {
            assert_told(about, &asked(&server, query).await, &customers, &times["hour"], &latencies);
        }
    }
    for (known, _, _) in &expected {
        assert!(queries.iter().any(|(about, _)| about == known), "the guide has no query about {known} any more");
    }
    // As the guide says: one more is there at once.
    verify(&server, &customers.globex, json!({})).await;
    let check = queries.iter().find(|(about, _)| about == "check-it").expect("a query");
    assert_eq!(asked(&server, &check.1).await[0]["verifications"], 10);
}

#[tokio::test]
async fn every_command_of_the_guide_runs_as_it_is_printed() {
    let server = keyrack().await;
    decide(&server).await;
    let commands = blocks(&page(&server, ANALYTICS).await, "sh");
    assert_eq!(commands.len(), 1);
    let mut command = Command::new("sh");
    command.args(["-c", &commands[0].1]).env("ROOT_KEY", ROOT_KEY).env("no_proxy", "*");
    let output = ended(&mut command);
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let row = |outcome: &str, total: u32| json!({"outcome": outcome, "total": total});
    let outcomes =
        [row("DISABLED", 1), row("INSUFFICIENT_PERMISSIONS", 1), row("RATE_LIMITED", 2), row("VALID", 5)];
    assert_eq!(answer["data"], json!(outcomes), "{answer}");
}

#[tokio::test]
async fn a_guide_looks_like_this() {
    let server = program().env("KEYRACK_PUBLIC_URL", "https://keys.example.com").start().await;
    let text = page(&server, ANALYTICS).await;
    for foreign in ["<script", "src=", "href=\"http", "{{"] {
        assert!(!text.contains(foreign), "{foreign}");
    }
    let (_, main) = text.split_once("<main>").expect("the page itself");
    insta::assert_snapshot!(main.split_once("</main>").expect("its end").0);
}

#[tokio::test]
async fn guides_are_found_and_led_to() {
    let server = keyrack().await;
    let link = "docs/guides/analytics-sql\"";
    for path in [
        "/docs",
        "/docs/operations/analytics.getVerifications",
        "/docs/operations/analytics.getRatelimits",
        "/docs/errors/user/bad_request/invalid_analytics_function",
        "/docs/errors/user/too_many_requests/query_quota_exceeded",
    ] {
        assert!(page(&server, path).await.contains(link), "{path}");
    }
    for (query, part) in [
        ("SQL columns of verifications", "tables-and-columns"),
        ("p99 latency by day", "latency-by-day"),
        ("spent credits bill month", "a-bill-spent-credits-per-customer-and-month"),
    ] {
        let found = server.call("docs.search", json!({"query": query})).await.expect(200);
        let pages = found.data()["pages"].as_array().expect("pages");
        let guides: Vec<&Value> = pages
            .iter()
            .filter(|page| page["path"].as_str().is_some_and(|path| path.starts_with(ANALYTICS)))
            .collect();
        assert_eq!(guides.len(), 1, "{query}: {pages:#?}");
        assert_eq!(guides[0]["path"], format!("{ANALYTICS}#{part}"), "{query}");
        let text = page(&server, &format!("{ANALYTICS}#{part}")).await;
        assert!(text.contains(&format!("id=\"{part}\"")), "{part}");
    }
    server.get("/docs/guides/none").await.expect_error(404, "unkey/application/route_not_found");
}
