//! A root key that was deleted, disabled, narrowed or that expired, or whose workspace was disabled, changes nothing and
//! reads nothing from then on: not with a request either of which all but the last byte was there before.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use keyrack_test_harness::{Database, Server, differing, operations, scene_in};
use serde_json::{Value, json};

use crate::program;
use crate::victim::{Victim, Workspace};
use crate::wire::{Reply, Wire, head};

/// How long the server has to take up what was sent of a request.
const TAKEN_UP: Duration = Duration::from_millis(300);
/// How long a root key lives that expires while its request is on its way.
const LIFETIME: Duration = Duration::from_millis(1500);

/// Operators have these to themselves, and their workspace is nobody's to disable.
const OF_OPERATORS: [&str; 3] =
    ["workspace.createWorkspace", "workspace.listWorkspaces", "workspace.updateWorkspace"];

/// What any root key may ask, and what shows only what the caller may read.
const OPEN: [&str; 4] = ["apis.listApis", "docs.search", "rootKeys.listKeys", "workspace.getOverview"];

/// What becomes of a root key while its request is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Deleted,
    Narrowed,
    Disabled,
    Expired,
    WorkspaceDisabled,
}

/// Where requests are sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Face {
    Api,
    Mcp,
}

/// The address of all tools.
const ALL_TOOLS: &str = "/mcp?toolsets=all";

/// A request whose last byte is missing.
struct Pending {
    operation: String,
    key_id: String,
    root_key: String,
    path: String,
    body: String,
    wire: Wire,
    /// How long after its root key was made it was on its way.
    age: Duration,
}

fn now_ms() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970").as_millis()
}

/// What a face is sent to call an operation; nothing where it does not offer it.
fn message(face: Face, operation: &str, body: &Value, tools: &[String]) -> Option<(String, Value)> {
    if face == Face::Api {
        return Some((format!("/v2/{operation}"), body.clone()));
    }
    let name = operation.replace('.', "_");
    let arguments = if body.is_array() { json!({"limits": body}) } else { body.clone() };
    let call = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": arguments},
    });
    tools.contains(&name).then(|| (ALL_TOOLS.to_owned(), call))
}

/// The names of all tools.
async fn tools(server: &Server, root_key: &str) -> Vec<String> {
    let mut wire = Wire::to(server).await;
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}).to_string();
    wire.send(head(ALL_TOOLS, root_key, body.len()) + &body).await;
    let reply = wire.reply().await.expect("an answer");
    let tools = reply.body["result"]["tools"].as_array().unwrap_or_else(|| panic!("{reply:?}"));
    tools.iter().map(|tool| tool["name"].as_str().expect("a name").to_owned()).collect()
}

impl Pending {
    /// Sends all but the last byte, with a new root key that has full access.
    async fn send(
        server: &Server,
        workspace: &Workspace,
        operation: &str,
        message: (String, Value),
        fate: Fate,
    ) -> Self {
        let began = Instant::now();
        let made = if OF_OPERATORS.contains(&operation) {
            // The operator's own copy: rerolling is the only way to another operator key.
            let own = server.call("workspace.getOverview", json!({})).await.expect(200);
            let own = own.data()["rootKey"]["keyId"].clone();
            server.call("rootKeys.rerollKey", json!({"keyId": own, "expiration": null})).await.expect(200)
        } else if fate == Fate::Expired {
            let expires = u64::try_from(now_ms() + LIFETIME.as_millis()).expect("fits");
            let body = json!({"permissions": ["*"], "expires": expires});
            workspace.owner.call("rootKeys.createKey", body).await.expect(200)
        } else {
            workspace.owner.call("rootKeys.createKey", json!({"permissions": ["*"]})).await.expect(200)
        };
        let (path, body) = (message.0, message.1.to_string());
        let (key_id, root_key) = (made.text_of("keyId"), made.text_of("key"));
        let mut wire = Wire::to(server).await;
        wire.send(head(&path, &root_key, body.len()) + &body[..body.len() - 1]).await;
        Pending { operation: operation.to_owned(), key_id, root_key, path, body, wire, age: began.elapsed() }
    }

    /// The rest of it.
    async fn finish(&mut self) -> Reply {
        let last = &self.body[self.body.len() - 1..];
        self.wire.send(last).await;
        self.wire.reply().await.unwrap_or_else(|| panic!("{} was not answered", self.operation))
    }

    /// The whole request once more: how it is answered to a root key of which all this is known before.
    async fn again(&self, server: &Server) -> Reply {
        let mut wire = Wire::to(server).await;
        wire.send(head(&self.path, &self.root_key, self.body.len()) + &self.body).await;
        wire.reply().await.unwrap_or_else(|| panic!("{} was not answered", self.operation))
    }
}

/// What does not differ from answer to answer.
fn verdict(reply: &Reply) -> Value {
    let (error, result) = (&reply.body["error"], &reply.body["result"]);
    json!({
        "status": reply.status, "data": reply.body["data"], "error": error["type"], "code": error["code"],
        "isError": result["isError"], "structured": result["structuredContent"]["data"],
    })
}

