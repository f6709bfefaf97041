//! What a check found wrong, and where.

use std::fmt;

use crate::error::Fault;

/// Characters of a member's name that are shown.
pub(super) const SHOWN_NAME: usize = 64;
/// A body with more faults than this is answered with the first of them.
pub(super) const MOST_FAULTS: usize = 50;

/// What was found wrong.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// At most one fault per place, and at most [`MOST_FAULTS`].
    pub(super) faults: Vec<Fault>,
    /// Whether an integer was sent as JSON Schema takes it and types do not: `1.0`.
    pub(super) is_respelled: bool,
}

impl Report {
    pub(super) fn is_full(&self) -> bool {
        self.faults.len() >= MOST_FAULTS
    }

    /// # Errors
    /// When the report is full, to end the reading.
    pub(super) fn add<E: serde::de::Error>(&mut self, fault: Fault) -> Result<(), E> {
        if !self.faults.iter().any(|known| known.location == fault.location) {
            self.faults.push(fault);
        }
        if self.is_full() { Err(E::custom("the report is full")) } else { Ok(()) }
    }
}

/// Where in a request something is.
#[derive(Clone, Copy)]
pub(super) struct Place<'p> {
    around: Option<&'p Place<'p>>,
    step: Step<'p>,
    /// How many arrays and objects are around it.
    pub(super) depth: usize,
}

#[derive(Clone, Copy)]
pub(super) enum Step<'p> {
    Body,
    Member(&'p str),
    Item(usize),
}

impl<'p> Place<'p> {
    /// The request itself.
    pub(super) const BODY: Place<'static> = Place { around: None, step: Step::Body, depth: 0 };

    pub(super) fn inner<'q>(&'q self, step: Step<'q>) -> Place<'q> {
        Place { around: Some(self), step, depth: self.depth + 1 }
    }
}

/// `body.ratelimits[0].limit`
impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(around) = self.around {
            around.fmt(f)?;
        }
        match self.step {
            Step::Body => f.write_str("body"),
            Step::Member(name) => match name.char_indices().nth(SHOWN_NAME) {
                Some((end, _)) => write!(f, ".{}", &name[..end]),
                None => write!(f, ".{name}"),
            },
            Step::Item(at) => write!(f, "[{at}]"),
        }
    }
}

pub(super) fn sent_twice(place: &Place<'_>) -> Fault {
    Fault {
        location: place.to_string(),
        message: "was sent twice".to_owned(),
        fix: Some("Send each member once.".to_owned()),
    }
}
