//! Standalone rate limits, their namespaces and overrides.

mod create_namespace;
mod delete_namespace;
mod delete_override;
mod get_count;
mod get_override;
mod limit;
mod list_namespaces;
mod list_overrides;
mod multi_limit;
mod namespace;
mod set_override;

pub use create_namespace::CreateNamespace;
pub use delete_namespace::DeleteNamespace;
pub use delete_override::DeleteOverride;
pub use get_count::GetCount;
pub use get_override::GetOverride;
pub use limit::Limit;
pub use list_namespaces::ListNamespaces;
pub use list_overrides::ListOverrides;
pub use multi_limit::MultiLimit;
pub use set_override::SetOverride;