/// Whether it says no and nothing else, though not in the words of a request that comes too late as a whole.
fn is_refusal(verdict: &Value) -> bool {
    let shows_nothing = verdict["data"].is_null() && verdict["structured"].is_null();
    let says_no = [401, 403, 404].map(|status| json!(status)).contains(&verdict["status"]);
    shows_nothing && (says_no || verdict["isError"] == true || verdict["code"].is_number())
}

async fn meet(server: &Server, workspace: &Workspace, fate: Fate, pending: &[Pending]) {
    if fate == Fate::WorkspaceDisabled {
        let body = json!({"workspaceId": workspace.id, "enabled": false});
        server.call("workspace.updateWorkspace", body).await.expect(200);
        return;
    }
    for Pending { operation, key_id, .. } in pending {
        let owner = if OF_OPERATORS.contains(&operation.as_str()) { server } else { &workspace.owner };
        match fate {
            Fate::Deleted => owner.call("rootKeys.deleteKey", json!({"keyId": key_id})).await.expect(200),
            Fate::Disabled => {
                owner.call("rootKeys.updateKey", json!({"keyId": key_id, "enabled": false})).await.expect(200)
            }
            _ => owner.call("rootKeys.updateKey", json!({"keyId": key_id, "permissions": []})).await.expect(200),
        };
    }
}

/// Tries every operation that a face offers.
async fn is_over(fate: Fate, face: Face) {
    let server = program().start().await;
    let workspace = Workspace::new(&server, "the other").await;
    let tools = tools(&server, keyrack_test_harness::ROOT_KEY).await;
    let mut pending = Vec::new();
    for operation in operations(&server).await {
        let is_of_operators = OF_OPERATORS.contains(&operation);
        // Nothing narrows an operator, or lets one expire.
        if is_of_operators && ![Fate::Deleted, Fate::Disabled].contains(&fate) {
            continue;
        }
        let body = scene_in(&server, &workspace.owner, operation).await.body;
        if let Some(message) = message(face, operation, &body, &tools) {
            pending.push(Pending::send(&server, &workspace, operation, message, fate).await);
        }
    }
    assert!(pending.len() > 30, "only {} operations are tried", pending.len());
    tokio::time::sleep(TAKEN_UP).await;
    if fate == Fate::Expired {
        let is_late = pending.iter().any(|request| request.age > LIFETIME / 2);
        assert!(!is_late, "some expired before their request was on its way");
        tokio::time::sleep(LIFETIME).await;
    } else {
        meet(&server, &workspace, fate, &pending).await;
    }
    let mut database = Database::of(&server).await;
    let before = database.dump().await;
    let mut faults = Vec::new();
    for request in &mut pending {
        let reply = verdict(&request.finish().await);
        let due = verdict(&request.again(&server).await);
        let after = database.dump().await;
        if reply != due && !is_refusal(&reply) {
            faults.push(format!("{} is answered {reply}, not {due}", request.operation));
        }
        if differing(&before, &after) != [] as [&String; 0] {
            faults.push(format!("{} changes {:?}", request.operation, differing(&before, &after)));
            break;
        }
    }
    assert!(faults.is_empty(), "{fate:?} over {face:?}:\n{}", faults.join("\n"));
}

macro_rules! fates {
    ($($api:ident, $mcp:ident: $fate:ident;)*) => {$(
        #[tokio::test]
        async fn $api() {
            is_over(Fate::$fate, Face::Api).await;
        }

        #[tokio::test]
        async fn $mcp() {
            is_over(Fate::$fate, Face::Mcp).await;
        }
    )*};
}

fates! {
    a_deleted_root_key_finishes_no_request, a_deleted_root_key_finishes_no_tool_call: Deleted;
    a_narrowed_root_key_finishes_no_request, a_narrowed_root_key_finishes_no_tool_call: Narrowed;
    a_disabled_root_key_finishes_no_request, a_disabled_root_key_finishes_no_tool_call: Disabled;
    an_expired_root_key_finishes_no_request, an_expired_root_key_finishes_no_tool_call: Expired;
    a_disabled_workspace_finishes_no_request, a_disabled_workspace_finishes_no_tool_call: WorkspaceDisabled;
}

#[tokio::test]
async fn a_zero_key_learns_and_changes_nothing_by_any_operation() {
    let server = program().start().await;
    let mut victim = Victim::new(&server).await;
    let zero = victim.workspace.holder(&[]).await;
    for operation in operations(&server).await {
        let body = scene_in(&server, &victim.workspace.owner, operation).await.body;
        let mut database = Database::of(&server).await;
        let before = database.dump().await;
        let answer = zero.call(operation, body).await;
        let is_open = OPEN.contains(&operation);
        let is_nothing = answer.status == 200 && answer.data()["code"] == json!("NOT_FOUND");
        assert!(is_open || is_nothing || [403, 404].contains(&answer.status), "{operation}: {}", answer.text);
        assert!(differing(&before, &database.dump().await).is_empty(), "{operation}");
    }
    victim.is_granted_all().await;
}
