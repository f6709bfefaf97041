//! Identities: whom keys belong to.

mod change;
mod create;
mod expand;
