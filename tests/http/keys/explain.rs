//! `keys.explainKey`: what a verification would come to, and that nothing comes of asking.

use keyrack_test_harness::{Answer, Client, Database, ROOT_KEY, Server};
use serde_json::{Value, json};

use crate::fixture::{
    NewKey, WINDOW, limited_client, merged, new_api, new_identity, new_key, new_workspace, now, read_key,
    update_key, verify, verify_answer, workspace_id,
};
use crate::keyrack;

async fn explain_answer(client: &Client, body: Value) -> Answer {
    client.call("keys.explainKey", body).await
}

async fn explain(client: &Client, body: Value) -> Value {
    explain_answer(client, body).await.expect(200).data().clone()
}

/// The check of this name, which there is once.
fn check<'a>(explained: &'a Value, name: &str) -> &'a Value {
    let checks = explained["checks"].as_array().expect("checks");
    let mut found = checks.iter().filter(|check| check["check"] == name);
    let check = found.next().unwrap_or_else(|| panic!("no {name}: {explained}"));
    assert_eq!(found.next(), None, "{explained}");
    check
}

fn text<'a>(check: &'a Value, member: &str) -> &'a str {
    check[member].as_str().unwrap_or_else(|| panic!("no {member}: {check}"))
}

/// The names of checks with their results.
fn results(explained: &Value) -> Vec<(&str, &str)> {
    let checks = explained["checks"].as_array().expect("checks");
    checks.iter().map(|check| (text(check, "check"), text(check, "result"))).collect()
}

#[tokio::test]
async fn every_check_is_made_in_the_order_in_which_they_decide() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let limits = json!([{"name": "requests", "limit": 3, "duration": 60_000, "autoApply": true}]);
    let members =
        json!({"credits": {"remaining": 5}, "ratelimits": limits, "permissions": ["a"], "expires": now() - 1});
    let key = new_key(&server, &api, members).await;
    update_key(&server, &key, json!({"enabled": false})).await;
    let asked = json!({"keyId": key.id, "permissions": "a AND (b OR c)", "credits": {"cost": 6}});
    let explained = explain(&server, asked).await;
    let due = [
        ("existence", "passed"),
        ("keyspace", "notAsked"),
        ("rootKey", "notAsked"),
        ("enabled", "refused"),
        ("expiry", "refused"),
        ("address", "passed"),
        ("permissions", "refused"),
        ("ratelimit", "passed"),
        ("credits", "refused"),
    ];
    assert_eq!(results(&explained), due);
    assert_eq!(
        (&explained["verdict"], &explained["keyId"], &explained["apiId"]),
        (&json!("DISABLED"), &json!(key.id), &json!(api))
    );
    for (name, operation) in [
        ("enabled", "`keys.updateKey`"),
        ("expiry", "`keys.updateKey`"),
        ("permissions", "`keys.addPermissions`"),
        ("credits", "`keys.updateCredits`"),
    ] {
        assert!(text(check(&explained, name), "fix").contains(operation), "{explained}");
    }
    let lacking = text(check(&explained, "permissions"), "detail");
    assert!(lacking.contains("`b`, `c`") && !lacking.contains("`a`"), "{lacking}");
    assert!(text(check(&explained, "credits"), "detail").contains("5 credits are left, and this use costs 6"));
    assert_eq!(explained["credits"], json!({"remaining": 5, "cost": 6}));
}

