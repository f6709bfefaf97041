//! Every operation is a tool, or there is a reason why not.

use keyrack_core::catalogue::{Operation, Visitor};
use keyrack_mcp_server::naming::{MAX_TOOL_NAME, operation_name, tool_name};

#[derive(Default)]
struct Names(Vec<&'static str>);

impl Visitor for Names {
    fn operation<O: Operation>(&mut self) {
        self.0.push(O::ABOUT.name);
    }
}

fn operations() -> Vec<&'static str> {
    let mut names = Names::default();
    keyrack_core::each(&mut names);
    names.0
}

/// Operations that are no tool, and why. A new one needs a line here: it is a decision.
const WITHHELD: [(&str, &str); 1] =
    [("workspace.createWorkspace", "hands out a root key to all of another workspace")];

#[test]
fn every_operation_is_a_tool_or_is_withheld_for_a_stated_reason() {
    let catalogue = crate::world::catalogue();
    for operation in operations() {
        let offered = catalogue.find(&tool_name(operation)).is_some();
        let withheld = catalogue.withheld().iter().find(|(about, _)| about.name == operation);
        assert!(withheld.is_none_or(|(_, reason)| !reason.is_empty()), "{operation} is withheld without a reason");
        assert_ne!(offered, withheld.is_some(), "{operation} must be one of both");
        let expected = WITHHELD.iter().any(|(name, _)| *name == operation);
        assert_eq!(withheld.is_some(), expected, "{operation}: is it a tool? Change the list above on purpose");
    }
    assert_eq!(catalogue.offers().len() + catalogue.withheld().len(), operations().len());
}

#[test]
fn tool_names_and_operations_are_one_to_one_and_fit_every_client() {
    let mut names = Vec::new();
    for operation in operations() {
        let name = tool_name(operation);
        assert_eq!(operation_name(&name), operation);
        assert!(name.len() <= MAX_TOOL_NAME, "{name} has {} characters", name.len());
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{name}");
        names.push(name);
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), operations().len());
}
