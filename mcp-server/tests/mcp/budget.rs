//! What the tools cost in every conversation, in bytes because those are deterministic (about 4.5 per
//! token). The texts go up only on purpose.

use keyrack_mcp_server::Catalogue;
use rmcp::model::Tool;
use serde_json::json;

const PROMPT_FACING: usize = 33_000;
const ON_THE_WIRE: usize = 110_000;
const MEAN_TOOL: usize = 1_000;
const LARGEST_TOOL: usize = 3_500;
const MOST_TOOLS: usize = 40;

/// What a model reads of a tool: name, description, arguments.
fn prompt_facing(tool: &Tool) -> usize {
    json!({ "name": tool.name, "description": tool.description, "inputSchema": tool.input_schema })
        .to_string()
        .len()
}

fn on_the_wire(tool: &Tool) -> usize {
    serde_json::to_string(tool).unwrap().len()
}

#[test]
fn the_tools_stay_within_their_budget() {
    let tools: Vec<&Tool> = Catalogue::get().offers().iter().map(|offer| &offer.tool).collect();
    let mut sizes: Vec<_> =
        tools.iter().map(|tool| (prompt_facing(tool), on_the_wire(tool), &tool.name)).collect();
    sizes.sort_unstable_by_key(|(prompt, ..)| std::cmp::Reverse(*prompt));
    let prompt: usize = sizes.iter().map(|(prompt, ..)| prompt).sum();
    let wire: usize = sizes.iter().map(|(_, wire, _)| wire).sum();
    let mut table = format!("{:>8} {:>8}  tool\n", "prompt", "wire");
    for (prompt, wire, name) in sizes.iter().take(10) {
        table.push_str(&format!("{prompt:>8} {wire:>8}  {name}\n"));
    }
    table.push_str(&format!("{prompt:>8} {wire:>8}  all {} tools\n", tools.len()));
    eprintln!("{table}");
    assert!(tools.len() <= MOST_TOOLS, "{table}");
    assert!(prompt <= PROMPT_FACING && wire <= ON_THE_WIRE, "{table}");
    assert!(prompt / tools.len() <= MEAN_TOOL, "{table}");
    assert!(sizes[0].0 <= LARGEST_TOOL, "{table}");
}
