//! Outcomes that requests name.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::Error;
use crate::analytics::reports::measures::{PASSED, REFUSED, outcomes};
use crate::analytics::sql::tables::Tables;
use crate::keys::verdict::Verdict;

/// An outcome of a verification, or of a decision on a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[schemars(inline)]
pub(crate) enum Outcome {
    Valid,
    RateLimited,
    Expired,
    Disabled,
    Forbidden,
    InsufficientPermissions,
    UsageExceeded,
    Passed,
    Refused,
}

impl Outcome {
    fn name(self) -> &'static str {
        let verdict = match self {
            Outcome::Valid => Verdict::Valid,
            Outcome::RateLimited => Verdict::RateLimited,
            Outcome::Expired => Verdict::Expired,
            Outcome::Disabled => Verdict::Disabled,
            Outcome::Forbidden => Verdict::Forbidden,
            Outcome::InsufficientPermissions => Verdict::InsufficientPermissions,
            Outcome::UsageExceeded => Verdict::UsageExceeded,
            Outcome::Passed => return PASSED,
            Outcome::Refused => return REFUSED,
        };
        verdict.name()
    }
}

/// The names of these outcomes.
///
/// # Errors
/// 400 when events of this kind have no such outcome.
pub(super) fn names(wanted: Vec<Outcome>, of: Tables) -> Result<Vec<&'static str>, Error> {
    let (known, names) = (outcomes(of), wanted.into_iter().map(Outcome::name).collect::<Vec<_>>());
    match names.iter().find(|name| !known.contains(name)) {
        None => Ok(names),
        Some(name) => Err(Error::invalid(
            "body.outcomes",
            format!("has {name}, which is no outcome of what is asked for"),
            format!("Send some of: {}.", known.join(", ")),
        )),
    }
}
