//! `keys.migrateKeys` and the first verification of imported keys.

use keyrack_test_harness::{ROOT_KEY, Server, ended, sha256_base64, sha256_hex};
use serde_json::{Value, json};

use crate::concurrency::{at_once, call};
use crate::fixture::{NewKey, limited_client, merged, new_api, new_key, read_key, verify, verify_answer};
use crate::keyrack;

const PREFIXED: &str = "github.com/seamapi/prefixed-api-key";

/// A migration made by the command line, over the database of the running server.
pub(crate) fn new_migration(server: &Server, algorithm: &str) -> String {
    created_migration(server, &["--algorithm", algorithm])
}

/// A migration of another workspace than the first.
pub(crate) fn new_migration_in(server: &Server, workspace: &str) -> String {
    created_migration(server, &["--algorithm", "sha256", "--workspace", workspace])
}

fn created_migration(server: &Server, flags: &[&str]) -> String {
    let line: Vec<&str> = ["migration", "create"].iter().chain(flags).copied().collect();
    let done = ended(&mut server.program().command(&line));
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("an id").trim().to_owned()
}

struct Import {
    server: Server,
    api: String,
    migration: String,
}

impl Import {
    async fn new(algorithm: &str) -> Self {
        let server = keyrack().await;
        let api = new_api(&server).await;
        let migration = new_migration(&server, algorithm);
        Self { server, api, migration }
    }

    fn body(&self, keys: Value) -> Value {
        json!({"migrationId": self.migration, "apiId": self.api, "keys": keys})
    }

    /// Imports keys that are all new, and returns their ids.
    async fn keys(&self, keys: Value) -> Vec<String> {
        let answer = self.server.call("keys.migrateKeys", self.body(keys)).await.expect(200);
        assert_eq!(answer.data()["failed"], json!([]));
        let migrated = answer.data()["migrated"].as_array().expect("a list");
        migrated.iter().map(|key| key["keyId"].as_str().expect("an id").to_owned()).collect()
    }

    /// Imports one key.
    async fn key(&self, text: &str, hash: String, members: Value) -> NewKey {
        let id = self.keys(json!([merged(json!({"hash": hash}), members)])).await.remove(0);
        NewKey { id, key: text.to_owned() }
    }

    /// The code with which a text verifies while it names the migration.
    async fn code(&self, text: &str) -> Value {
        let members = json!({"migrationId": self.migration});
        verify_answer(&self.server, text, members).await.expect(200).data()["code"].clone()
    }
}

#[tokio::test]
async fn keys_with_hashes_of_ours_verify_at_once_and_then_show_their_start() {
    let import = Import::new("sha256").await;
    let members = json!({
        "name": "Mobile", "externalId": "any text, ü", "meta": {"plan": "pro"}, "roles": ["brand new role"],
        "permissions": ["x.read"], "expires": 4_102_444_800_000_i64, "credits": {"remaining": 5},
        "ratelimits": [{"name": "calls", "limit": 5, "duration": 60_000, "autoApply": true}],
    });
    let text = "old_live_abcdefghijklmnop";
    let key = import.key(text, sha256_base64(text), members).await;
    let before = read_key(&import.server, &key).await;
    assert_eq!((&before["start"], before.get("updatedAt")), (&json!(""), None), "{before}");
    let data = verify(&import.server, &key, json!({"permissions": "x.read"})).await;
    assert_eq!((&data["code"], &data["credits"], &data["name"]), (&json!("VALID"), &json!(4), &json!("Mobile")));
    assert_eq!(data["identity"]["externalId"], "any text, ü");
    assert_eq!((&data["roles"], &data["keyId"]), (&json!(["brand new role"]), &json!(key.id)));
    let after = read_key(&import.server, &key).await;
    assert_eq!(after["start"], "old_live_abcd");
    assert_eq!(import.code(text).await, "VALID");
    assert_eq!(import.code("old_live_another").await, "NOT_FOUND");
}

