//! The black-box tests know the catalogue from what the program says of itself: it leaves nothing out.

use keyrack_core::catalogue::{About, Operation, Visitor};
use keyrack_core::each;
use keyrack_http_api::openapi;
use serde_json::Value;

const PAGINATION: &str = "/responses/200/content/application~1json/schema/properties/pagination";

struct Names {
    wanted: fn(&About) -> bool,
    found: Vec<String>,
}

impl Visitor for Names {
    fn operation<O: Operation>(&mut self) {
        if (self.wanted)(&O::ABOUT) {
            self.found.push(format!("/v2/{}", O::ABOUT.name));
        }
    }
}

fn names(wanted: fn(&About) -> bool) -> Vec<String> {
    let mut names = Names { wanted, found: Vec::new() };
    each(&mut names);
    names.found.sort_unstable();
    names.found
}

#[test]
fn the_description_has_every_operation_and_says_which_of_them_are_lists() {
    let document = openapi::document("");
    let described = |wanted: fn(&Value) -> bool| {
        let paths = document["paths"].as_object().unwrap().iter();
        let wanted = paths.filter(|(path, methods)| path.contains('.') && wanted(methods));
        let mut names: Vec<String> = wanted.map(|(path, _)| path.clone()).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(described(|_| true), names(|_| true));
    let is_list = |methods: &Value| methods["post"].pointer(PAGINATION).is_some();
    assert_eq!(described(is_list), names(|about| about.list.is_some()));
}
