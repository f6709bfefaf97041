//! Outcomes that requests name.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::Error;
use crate::analytics::reports::measures::outcomes;
use crate::analytics::sql::tables::Tables;

/// An outcome of a verification, or, if `LIMITS` says so, of a decision on a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome<const LIMITS: bool>(&'static str);

impl<const LIMITS: bool> Outcome<LIMITS> {
    fn all() -> impl Iterator<Item = &'static str> {
        let of_limits = LIMITS.then(|| outcomes(Tables::Ratelimits));
        outcomes(Tables::Verifications).into_iter().chain(of_limits.into_iter().flatten())
    }

    /// What answers call it.
    pub(super) fn name(self) -> &'static str {
        self.0
    }
}

impl<'de, const LIMITS: bool> Deserialize<'de> for Outcome<LIMITS> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = Cow::<str>::deserialize(deserializer)?;
        Self::all().find(|known| *known == name).map(Outcome).ok_or_else(|| D::Error::custom("is no outcome"))
    }
}

impl<const LIMITS: bool> JsonSchema for Outcome<LIMITS> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Outcome".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": Self::all().collect::<Vec<_>>() })
    }
}

/// The names of these outcomes.
///
/// # Errors
/// 400 when events of this kind have no such outcome.
pub(super) fn names(wanted: Vec<Outcome<true>>, of: Tables) -> Result<Vec<&'static str>, Error> {
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
