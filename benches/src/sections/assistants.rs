//! What the door for assistants costs: a call of a tool against the same operation over HTTP, and the list of tools.

use anyhow::Result;
use serde_json::json;

use super::{Bench, cpu, throughput};
use crate::keyrack::{Population, verification};
use crate::load::Target;
use crate::report::{Goal, Report};
use crate::rounds::{Variant, alternate};
use crate::seed::key_text;

/// As many connections as the goal is about.
const CONNECTIONS: u32 = 32;
const ASKED: u32 = 10_000;

/// `tools/call` of `keys_verifyKey` ÷ `keys.verifyKey`, and `tools/list` of the default view.
pub(super) fn assistants(bench: &Bench, report: &mut Report) -> Result<()> {
    let settings = &bench.settings;
    let hot = bench.databases.get(settings, "hot", Population::HOT)?;
    let direct = hot.verifications(settings)?;
    let message = |id: u32, method: &str, params: serde_json::Value| {
        json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string()
    };
    let call = |number: u32| -> Result<String> {
        let arguments: serde_json::Value = serde_json::from_str(&verification(&key_text(number)))?;
        Ok(message(number, "tools/call", json!({ "name": "keys_verifyKey", "arguments": arguments })))
    };
    let calls = (0..ASKED).map(call).collect::<Result<Vec<_>>>()?;
    let good = "/result/structuredContent/data/valid";
    let called = Target::new(settings, "mcp-call", "/mcp", good, &calls)?;
    let lists = [message(1, "tools/list", json!({}))];
    let listed = Target::new(settings, "mcp-list", "/mcp", "/result/tools", &lists)?;
    // A model in a loop is not what is measured.
    let server = hot.start(settings, &[("KEYRACK_MCP_CALLS_PER_MINUTE", "0")])?;
    let variants = [
        Variant::new(settings, "keys.verifyKey", &server, &direct),
        Variant::new(settings, "tools/call keys_verifyKey", &server, &called),
        Variant::new(settings, "tools/list", &server, &listed),
    ];
    let rounds = alternate(settings, &[CONNECTIONS], &variants)?;
    let names = ("tools/call keys_verifyKey", "keys.verifyKey");
    report.ratio(&rounds, "tools/call of a verification ÷ HTTP, throughput", names, throughput, Goal::AtLeast(0.5));
    let list = rounds.spread(CONNECTIONS, "tools/list", cpu);
    report.goal("tools/list, CPU µs", list, Goal::AtMost(300.0));
    report.runs("mcp", &rounds);
    Ok(())
}
