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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::request_schema;
    use crate::schema::answered_secrets;

    /// What an operation has of secrets: sent, shown once, readable again.
    type Secrets = [Vec<String>; 3];

    #[derive(Default)]
    struct All(Vec<(&'static str, Secrets)>);

    impl Visitor for All {
        fn operation<O: Operation>(&mut self) {
            let texts = |places: &crate::schema::Places| places.pointers().map(str::to_owned).collect::<Vec<_>>();
            let answered = answered_secrets::<O::Response>();
            let sent = texts(request_schema::<O>().secrets());
            self.0.push((O::ABOUT.name, [sent, texts(&answered.once), texts(&answered.again)]));
        }
    }

    #[test]
    fn secrets_are_where_types_say_so_also_in_items_of_lists() {
        let found =
            visited(All::default()).0.into_iter().filter(|(_, secrets)| secrets.iter().any(|of| !of.is_empty()));
        let told: Vec<String> = found.map(|(name, secrets)| format!("{name} {secrets:?}")).collect();
        assert_eq!(
            told,
            [
                r#"apis.listKeys [[], [], ["/*/plaintext"]]"#,
                r#"keys.createKey [[], ["/key"], []]"#,
                r#"keys.explainKey [["/key"], [], []]"#,
                r#"keys.getKey [[], [], ["/plaintext"]]"#,
                r#"keys.listKeys [[], [], ["/*/plaintext"]]"#,
                r#"keys.rerollKey [[], ["/key"], []]"#,
                r#"keys.verifyKey [["/key"], [], []]"#,
                r#"keys.whoami [["/key"], [], ["/plaintext"]]"#,
                r#"rootKeys.createKey [[], ["/key"], []]"#,
                r#"rootKeys.rerollKey [[], ["/key"], []]"#,
                r#"workspace.createWorkspace [[], ["/rootKey"], []]"#,
            ]
        );
    }
}