#[tokio::test]
async fn a_prefixed_key_is_found_by_its_long_token_once_and_then_by_its_whole_text() {
    let import = Import::new(PREFIXED).await;
    let other = new_migration(&import.server, PREFIXED);
    let text = "my_co_short_longtoken";
    let key = import.key(text, sha256_hex("longtoken"), json!({"credits": {"remaining": 5}})).await;
    assert_eq!(verify(&import.server, &key, json!({})).await["code"], "NOT_FOUND");
    for migration in ["mig_unknown", &other] {
        let data = verify(&import.server, &key, json!({"migrationId": migration})).await;
        assert_eq!(data, json!({"valid": false, "code": "NOT_FOUND"}), "{migration}");
    }
    let answer = import.server.call("keys.whoami", json!({"key": text})).await;
    answer.expect_error(404, "unkey/data/key_not_found");
    let data = verify(&import.server, &key, json!({"migrationId": import.migration})).await;
    assert_eq!((&data["code"], &data["credits"], &data["keyId"]), (&json!("VALID"), &json!(4), &json!(key.id)));
    let stored = read_key(&import.server, &key).await;
    assert_eq!(stored["start"], "my_co_shor");
    assert!(stored["updatedAt"].is_i64(), "{stored}");
    assert_eq!(verify(&import.server, &key, json!({})).await["credits"], 3);
    assert_eq!(import.code(text).await, "VALID", "naming the migration further is harmless");
    assert_eq!(import.code("my_co_other_longtoken").await, "NOT_FOUND");
    import.server.call("keys.whoami", json!({"key": text})).await.expect(200);
}

#[tokio::test]
async fn a_long_token_alone_is_no_key() {
    let import = Import::new(PREFIXED).await;
    import.key("a_b_longtoken", sha256_hex("longtoken"), json!({})).await;
    let data = verify_answer(&import.server, "longtoken", json!({})).await.expect(200).data().clone();
    assert_eq!(data["code"], "NOT_FOUND", "the hash of the long token is the hash of no key");
    for text in ["longtoken", "a_longtoken"] {
        let answer = verify_answer(&import.server, text, json!({"migrationId": import.migration})).await;
        let answer = answer.expect_error(400, "unkey/application/invalid_input");
        assert_eq!(answer.locations(), ["body.key"]);
        assert!(!answer.text.contains("longtoken"), "{}", answer.text);
    }
    assert_eq!(import.code("a_b_longtoken").await, "VALID");
}

#[tokio::test]
async fn a_key_that_turns_out_unusable_is_settled_all_the_same() {
    let import = Import::new(PREFIXED).await;
    for (members, code) in [(json!({"enabled": false}), "DISABLED"), (json!({"expires": 1000}), "EXPIRED")] {
        let text = format!("acme_ab_{code}");
        let key = import.key(&text, sha256_hex(code), members).await;
        assert_eq!(import.code(&text).await, code);
        assert_eq!(verify(&import.server, &key, json!({})).await["code"], code);
    }
}

#[tokio::test]
async fn who_may_not_verify_a_key_does_not_settle_it() {
    let import = Import::new(PREFIXED).await;
    let key = import.key("acme_ab_longtoken", sha256_hex("longtoken"), json!({})).await;
    let stranger = limited_client(&import.server, &["api.*.read_key"]).await;
    let data = verify(&stranger, &key, json!({"migrationId": import.migration})).await;
    assert_eq!(data, json!({"valid": false, "code": "NOT_FOUND"}));
    assert_eq!(read_key(&import.server, &key).await["start"], "");
    assert_eq!(import.code("acme_ab_longtoken").await, "VALID");
}

#[tokio::test]
async fn hashes_that_some_key_has_are_left_out_and_named() {
    let import = Import::new("sha256").await;
    let live = new_key(&import.server, &import.api, json!({})).await;
    let deleted = new_key(&import.server, &import.api, json!({})).await;
    let purged = new_key(&import.server, &import.api, json!({})).await;
    for (key, permanent) in [(&deleted, false), (&purged, true)] {
        let body = json!({"keyId": key.id, "permanent": permanent});
        import.server.call("keys.deleteKey", body).await.expect(200);
    }
    let hashes = [&live.key, &deleted.key, ROOT_KEY, "fresh", "fresh", &purged.key].map(sha256_base64);
    let keys: Vec<Value> =
        hashes.iter().map(|hash| json!({"hash": hash, "externalId": format!("of {hash}")})).collect();
    let answer = import.server.call("keys.migrateKeys", import.body(json!(keys))).await.expect(200);
    let migrated: Vec<&Value> =
        answer.data()["migrated"].as_array().expect("a list").iter().map(|key| &key["hash"]).collect();
    assert_eq!(migrated, [&json!(hashes[3]), &json!(hashes[5])]);
    assert_eq!(answer.data()["failed"], json!([hashes[0], hashes[1], hashes[2], hashes[4]]));
    let reasons: Vec<(&Value, &Value)> = answer.data()["failures"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|failure| (&failure["index"], &failure["reason"]))
        .collect();
    let reasons_expected = [
        (0, format!("key {} has this hash already", live.id)),
        (1, format!("the deleted key {} had this hash, which stays taken", deleted.id)),
        (2, "another key has this hash already".to_owned()),
        (4, "the same hash stands at index 3 of this request".to_owned()),
    ];
    let expected = reasons_expected.map(|(index, reason)| (json!(index), json!(reason)));
    assert_eq!(reasons, expected.iter().map(|(index, reason)| (index, reason)).collect::<Vec<_>>());
    let overview = import.server.call("workspace.getOverview", json!({})).await.expect(200);
    assert_eq!(overview.data()["counts"]["identities"], 2, "none for what was left out");
    let again = import.server.call("keys.migrateKeys", import.body(json!(keys))).await.expect(200);
    assert_eq!(
        (&again.data()["migrated"], again.data()["failed"].as_array().map(Vec::len)),
        (&json!([]), Some(6))
    );
    assert_eq!(verify(&import.server, &purged, json!({})).await["code"], "VALID", "its hash was free again");
}

