//! What events can be chosen by, for the commands that ask about them.

use clap::{Arg, ArgMatches};
use serde_json::{Value, json};

/// A filter: a flag, and a member of a request.
#[derive(Debug)]
pub(crate) struct Filter {
    flag: &'static str,
    member: &'static str,
    /// What alone it is about; `None` for both kinds of events.
    of: Option<Kind>,
    help: &'static str,
}

/// A kind of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Verifications,
    Ratelimits,
}

const fn filter(flag: &'static str, member: &'static str, of: Option<Kind>, help: &'static str) -> Filter {
    Filter { flag, member, of, help }
}

/// Those that everything about events takes.
pub(crate) static COMMON: [Filter; 6] = [
    filter("key", "keyId", Some(Kind::Verifications), "Only verifications of this key, by its id"),
    filter("api", "apiId", Some(Kind::Verifications), "Only verifications of keys of this API, by its id"),
    filter(
        "customer",
        "identity",
        Some(Kind::Verifications),
        "Only verifications of keys of this identity, by its id or external id",
    ),
    filter("tag", "tag", Some(Kind::Verifications), "Only verifications with this tag"),
    filter(
        "namespace",
        "namespace",
        Some(Kind::Ratelimits),
        "Only rate-limit decisions of this namespace, by its id or name",
    ),
    filter("identifier", "identifier", Some(Kind::Ratelimits), "Only rate-limit decisions of this identifier"),
];

/// Those that lists of single events take besides.
pub(crate) static OF_LISTS: [Filter; 2] = [
    filter(
        "outcome",
        "outcomes",
        Some(Kind::Verifications),
        "Only verifications with this outcome, such as RATE_LIMITED",
    ),
    filter("request", "requestId", None, "Only those of the request with this id"),
];

impl Filter {
    /// Its flag.
    pub(crate) fn argument(&self) -> Arg {
        Arg::new(self.flag)
            .long(self.flag)
            .value_name(self.flag.to_uppercase())
            .help(self.help)
            .help_heading("Filters")
    }
}

/// Puts what the flags say into a request: what it is about, where that follows from them.
pub(crate) fn put<'f>(
    filters: impl IntoIterator<Item = &'f Filter>,
    matches: &ArgMatches,
    request: &mut Value,
) -> Option<Kind> {
    let mut about = None;
    for filter in filters {
        let Some(value) = matches.get_one::<String>(filter.flag) else { continue };
        request[filter.member] = match filter.member {
            "outcomes" => json!([value.to_uppercase()]),
            _ => json!(value),
        };
        about = about.or(filter.of);
    }
    about
}