#[tokio::test]
async fn a_limit_says_until_when_it_refuses_and_a_hidden_one_that_it_is_hidden() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let limit =
        |name: &str, limit: i64| json!({"name": name, "limit": limit, "duration": WINDOW, "autoApply": true});
    new_identity(&server, "ann", json!({"ratelimits": [limit("requests", 100), limit("shared", 9)]})).await;
    let members = json!({"externalId": "ann", "ratelimits": [limit("requests", 3)]});
    let key = new_key(&server, &api, members).await;
    for _ in 0..3 {
        assert_eq!(verify(&server, &key, json!({})).await["code"], "VALID");
    }
    let explained = explain(&server, json!({"keyId": key.id})).await;
    assert_eq!(explained["verdict"], "RATE_LIMITED");
    let limits = explained["limits"].as_array().expect("limits");
    let shown = |limit: &Value| {
        (limit["name"].clone(), limit["owner"].clone(), limit["hidden"].clone(), limit["used"].clone())
    };
    let due = [
        (json!("requests"), json!("key"), json!(false), json!(3)),
        (json!("requests"), json!("identity"), json!(true), json!(0)),
        (json!("shared"), json!("identity"), json!(false), json!(3)),
    ];
    assert_eq!(limits.iter().map(shown).collect::<Vec<_>>(), due);
    assert_eq!((&limits[0]["remaining"], &limits[2]["remaining"]), (&json!(0), &json!(6)));
    let checks = explained["checks"].as_array().expect("checks").iter();
    let checks: Vec<&Value> = checks.filter(|check| check["check"] == "ratelimit").collect();
    assert_eq!(checks.len(), 2, "the hidden one is not checked");
    assert_eq!((&checks[0]["name"], &checks[0]["result"]), (&json!("requests"), &json!("refused")));
    // All of it fades within the window after this one.
    let until = checks[0]["until"].as_i64().expect("a time");
    let reset = limits[0]["reset"].as_i64().expect("a time");
    assert!(until > reset && until <= reset + i64::try_from(WINDOW).expect("fits"), "{until} {reset}");
    assert!(text(checks[0], "detail").contains("3 per 30 days"), "{}", checks[0]);
    let asked = json!({"keyId": key.id, "ratelimits": [{"name": "shared", "cost": 10}]});
    let beyond = explain(&server, asked).await;
    let shared = beyond["checks"].as_array().expect("checks").iter().find(|check| check["name"] == "shared");
    let shared = shared.expect("a check");
    assert_eq!((&shared["result"], shared.get("until")), (&json!("refused"), None));
    assert!(text(shared, "fix").contains("`identities.updateIdentity`"), "{shared}");
}

#[tokio::test]
async fn a_balance_says_when_it_is_refilled() {
    let server = keyrack().await;
    let refill = json!({"remaining": 2, "refill": {"interval": "daily", "amount": 50}});
    let key = new_key(&server, &new_api(&server).await, json!({"credits": refill})).await;
    let explained = explain(&server, json!({"keyId": key.id, "credits": {"cost": 3}})).await;
    let next = &explained["credits"]["nextRefill"];
    let tomorrow = (now() / 86_400_000 + 1) * 86_400_000;
    assert_eq!(next, &json!({"time": tomorrow, "amount": 50}));
    let credits = check(&explained, "credits");
    assert_eq!((&credits["result"], &credits["until"]), (&json!("refused"), &json!(tomorrow)));
    let more = explain(&server, json!({"keyId": key.id, "credits": {"cost": 51}})).await;
    assert_eq!(check(&more, "credits").get("until"), None, "no refill is enough for that");
}

#[tokio::test]
async fn nothing_comes_of_asking() {
    let server = crate::program().on_engine().await.start().await;
    let api = new_api(&server).await;
    let limits = json!([{"name": "requests", "limit": 3, "duration": WINDOW, "autoApply": true}]);
    let key = new_key(&server, &api, json!({"credits": {"remaining": 5}, "ratelimits": limits})).await;
    verify(&server, &key, json!({})).await;
    let mut database = Database::of(&server).await;
    let recorded = async || {
        let listed = server.call("analytics.listVerifications", json!({})).await.expect(200);
        listed.data().as_array().expect("a list").len()
    };
    let (events, stored, before) = (recorded().await, database.dump().await, read_key(&server, &key).await);
    for asked in [json!({"keyId": key.id}), json!({"key": key.key}), json!({"key": format!(" {}", key.key)})] {
        for _ in 0..5 {
            let explained = explain(&server, merged(asked.clone(), json!({"credits": {"cost": 2}}))).await;
            assert_eq!(explained["limits"][0]["used"], 1);
            assert_eq!(explained["credits"]["remaining"], 4);
        }
    }
    assert_eq!(recorded().await, events, "an event was recorded");
    assert_eq!(database.dump().await, stored, "something was stored");
    assert_eq!(read_key(&server, &key).await, before);
    let after = verify(&server, &key, json!({})).await;
    assert_eq!((&after["credits"], &after["ratelimits"][0]["remaining"]), (&json!(3), &json!(1)));
}

