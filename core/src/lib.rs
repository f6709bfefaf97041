//! Keyrack's core: API keys, credits, rate limits, roles and permissions, and the
//! operations over them. Free of HTTP and of MCP.

pub mod keys;
pub mod ratelimit;
pub mod rbac;
