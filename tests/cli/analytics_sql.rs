//! `keyrack analytics sql`: what people read, what scripts get, and what is told when there is nothing or something is wrong.

use keyrack_test_harness::Server;
use serde_json::{Value, json};

use crate::{Shell, keyrack, program, text};

const BY_TAG: &str =
    "SELECT arrayJoin(tags) AS tag, count() AS n FROM key_verifications_v1 GROUP BY tag ORDER BY n DESC";
/// A text that would clear a screen and turn a line around.
const HOSTILE: &str = "a\u{1b}[2J\u{202e}b";

/// Verifies a key once with each of these tags.
async fn verify(server: &Server, tags: &[&str]) {
    let api = server.call("apis.createApi", json!({"name": "payments"})).await.expect(200).text_of("apiId");
    let key = server.call("keys.createKey", json!({"apiId": api})).await.expect(200).text_of("key");
    for tag in tags {
        server.call("keys.verifyKey", json!({"key": key, "tags": [tag]})).await.expect(200);
    }
}

#[tokio::test]
async fn people_get_a_table_and_scripts_json_or_csv() {
    let server = keyrack().await;
    let quoted = "plain, \"quoted\"";
    verify(&server, &["=1+1", HOSTILE, quoted, "=1+1", HOSTILE, "=1+1"]).await;
    let shell = Shell::beside(&server);
    let table = shell.run(&["analytics", "sql", BY_TAG]).expect(0);
    let row = |tag: &str, n: &str| format!("{tag:<19}  {n}\n");
    let rows = [row("tag", "n"), row("=1+1", "3"), row("a\\u{1b}[2J\\u{202e}b", "2"), row(quoted, "1")];
    assert_eq!((table.stdout.as_str(), table.stderr.as_str()), (rows.concat().as_str(), ""));

    let expected = json!([{"tag": "=1+1", "n": 3}, {"tag": HOSTILE, "n": 2}, {"tag": quoted, "n": 1}]);
    let as_json = shell.run(&["analytics", "sql", BY_TAG, "--output", "json"]).expect(0);
    assert_eq!(as_json.json(), expected);
    assert!(as_json.stdout.contains("\n{\"tag\":\"=1+1\",\"n\":3},\n"), "{}", as_json.stdout);
    let by_environment = shell.clone().with("KEYRACK_OUTPUT", "json").run(&["analytics", "sql", BY_TAG]).expect(0);
    assert_eq!(by_environment.json(), expected);

    let csv = format!("tag,n\n'=1+1,3\n{HOSTILE},2\n\"plain, \"\"quoted\"\"\",1\n");
    assert_eq!(shell.run(&["analytics", "sql", "--csv", BY_TAG]).expect(0).stdout, csv);
    // A profile says what is wanted where no flag does.
    let by_flag = shell.clone().with("KEYRACK_OUTPUT", "json").run(&["analytics", "sql", "--csv", BY_TAG]);
    assert_eq!(by_flag.expect(0).stdout, csv);
    shell.run(&["analytics", "sql", "--csv", "--output", "json", BY_TAG]).expect(2);
}

#[tokio::test]
async fn a_statement_may_come_from_a_file_or_be_piped_in() {
    let server = keyrack().await;
    verify(&server, &["a"]).await;
    let shell = Shell::beside(&server);
    let asked = |argument: &str, stdin: &str| {
        shell.run_with_stdin(&["analytics", "sql", argument, "--csv"], stdin).expect(0).stdout
    };
    let statement = format!("-- how often each tag was there\n{BY_TAG}\n");
    assert_eq!(asked("-", &statement), "tag,n\na,1\n");
    let file = server.data_dir().join("tags.sql");
    std::fs::write(&file, &statement).expect("a file");
    assert_eq!(asked(&format!("@{}", file.display()), ""), "tag,n\na,1\n");
    let missing = shell.run(&["analytics", "sql", "@nowhere.sql"]).expect(2);
    assert!(missing.stderr.contains("nowhere.sql cannot be read"), "{missing:?}");
    let both = shell.run_with_stdin(&["analytics", "sql", "-", "--root-key-file", "-"], &statement).expect(2);
    assert!(both.stderr.contains("standard input cannot be both"), "{both:?}");
}

