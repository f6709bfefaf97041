//! What is made of the list of all operations, once per process.

use std::sync::LazyLock;

use super::each;
use crate::authorization::{Grantable, Rule};
use crate::catalogue::{Operation, Visitor};
use crate::docs::{Index, OperationPage, Pages};

/// The documentation's page of every operation, by namespace and name.
pub fn pages() -> &'static [OperationPage] {
    static PAGES: LazyLock<Pages> = LazyLock::new(|| visited(Pages::default()));
    &PAGES.0
}

/// The pages of all operations and codes, ready to be searched.
pub fn index() -> &'static Index {
    static INDEX: LazyLock<Index> = LazyLock::new(|| Index::of(pages()));
    &INDEX
}

/// What may be granted, because the rule of some operation asks for it.
pub fn grantable() -> &'static Grantable {
    static GRANTABLE: LazyLock<Grantable> = LazyLock::new(|| Grantable::of(visited(Rules::default()).0));
    &GRANTABLE
}

#[derive(Default)]
struct Rules(Vec<(&'static str, &'static Rule)>);

impl Visitor for Rules {
    fn operation<O: Operation>(&mut self) {
        self.0.push((O::ABOUT.name, const { &O::ABOUT.rule }));
    }
}

fn visited<V: Visitor>(mut visitor: V) -> V {
    each(&mut visitor);
    visitor
}
