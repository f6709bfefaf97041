//! APIs: what keys are issued for.

mod create_api;
mod delete_api;
mod get_api;
mod list_apis;
mod list_keys;
mod update_api;

pub use create_api::CreateApi;
pub use delete_api::DeleteApi;
pub use get_api::GetApi;
pub use list_apis::ListApis;
pub use list_keys::ListKeys;
pub use update_api::UpdateApi;

use crate::authorization::Expression;

/// To read an API.
const READ_API: Expression =
    Expression::Any(&[Expression::Leg("api.*.read_api"), Expression::Leg("api.{apiId}.read_api")]);
