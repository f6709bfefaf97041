//! What a person is asked before a request is acted on that destroys, cuts off or widens.
//!
//! A question is made of what is stored when it is asked, never of what the caller says about it. Names in it were
//! written by anybody: faces show them as data. Whoever may do something is shown what it would be done to, its name and
//! its use, also without the permission to read it: nobody can agree to what they do not see.

use crate::calendar::UnixMs;
use crate::caller::Authorized;
use crate::store::affected::{Affected, MOST_COUNTED};

/// What a request leads to, in sentences without anything stored: `Deletes the API. All its keys are refused at once.`
pub type Consequences = Vec<&'static str>;

/// The consequences that are so.
pub fn if_so<const N: usize>(all: [(&'static str, bool); N]) -> Consequences {
    all.into_iter().filter_map(|(consequence, is_so)| is_so.then_some(consequence)).collect()
}

/// The question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What will happen; where it is nothing, nobody is asked.
    pub consequences: Consequences,
    /// What it will happen to, the nearest first: `("API", Text("payments"))`.
    pub facts: Vec<(&'static str, Fact)>,
    /// What a person types to agree; where it is nothing, yes will do.
    pub typed: Option<String>,
}

/// Something that is stored about what a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// A name, an id, or words.
    Text(String),
    /// How many there are.
    Count(i64),
    /// How many there are at least: the rest was not looked at.
    AtLeast(i64),
    /// When something was.
    Time(UnixMs),
}

impl Authorized {
    /// The beginning of a question to somebody who may do what it asks about.
    pub(crate) fn asking(self, consequences: Consequences) -> Question {
        Question { consequences, facts: Vec::new(), typed: None }
    }
}

impl Question {
    /// Agreed to by typing this.
    pub(crate) fn agreed_by_typing(mut self, text: &str) -> Self {
        self.typed = Some(text.to_owned());
        self
    }

    /// With a name, an id, or words.
    pub(crate) fn text(self, name: &'static str, text: impl Into<String>) -> Self {
        self.fact(name, Some(Fact::Text(text.into())))
    }

    /// The same, where there is one.
    pub(crate) fn text_if_any(self, name: &'static str, text: Option<&str>) -> Self {
        self.fact(name, text.map(|text| Fact::Text(text.to_owned())))
    }

    /// With a time, where there is one.
    pub(crate) fn time_if_any(self, name: &'static str, time: Option<UnixMs>) -> Self {
        self.fact(name, time.map(Fact::Time))
    }

    /// With how many there are; above [`MOST_COUNTED`] it says no more than that.
    pub(crate) fn count(self, name: &'static str, count: i64) -> Self {
        let fact = if count > MOST_COUNTED { Fact::AtLeast(MOST_COUNTED) } else { Fact::Count(count) };
        self.fact(name, Some(fact))
    }

    /// With the keys that will notice, and when one of them was used last, where all were looked at.
    pub(crate) fn affecting(self, affected: Affected) -> Self {
        let counted = if affected.are_all { Fact::Count(affected.keys) } else { Fact::AtLeast(affected.keys) };
        self.fact("keys", Some(counted))
            .time_if_any("last use", affected.last_used_at.filter(|_| affected.are_all))
    }

    fn fact(mut self, name: &'static str, fact: Option<Fact>) -> Self {
        self.facts.extend(fact.map(|fact| (name, fact)));
        self
    }
}