#[tokio::test]
async fn a_key_that_was_never_used_is_not_used_by_asking() {
    let mut server = keyrack().await;
    let key = new_key(&server, &new_api(&server).await, json!({})).await;
    explain(&server, json!({"key": key.key})).await;
    explain(&server, json!({"keyId": key.id})).await;
    // A stop writes when keys were last used.
    server.signal("TERM");
    assert!(server.wait_for_exit(std::time::Duration::from_secs(10)).await.success());
    let server = server.program().start().await;
    assert_eq!(read_key(&server, &key).await.get("lastUsedAt"), None);
}

#[tokio::test]
async fn a_text_that_is_nearly_a_key_says_what_is_wrong_with_it() {
    let server = keyrack().await;
    let key = new_key(&server, &new_api(&server).await, json!({"credits": {"remaining": 0}})).await;
    for (sent, fault) in [
        (format!("{} ", key.key), "white space"),
        (format!("\n{}", key.key), "white space"),
        (format!("\"{}\"", key.key), "quotes"),
        (format!("Bearer {}", key.key), "Bearer"),
        (format!("bearer '{}'\n", key.key), "Bearer"),
    ] {
        let explained = explain(&server, json!({"key": sent})).await;
        assert_eq!(
            (&explained["verdict"], &explained["keyId"]),
            (&json!("NOT_FOUND"), &json!(key.id)),
            "{sent:?}"
        );
        assert_eq!(verify_answer(&server, &sent, json!({})).await.expect(200).data()["code"], "NOT_FOUND");
        let existence = check(&explained, "existence");
        assert!(
            text(existence, "detail").contains(fault) && text(existence, "fix").contains(fault),
            "{existence}"
        );
        assert_eq!(check(&explained, "credits")["result"], "refused", "what would refuse next is seen too");
        assert!(!explained.to_string().contains(&key.key), "the key is shown");
    }
    let unknown = explain(&server, json!({"key": "sk_never_issued"})).await;
    assert_eq!((&unknown["verdict"], unknown.get("keyId")), (&json!("NOT_FOUND"), None));
    assert_eq!(results(&unknown), [("existence", "refused")]);
    assert!(text(check(&unknown, "existence"), "fix").contains("`keys.listKeys`"), "{unknown}");
}

#[tokio::test]
async fn a_deleted_key_says_when_and_a_root_key_that_it_is_one() {
    let server = keyrack().await;
    let (api, doomed) = (new_api(&server).await, new_api(&server).await);
    let (key, orphan) = (new_key(&server, &api, json!({})).await, new_key(&server, &doomed, json!({})).await);
    server.call("keys.deleteKey", json!({"keyId": key.id})).await.expect(200);
    server.call("apis.deleteApi", json!({"apiId": doomed})).await.expect(200);
    for (gone, of, operation) in [(&key, &api, "`keys.createKey`"), (&orphan, &doomed, "`apis.createApi`")] {
        for asked in
            [json!({"keyId": gone.id}), json!({"key": gone.key}), json!({"key": format!(" {}", gone.key)})]
        {
            let explained = explain(&server, asked).await;
            assert_eq!((&explained["verdict"], &explained["keyId"]), (&json!("NOT_FOUND"), &json!(gone.id)));
            assert_eq!(explained["apiId"], json!(of));
            let existence = check(&explained, "existence");
            assert!(text(existence, "detail").contains("was deleted at 2"), "{existence}");
            assert!(text(existence, "fix").contains(operation), "{existence}");
        }
    }
    let explained = explain(&server, json!({"key": ROOT_KEY})).await;
    let existence = check(&explained, "existence");
    assert_eq!((&explained["verdict"], explained.get("keyId")), (&json!("NOT_FOUND"), None));
    assert!(text(existence, "detail").contains("root key of this workspace"), "{existence}");
    assert!(text(existence, "fix").contains("`rootKeys.rerollKey`"), "{existence}");
    assert!(!explained.to_string().contains(ROOT_KEY));
}

