//! Where operations are.

use keyrack_core::catalogue::About;

/// The path of an operation.
pub(crate) fn path_of(about: &About) -> String {
    format!("/v2/{}", about.name)
}