#[tokio::test]
async fn a_text_that_a_deleted_key_had_stays_refused() {
    let import = Import::new("sha256").await;
    let text = "acme_ab_longtoken";
    let first = import.key(text, sha256_base64(text), json!({})).await;
    let import = Import { migration: new_migration(&import.server, PREFIXED), ..import };
    assert_eq!(verify(&import.server, &first, json!({})).await["code"], "VALID");
    import.server.call("keys.deleteKey", json!({"keyId": first.id})).await.expect(200);
    import.key(text, sha256_hex("longtoken"), json!({})).await;
    assert_eq!(import.code(text).await, "NOT_FOUND");
    assert_eq!(import.code("acme_cd_longtoken").await, "VALID", "another text is not reserved");
}

#[tokio::test]
async fn a_hash_that_no_key_could_have_is_refused_with_its_place_and_an_example() {
    for (algorithm, good, example) in
        [("sha256", sha256_base64("a"), "ungWv48Bz+pB"), (PREFIXED, sha256_hex("a"), "ba7816bf8f01cfea")]
    {
        let import = Import::new(algorithm).await;
        let overlong = "0123456789abcdef".repeat(60);
        let (digits, without_padding) = (sha256_hex("a"), sha256_base64("a")[..43].to_owned());
        let odd = ["abc", "ü\n\t'\"%", &digits[..63], &without_padding, &overlong, &sha256_base64("a")[..40]];
        for hash in odd {
            let keys = json!([{"hash": good, "externalId": "left behind"}, {"hash": hash}]);
            let answer = import.server.call("keys.migrateKeys", import.body(keys)).await;
            let answer = answer.expect_error(400, "unkey/application/invalid_input");
            assert_eq!(answer.locations(), ["body.keys[1].hash"]);
            assert!(answer.text.contains(example), "{}", answer.text);
        }
        let keys: Vec<Value> = odd.iter().map(|hash| json!({"hash": hash})).collect();
        let answer = import.server.call("keys.migrateKeys", import.body(json!(keys))).await;
        let answer = answer.expect_error(400, "unkey/application/invalid_input");
        assert_eq!(answer.locations().len(), odd.len(), "all at once");
        let overview = import.server.call("workspace.getOverview", json!({})).await.expect(200);
        let counts = &overview.data()["counts"];
        assert_eq!((&counts["keys"], &counts["identities"]), (&json!(0), &json!(0)));
    }
}

#[tokio::test]
async fn hexadecimal_digits_are_as_good_as_base64_and_name_the_same_key() {
    let import = Import::new("sha256").await;
    let [plain, upper] = ["digits of one", "digits of another"];
    let first = import.key(plain, sha256_hex(plain), json!({})).await;
    let second = import.key(upper, sha256_hex(upper).to_uppercase(), json!({})).await;
    for key in [&first, &second] {
        assert_eq!(verify(&import.server, key, json!({})).await["code"], "VALID");
    }
    let keys =
        json!([{"hash": sha256_base64(plain)}, {"hash": sha256_hex("third")}, {"hash": sha256_base64("third")}]);
    let answer = import.server.call("keys.migrateKeys", import.body(keys)).await.expect(200);
    assert_eq!(answer.data()["migrated"].as_array().map(Vec::len), Some(1));
    assert_eq!(answer.data()["failed"], json!([sha256_base64(plain), sha256_base64("third")]));
    let migration = new_migration(&import.server, PREFIXED);
    let import = Import { migration, ..import };
    import.key("acme_ab_upper", sha256_hex("upper").to_uppercase(), json!({})).await;
    assert_eq!(import.code("acme_ab_upper").await, "VALID");
}

