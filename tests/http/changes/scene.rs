//! What most changes are about: an API with a key that has one of everything.

use keyrack_test_harness::Client;
use serde_json::{Value, json};

use super::{Named, Probe};
use crate::fixture::{NewKey, WINDOW, new_api, new_identity, new_key, verify};

/// A key of an identity with two limits; permissions and roles that it has and that it has not.
pub(super) struct Scene {
    tag: String,
    pub(super) api: String,
    pub(super) key_space: String,
    pub(super) key: NewKey,
    pub(super) identity: String,
    /// The ids of the identity's limits `gone` and `kept`.
    pub(super) limits: [String; 2],
    pub(super) held_permission: String,
    pub(super) held_role: String,
    pub(super) free_role: String,
}

impl Scene {
    pub(super) async fn made(client: &Client, tag: &str) -> Self {
        let name = |what: &str| format!("{tag}.{what}");
        let limits = json!([limit("gone", 1_000_000), limit("kept", 1_000_000)]);
        let owner = name("owner");
        let identity = new_identity(client, &owner, json!({"meta": {"a": 1}, "ratelimits": limits})).await;
        let permission = async |slug: String| {
            let body = json!({"name": slug, "slug": slug});
            client.call("permissions.createPermission", body).await.expect(200).text_of("permissionId")
        };
        let role = async |name: String, slug: String| {
            let body = json!({"name": name, "permissions": [slug]});
            client.call("permissions.createRole", body).await.expect(200).text_of("roleId")
        };
        let held_permission = permission(name("held")).await;
        permission(name("free")).await;
        let held_role = role(name("heldRole"), name("ofHeldRole")).await;
        let free_role = role(name("freeRole"), name("ofFreeRole")).await;
        let api = new_api(client).await;
        let key = new_key(
            client,
            &api,
            json!({
                "name": tag, "externalId": owner, "meta": {"b": 1}, "credits": {"remaining": 100},
                "permissions": [name("held")], "roles": [name("heldRole")],
                "ratelimits": [limit("own", 1_000_000)],
            }),
        )
        .await;
        let key_space = verify(client, &key, json!({})).await["keyspaceId"].as_str().expect("an id").to_owned();
        let made = Scene {
            tag: tag.to_owned(),
            api,
            key_space,
            key,
            identity,
            limits: Default::default(),
            held_permission,
            held_role,
            free_role,
        };
        made.with_limits(client).await
    }

    async fn with_limits(mut self, client: &Client) -> Self {
        let read = client.call("identities.getIdentity", json!({"identity": self.identity})).await.expect(200);
        for (at, name) in ["gone", "kept"].into_iter().enumerate() {
            let limits = read.data()["ratelimits"].as_array().expect("limits");
            let limit = limits.iter().find(|limit| limit["name"] == name).expect("the limit");
            limit["id"].as_str().expect("an id").clone_into(&mut self.limits[at]);
        }
        self
    }

    /// A name that no other scene uses.
    pub(super) fn name(&self, what: &str) -> String {
        format!("{}.{what}", self.tag)
    }

    pub(super) fn api(&self) -> Named {
        Named::Id(self.api.clone())
    }

    pub(super) fn key(&self) -> Named {
        Named::Id(self.key.id.clone())
    }

    pub(super) fn verification(&self) -> Probe {
        Probe::verification(&self.key.key)
    }
}

/// A limit that is checked by every verification.
pub(super) fn limit(name: &str, count: u64) -> Value {
    json!({"name": name, "limit": count, "duration": WINDOW, "autoApply": true})
}

/// A known id.
pub(super) fn id(id: &str) -> Named {
    Named::Id(id.to_owned())
}
