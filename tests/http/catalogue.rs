//! What the catalogue says about its operations, for tests that must cover all of them.

use keyrack_core::catalogue::{About, Effect, Operation, Visitor};
use keyrack_core::operations;

struct Names {
    wanted: fn(&About) -> bool,
    found: Vec<&'static str>,
}

impl Visitor for Names {
    fn operation<O: Operation>(&mut self) {
        if (self.wanted)(&O::ABOUT) {
            self.found.push(O::ABOUT.name);
        }
    }
}

fn names(wanted: fn(&About) -> bool) -> Vec<&'static str> {
    let mut names = Names { wanted, found: Vec::new() };
    operations::each(&mut names);
    assert!(!names.found.is_empty(), "the catalogue is empty");
    names.found
}

/// Every operation.
pub(crate) fn operations() -> Vec<&'static str> {
    names(|_| true)
}

/// Every operation that creates, changes or removes something.
pub(crate) fn changing_operations() -> Vec<&'static str> {
    names(|about| about.effect != Effect::Read)
}

/// Every operation that answers pages of a list.
pub(crate) fn listing_operations() -> Vec<&'static str> {
    names(|about| about.list.is_some())
}
