//! What the tools cost in every conversation, in bytes because those are deterministic (about 4.5 per
//! token). The texts go up only on purpose.

use rmcp::model::Tool;
use serde_json::json;

use crate::world::catalogue;

/// What an assistant sees unless somebody asks for more.
const MOST_TOOLS_BY_DEFAULT: usize = 40;
const PROMPT_FACING_BY_DEFAULT: usize = 33_000;
/// All tools together.
const PROMPT_FACING: usize = 52_000;
const ON_THE_WIRE: usize = 115_000;
const MEAN_TOOL: usize = 1_000;
const LARGEST_TOOL: usize = 3_500;

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
    let offers = catalogue().offers();
    let mut sizes: Vec<_> =
        offers.iter().map(|offer| (prompt_facing(&offer.tool), on_the_wire(&offer.tool), offer.about)).collect();
    sizes.sort_unstable_by_key(|(prompt, ..)| std::cmp::Reverse(*prompt));
    let prompt: usize = sizes.iter().map(|(prompt, ..)| prompt).sum();
    let wire: usize = sizes.iter().map(|(_, wire, _)| wire).sum();
    let by_default: Vec<usize> =
        sizes.iter().filter(|(.., about)| about.toolset().is_default()).map(|(prompt, ..)| *prompt).collect();
    let mut table = format!("{:>8} {:>8}  tool\n", "prompt", "wire");
    for (prompt, wire, about) in sizes.iter().take(10) {
        table.push_str(&format!("{prompt:>8} {wire:>8}  {}\n", about.name));
    }
    table.push_str(&format!("{prompt:>8} {wire:>8}  all {} tools\n", offers.len()));
    table.push_str(&format!(
        "{:>8} {:>8}  {} by default\n",
        by_default.iter().sum::<usize>(),
        "",
        by_default.len()
    ));
    eprintln!("{table}");
    assert!(by_default.len() <= MOST_TOOLS_BY_DEFAULT, "{table}");
    assert!(by_default.iter().sum::<usize>() <= PROMPT_FACING_BY_DEFAULT, "{table}");
    assert!(prompt <= PROMPT_FACING && wire <= ON_THE_WIRE, "{table}");
    assert!(prompt / offers.len() <= MEAN_TOOL, "{table}");
    assert!(sizes[0].0 <= LARGEST_TOOL, "{table}");
}
