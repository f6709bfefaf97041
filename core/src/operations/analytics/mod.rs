//! Analytics: SQL over what was decided.

mod get_ratelimits;
mod get_verifications;
mod sql_request;

pub use get_ratelimits::GetRatelimits;
pub use get_verifications::GetVerifications;