#[tokio::test]
async fn who_may_not_read_a_key_is_refused_by_its_id_and_told_nothing_by_its_text() {
    let server = keyrack().await;
    let (api, other) = (new_api(&server).await, new_api(&server).await);
    let (key, gone) = (new_key(&server, &api, json!({})).await, new_key(&server, &api, json!({})).await);
    server.call("keys.deleteKey", json!({"keyId": gone.id})).await.expect(200);
    let narrow = limited_client(&server, &[&format!("api.{other}.read_key")]).await;
    let unknown = explain(&narrow, json!({"key": "sk_never_issued"})).await;
    for hidden in [&key, &gone] {
        explain_answer(&narrow, json!({"keyId": hidden.id})).await.expect(403);
        for sent in [hidden.key.clone(), format!(" {}", hidden.key)] {
            assert_eq!(explain(&narrow, json!({"key": sent})).await, unknown);
        }
    }
    let (_, foreign) = new_workspace(&server, "foreign").await;
    let unknown = explain(&foreign, json!({"key": "sk_never_issued"})).await;
    for hidden in [key.key.as_str(), &gone.key, ROOT_KEY] {
        assert_eq!(explain(&foreign, json!({"key": hidden})).await, unknown);
    }
    for hidden in [&key, &gone] {
        explain_answer(&foreign, json!({"keyId": hidden.id})).await.expect_error(404, "unkey/data/key_not_found");
    }
    let nobody = limited_client(&server, &["api.*.verify_key"]).await;
    explain_answer(&nobody, json!({"key": key.key})).await.expect(403);
}

#[tokio::test]
async fn the_root_key_of_a_gateway_is_asked_about_too() {
    let server = keyrack().await;
    let (api, other) = (new_api(&server).await, new_api(&server).await);
    let key = new_key(&server, &api, json!({})).await;
    let made = async |permissions: &[&str]| {
        let made = server.call("rootKeys.createKey", json!({"permissions": permissions})).await.expect(200);
        NewKey { id: made.text_of("keyId"), key: made.text_of("key") }
    };
    let (right, wrong) =
        (made(&[&format!("api.{api}.verify_key")]).await, made(&[&format!("api.{other}.verify_key")]).await);
    for (gateway, result, verdict) in [(&right, "passed", "VALID"), (&wrong, "refused", "NOT_FOUND")] {
        let explained = explain(&server, json!({"keyId": key.id, "as": gateway.id})).await;
        assert_eq!(
            (&check(&explained, "rootKey")["result"], &explained["verdict"]),
            (&json!(result), &json!(verdict))
        );
        let verified = verify(&server.with_key(&gateway.key), &key, json!({})).await;
        assert_eq!(verified["code"], verdict);
    }
    let refused = explain(&server, json!({"keyId": key.id, "as": wrong.id})).await;
    let refused = check(&refused, "rootKey");
    assert!(text(refused, "detail").contains(&format!("api.{api}.verify_key")), "{refused}");
    assert!(text(refused, "fix").contains("`rootKeys.updateKey`"), "{refused}");
    server.call("rootKeys.updateKey", json!({"keyId": wrong.id, "enabled": false})).await.expect(200);
    let answer = explain_answer(&server, json!({"keyId": key.id, "as": wrong.id})).await;
    let answer = answer.expect(412);
    assert!(answer.detail().contains("is disabled"), "{}", answer.detail());
    explain_answer(&server, json!({"keyId": key.id, "as": "key_unknown"})).await.expect(404);
    let workspace = workspace_id(&server).await;
    let blind = limited_client(&server, &["api.*.read_key"]).await;
    explain_answer(&blind, json!({"keyId": key.id, "as": right.id})).await.expect(403);
    let seeing =
        limited_client(&server, &["api.*.read_key", &format!("unkey:v1:{workspace}:rootKeys/{}#read", right.id)])
            .await;
    explain_answer(&seeing, json!({"keyId": key.id, "as": right.id})).await.expect(200);
}