#[tokio::test]
async fn the_tables_that_a_statement_reads_say_what_it_is_about() {
    let server = keyrack().await;
    let limit = json!({"namespace": "mail", "identifier": "ann", "limit": 5, "duration": 2_592_000_000_u64});
    server.call("ratelimit.limit", limit).await.expect(200);
    let shell = Shell::beside(&server);
    let statement = "SELECT identifier, SUM(total) AS n FROM ratelimits_per_day_v1 GROUP BY identifier";
    for line in [&["analytics", "sql", statement][..], &["analytics", "sql", "--ratelimits", statement]] {
        assert_eq!(shell.run(line).expect(0).stdout, "identifier  n\nann         1\n");
    }
    let wrong = shell.run(&["analytics", "sql", "--ratelimits", BY_TAG]).expect(1);
    assert!(wrong.stderr.contains("key_verifications_v1"), "{wrong:?}");
}

#[tokio::test]
async fn without_rows_people_are_told_so_and_scripts_can_read_it() {
    let server = keyrack().await;
    let shell = Shell::beside(&server);
    let told = shell.run(&["analytics", "sql", BY_TAG]).expect(0);
    assert_eq!((told.stdout.as_str(), told.stderr.as_str()), ("", "no rows\n"));
    assert_eq!(shell.run(&["analytics", "sql", BY_TAG, "--output", "json"]).expect(0).stdout, "[]\n");
    assert_eq!(shell.run(&["analytics", "sql", BY_TAG, "--csv"]).expect(0).stdout, "tag,n\n");
}

#[tokio::test]
async fn what_is_wrong_is_told_with_its_place_and_a_fix_and_scripts_can_tell() {
    let server = keyrack().await;
    let shell = Shell::beside(&server);
    let wrong = shell.run(&["analytics", "sql", "SELECT nope\u{1b}[2J FROM key_verifications_v1"]).expect(1);
    assert!(!wrong.stderr.contains('\u{1b}'), "{wrong:?}");
    let wrong = shell.run(&["analytics", "sql", "SELECT nope FROM key_verifications_v1"]).expect(1);
    for part in ["error: Bad Request: ", "nope", "\n  body.query: ", "\n  fix: ", "\nrequest id: req_"] {
        assert!(wrong.stderr.contains(part), "no {part:?} in {wrong:#?}");
    }
    assert_eq!(wrong.stdout, "");
    shell.run(&["analytics", "sql"]).expect(2);
    shell.run(&["analytics"]).expect(2);
    let none = shell.data(&["root-keys", "create-key", "--permissions", "api.*.read_api"]);
    let refused = shell.clone().with("KEYRACK_ROOT_KEY", &text(&none, "key")).run(&["analytics", "sql", BY_TAG]);
    assert!(refused.expect(3).stderr.contains("read_analytics"));
    let without = program().env("KEYRACK_ANALYTICS_BYTES", "0").start().await;
    let refused = Shell::beside(&without).run(&["analytics", "sql", BY_TAG]).expect(1);
    assert!(refused.stderr.contains("KEYRACK_ANALYTICS_BYTES"), "{refused:?}");
}

/// Only a value of the type that the documentation names is a number in CSV.
#[tokio::test]
async fn values_of_every_type_are_shown() {
    let server = keyrack().await;
    verify(&server, &["a"]).await;
    let statement = "SELECT toDate('2026-03-01') AS day, -5 AS less, 0.5 AS half, \
                     avgIf(latency, outcome = 'NONE') AS no, ['=a', 'b'] AS list, max(outcome) = 'VALID' AS valid, \
                     18446744073709551615 AS most FROM key_verifications_v1";
    let shell = Shell::beside(&server);
    let rows: Value = shell.run(&["analytics", "sql", statement, "--output", "json"]).expect(0).json();
    let csv = shell.run(&["analytics", "sql", statement, "--csv"]).expect(0).stdout;
    let (header, line) = csv.split_once('\n').expect("two lines");
    assert_eq!(header, "day,less,half,no,list,valid,most");
    assert_eq!(
        (&rows[0]["less"], &rows[0]["no"], &rows[0]["list"]),
        (&json!(-5), &Value::Null, &json!(["=a", "b"]))
    );
    let valid = &rows[0]["valid"];
    let day = rows[0]["day"].as_str().expect("a day");
    assert_eq!(line, format!("{day},-5,0.5,,\"[\"\"=a\"\",\"\"b\"\"]\",{valid},18446744073709551615\n"));
}
