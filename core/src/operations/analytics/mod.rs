//! Analytics: SQL over what was decided, and the questions that need none.

mod get_ratelimits;
mod get_usage;
mod get_verifications;
mod list_ratelimits;
mod list_verifications;
mod outcome;
mod pages;
mod reader;
mod sql_request;

pub use get_ratelimits::GetRatelimits;
pub use get_usage::GetUsage;
pub use get_verifications::GetVerifications;
pub use list_ratelimits::ListRatelimits;
pub use list_verifications::ListVerifications;