#[tokio::test]
async fn an_import_is_cut_into_portions_and_repeating_it_changes_nothing() {
    let import = Import::new("sha256").await;
    let keys: Vec<Value> = (0..1000)
        .map(|at| {
            let (hash, owner) = (sha256_base64(&format!("key {at}")), format!("owner {}", at % 300));
            json!({"hash": hash, "externalId": owner, "permissions": ["a.read", "a.write"], "roles": ["all"],
                   "credits": {"remaining": 5},
                   "ratelimits": [{"name": "calls", "limit": 5, "duration": 60_000, "autoApply": true}]})
        })
        .collect();
    let ids = import.keys(json!(keys)).await;
    assert_eq!(ids.len(), 1000);
    let overview = import.server.call("workspace.getOverview", json!({})).await.expect(200);
    let counts = &overview.data()["counts"];
    assert_eq!((&counts["keys"], &counts["identities"], &counts["roles"]), (&json!(1000), &json!(300), &json!(1)));
    for at in [0, 500, 999] {
        let key = NewKey { id: ids[at].clone(), key: format!("key {at}") };
        let data = verify(&import.server, &key, json!({"permissions": "a.read AND a.write"})).await;
        assert_eq!((&data["code"], &data["credits"]), (&json!("VALID"), &json!(4)), "{at}");
        assert_eq!(data["identity"]["externalId"], format!("owner {}", at % 300));
        assert_eq!((&data["roles"], &data["ratelimits"][0]["remaining"]), (&json!(["all"]), &json!(4)));
    }
    let again = import.server.call("keys.migrateKeys", import.body(json!(keys))).await.expect(200);
    let failures = again.data()["failures"].as_array().expect("a list");
    assert_eq!((&again.data()["migrated"], failures.len()), (&json!([]), 1000));
    for (at, failure) in failures.iter().enumerate() {
        assert_eq!((&failure["index"], &failure["hash"]), (&json!(at), &keys[at]["hash"]));
        assert_eq!(failure["reason"], format!("key {} has this hash already", ids[at]));
    }
}

#[tokio::test]
async fn at_most_ten_thousand_keys_go_in_at_once() {
    let import = Import::new("sha256").await;
    let keys: Vec<Value> = (0..10_001).map(|at| json!({"hash": sha256_hex(&at.to_string())})).collect();
    let answer = import.server.call("keys.migrateKeys", import.body(json!(keys))).await;
    let answer = answer.expect_error(400, "unkey/application/invalid_input");
    assert_eq!(answer.locations(), ["body.keys"]);
}

#[tokio::test]
async fn external_ids_are_any_text_wherever_a_key_is_made_or_changed() {
    let import = Import::new("sha256").await;
    let odd = "Zoë O'Neill <zoe@example.com> / 組織";
    let imported = import.key("imported", sha256_base64("imported"), json!({"externalId": odd})).await;
    let created = new_key(&import.server, &import.api, json!({"externalId": odd})).await;
    let updated = new_key(&import.server, &import.api, json!({})).await;
    let body = json!({"keyId": updated.id, "externalId": odd});
    import.server.call("keys.updateKey", body).await.expect(200);
    for key in [imported, created, updated] {
        assert_eq!(verify(&import.server, &key, json!({})).await["identity"]["externalId"], odd);
    }
    let body = json!({"externalId": "another: ü"});
    import.server.call("identities.createIdentity", body).await.expect(200);
    let overview = import.server.call("workspace.getOverview", json!({})).await.expect(200);
    assert_eq!(overview.data()["counts"]["identities"], 2);
}

