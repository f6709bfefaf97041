//! Who is shown something: a caller, in a view, of what the backend does.

use keyrack_core::caller::Principal;
use keyrack_core::catalogue::Toolset;
use keyrack_core::{Code, Error};

use crate::backend::Backend;
use crate::catalogue::{Catalogue, Offer};
use crate::view::{View, is_visible, refusal};

/// Whoever reads a list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Audience<'a> {
    pub(crate) catalogue: &'a Catalogue,
    pub(crate) backend: &'a dyn Backend,
    pub(crate) view: &'a View,
    pub(crate) principal: &'a Principal,
}

impl Audience<'_> {
    /// Whether they see a tool.
    pub(crate) fn sees(&self, offer: &Offer) -> bool {
        self.view.shows(offer, self.principal) && self.backend.does(offer)
    }

    /// Whether they see the tool of this name.
    pub(crate) fn sees_tool(&self, tool: &str) -> bool {
        self.catalogue.find(tool).is_some_and(|offer| self.sees(offer))
    }

    /// Why they do not see a tool, if they do not.
    pub(crate) fn misses(&self, offer: &Offer) -> Option<Error> {
        if let Some(hidden) = self.view.hides(offer) {
            return Some(hidden.refusal(&offer.tool.name));
        }
        if !is_visible(offer.about, self.principal) {
            return Some(refusal(offer.about, self.principal));
        }
        let elsewhere = || format!("The server that does the work has no {}.", offer.tool.name);
        (!self.backend.does(offer)).then(|| Error::new(Code::Forbidden, elsewhere()))
    }

    /// Why they see no tool of a toolset, if they see none.
    pub(crate) fn misses_all(&self, toolset: Toolset) -> Option<Error> {
        let of_it = || self.catalogue.offers().iter().filter(|offer| offer.about.toolset() == toolset);
        match of_it().any(|offer| self.sees(offer)) {
            true => None,
            false => of_it().find_map(|offer| self.misses(offer)),
        }
    }
}