#[tokio::test]
async fn key_spaces_and_addresses_are_those_of_the_request() {
    let server = keyrack().await;
    let api = new_api(&server).await;
    let key = new_key(&server, &api, json!({})).await;
    let space = verify(&server, &key, json!({})).await["keyspaceId"].clone();
    let in_it = explain(&server, json!({"keyId": key.id, "keyspaces": [space, "ks_other"]})).await;
    assert_eq!((&check(&in_it, "keyspace")["result"], &in_it["verdict"]), (&json!("passed"), &json!("VALID")));
    let outside = explain(&server, json!({"keyId": key.id, "keyspaces": ["ks_other"]})).await;
    assert_eq!(
        (&check(&outside, "keyspace")["result"], &outside["verdict"]),
        (&json!("refused"), &json!("NOT_FOUND"))
    );
    let restrict = json!({"apiId": api, "ipWhitelist": ["203.0.113.0/24"]});
    server.call("apis.updateApi", restrict).await.expect(200);
    for (address, result, verdict) in [
        (None, "notAsked", "VALID"),
        (Some("203.0.113.9"), "passed", "VALID"),
        (Some("2001:db8::1"), "refused", "FORBIDDEN"),
    ] {
        let explained = explain(
            &server,
            merged(
                json!({"keyId": key.id}),
                match address {
                    Some(address) => json!({"address": address}),
                    None => json!({}),
                },
            ),
        )
        .await;
        assert_eq!(
            (&check(&explained, "address")["result"], &explained["verdict"]),
            (&json!(result), &json!(verdict))
        );
    }
    let refused = explain(&server, json!({"keyId": key.id, "address": "198.51.100.1"})).await;
    assert!(text(check(&refused, "address"), "fix").contains("`apis.updateApi`"), "{refused}");
    assert!(!refused.to_string().contains("203.0.113"), "who reads keys need not read the settings of their API");
}

#[tokio::test]
async fn a_request_that_makes_no_sense_is_refused_as_a_verification_is() {
    let server = keyrack().await;
    let key = new_key(&server, &new_api(&server).await, json!({})).await;
    for (members, status) in [
        (json!({"permissions": "a AND"}), 400),
        (json!({"address": "localhost"}), 400),
        (json!({"ratelimits": [{"name": "nope"}]}), 412),
    ] {
        explain_answer(&server, merged(json!({"keyId": key.id}), members)).await.expect(status);
    }
    let none = explain_answer(&server, json!({})).await.expect(400);
    assert!(none.detail().contains("`keyId` and `key`"), "{}", none.detail());
    explain_answer(&server, json!({"keyId": key.id, "key": key.key})).await.expect(400);
    let no_id = explain_answer(&server, json!({"keyId": "sk_live_Ab3d"})).await.expect(404);
    assert!(no_id.detail().contains("`keys.whoami`"), "{}", no_id.detail());
    update_key(&server, &key, json!({"enabled": false})).await;
    let explained = explain(&server, json!({"keyId": key.id, "ratelimits": [{"name": "nope"}]})).await;
    assert_eq!(explained["verdict"], "DISABLED", "as a verification never comes to the limit");
}

/// Numbers that are random enough and the same every time.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }

    fn one_of(&mut self, values: &[Value]) -> Value {
        let at = usize::try_from(self.below(values.len() as u64)).expect("fits");
        values[at].clone()
    }
}