#[tokio::test]
async fn credits_follow_the_rules_of_creation_and_one_fault_imports_nothing() {
    let import = Import::new("sha256").await;
    let monthly = json!({"interval": "monthly", "amount": 9});
    let daily = json!({"interval": "daily", "amount": 9, "refillDay": 3});
    for (credits, location) in [
        (json!({"remaining": 5, "refill": monthly}), "body.keys[1].credits.refill.refillDay"),
        (json!({"remaining": null, "refill": daily}), "body.keys[1].credits.remaining"),
    ] {
        let keys = json!([{"hash": sha256_base64("a"), "roles": ["left behind"]}, {"hash": sha256_base64("b"), "credits": credits}]);
        let answer = import.server.call("keys.migrateKeys", import.body(keys)).await;
        let answer = answer.expect_error(400, "unkey/application/invalid_input");
        assert_eq!(answer.locations(), [location]);
    }
    let overview = import.server.call("workspace.getOverview", json!({})).await.expect(200);
    assert_eq!((&overview.data()["counts"]["keys"], &overview.data()["counts"]["roles"]), (&json!(0), &json!(0)));
    let unlimited = import.key("a", sha256_base64("a"), json!({"credits": {"remaining": null}})).await;
    assert_eq!(verify(&import.server, &unlimited, json!({})).await.get("credits"), None);
    let limited = import.key("b", sha256_base64("b"), json!({"credits": {"remaining": 5, "refill": daily}})).await;
    let due = json!({"remaining": 5, "refill": {"interval": "daily", "amount": 9}});
    assert_eq!(read_key(&import.server, &limited).await["credits"], due);
}

#[tokio::test]
async fn oversized_metadata_is_named_by_its_key() {
    let import = Import::new("sha256").await;
    let keys = json!([{"hash": sha256_base64("a"), "meta": {"blob": "x".repeat(66_000)}}]);
    let answer = import.server.call("keys.migrateKeys", import.body(keys)).await;
    let answer = answer.expect_error(400, "unkey/application/invalid_input");
    assert_eq!(answer.locations(), ["body.keys[0].meta"]);
}

#[tokio::test]
async fn permission_comes_before_the_api_and_the_api_before_the_migration() {
    let import = Import::new("sha256").await;
    let keys = json!([{"hash": sha256_base64("a")}]);
    let body = |migration: &str, api: &str| json!({"migrationId": migration, "apiId": api, "keys": keys});
    let stranger = limited_client(&import.server, &["api.*.update_key"]).await;
    for api in [import.api.as_str(), "api_unknown"] {
        let answer = stranger.call("keys.migrateKeys", body("mig_unknown", api)).await;
        answer.expect_error(403, "unkey/authorization/insufficient_permissions");
    }
    let narrow = limited_client(&import.server, &[&format!("api.{}.create_key", import.api)]).await;
    let answer = narrow.call("keys.migrateKeys", body("mig_unknown", &import.api)).await;
    answer.expect_error(404, "unkey/data/migration_not_found");
    narrow.call("keys.migrateKeys", body(&import.migration, &import.api)).await.expect(200);
    for api in ["api_unknown", "any text"] {
        let answer = import.server.call("keys.migrateKeys", body("mig_unknown", api)).await;
        answer.expect_error(404, "unkey/data/api_not_found");
    }
}

#[tokio::test]
async fn twenty_first_verifications_at_once_all_succeed() {
    let import = Import::new(PREFIXED).await;
    let text = "acme_ab_longtoken";
    import.key(text, sha256_hex("longtoken"), json!({"credits": {"remaining": 20}})).await;
    let body = json!({"key": text, "migrationId": import.migration});
    let calls: Vec<_> = (0..20).map(|_| call(&import.server, "keys.verifyKey", body.clone())).collect();
    for answer in at_once(calls).await {
        assert_eq!(answer.expect(200).data()["code"], "VALID");
    }
    assert_eq!(import.code(text).await, "USAGE_EXCEEDED");
}

#[tokio::test]
async fn an_unused_key_can_be_rerolled_and_gets_the_default_prefix() {
    let import = Import::new(PREFIXED).await;
    let defaults = json!({"apiId": import.api, "defaultPrefix": "acme"});
    import.server.call("apis.updateApi", defaults).await.expect(200);
    let key = import.key("old_ab_longtoken", sha256_hex("longtoken"), json!({})).await;
    let answer = import.server.call("keys.rerollKey", json!({"keyId": key.id, "expiration": 0})).await.expect(200);
    let new = NewKey { id: answer.text_of("keyId"), key: answer.text_of("key") };
    assert!(new.key.starts_with("acme_"), "{}", new.key);
    assert_eq!(verify(&import.server, &new, json!({})).await["code"], "VALID");
    assert_eq!(import.code("old_ab_longtoken").await, "EXPIRED");
}