/// A key with anything that can decide about it, used a little.
async fn random_key(server: &Server, random: &mut Random, apis: &[String]) -> NewKey {
    let api = &apis[usize::try_from(random.below(apis.len() as u64)).expect("fits")];
    let limit = |name: &str, limit: u64, auto: bool| json!({"name": name, "limit": limit, "duration": WINDOW, "autoApply": auto});
    let mut limits = vec![];
    if random.below(3) > 0 {
        limits.push(limit("requests", 1 + random.below(4), random.below(3) > 0));
    }
    let members = json!({
        "enabled": random.below(8) > 0,
        "permissions": random.one_of(&[json!([]), json!(["a"]), json!(["a", "b"])]),
        "ratelimits": limits,
    });
    let mut members = merged(members, random.one_of(&[json!({}), json!({"externalId": "ann"})]));
    members = merged(
        members,
        random.one_of(&[
            json!({}),
            json!({}),
            json!({"credits": {"remaining": 0}}),
            json!({"credits": {"remaining": 3}}),
            json!({"credits": {"remaining": 1, "refill": {"interval": "daily", "amount": 9}}}),
        ]),
    );
    let expiry = random.one_of(&[
        json!({}),
        json!({}),
        json!({}),
        json!({"expires": 1}),
        json!({"expires": now() + 900_000}),
    ]);
    let key = new_key(server, api, merged(members, expiry)).await;
    for _ in 0..random.below(4) {
        verify(server, &key, json!({})).await;
    }
    key
}

fn random_request(random: &mut Random) -> Value {
    let mut request = json!({});
    for alternatives in [
        [json!({}), json!({"permissions": "a"}), json!({"permissions": "a AND (b OR c)"})],
        [json!({}), json!({"credits": {"cost": 0}}), json!({"credits": {"cost": 2}})],
        [
            json!({}),
            json!({"ratelimits": [{"name": "requests", "cost": 2}]}),
            json!({"ratelimits": [{"name": "adhoc", "limit": 5, "duration": WINDOW, "cost": 6}, {"name": "shared"}]}),
        ],
    ] {
        request = merged(request, random.one_of(&alternatives));
    }
    request
}

#[tokio::test]
async fn a_verification_at_the_same_moment_says_what_was_explained() {
    let server = keyrack().await;
    let apis = [new_api(&server).await, new_api(&server).await, new_api(&server).await];
    for (api, allowed) in [(&apis[1], "127.0.0.1"), (&apis[2], "203.0.113.9")] {
        server.call("apis.updateApi", json!({"apiId": api, "ipWhitelist": [allowed]})).await.expect(200);
    }
    let shared = json!([{"name": "shared", "limit": 40, "duration": WINDOW, "autoApply": true},
        {"name": "requests", "limit": 1, "duration": WINDOW, "autoApply": true}]);
    new_identity(&server, "ann", json!({"ratelimits": shared})).await;
    let mut random = Random(0x6b65_7972_6163_6b00);
    let mut seen = std::collections::BTreeMap::new();
    for case in 0..150 {
        let key = random_key(&server, &mut random, &apis).await;
        let request = random_request(&mut random);
        let about = random.one_of(&[json!({"keyId": key.id}), json!({"key": key.key})]);
        let asked = merged(merged(about, request.clone()), json!({"address": "127.0.0.1"}));
        let explained = explain_answer(&server, asked.clone()).await;
        let verified = verify_answer(&server, &key.key, request).await;
        assert_eq!(explained.status, verified.status, "{case}: {asked}\n{}\n{}", explained.text, verified.text);
        if verified.status != 200 {
            assert_eq!(explained.code(), verified.code(), "{case}: {asked}");
            *seen.entry(verified.code()).or_insert(0) += 1;
            continue;
        }
        let code = verified.data()["code"].as_str().expect("a code").to_owned();
        assert_eq!(
            explained.data()["verdict"],
            code.as_str(),
            "{case}: {asked}\n{}\n{}",
            explained.text,
            verified.text
        );
        *seen.entry(code).or_insert(0) += 1;
    }
    for code in
        ["VALID", "FORBIDDEN", "INSUFFICIENT_PERMISSIONS", "USAGE_EXCEEDED", "RATE_LIMITED", "DISABLED", "EXPIRED"]
    {
        assert!(seen.contains_key(code), "no case came to {code}: {seen:?}");
    }
}
