//! What several operations on keys ask for, in the order in which a refusal names it.

use crate::authorization::Expression;

/// To issue keys of an API.
pub(super) const CREATE_KEY: Expression = Expression::Any(&[
    Expression::Leg("api.*.create_key"),
    Expression::Leg("api.{apiId}.create_key"),
    Expression::Leg("unkey:v1:{workspaceId}:keyspaces/{keySpaceId}#create_key"),
]);

/// To read a key.
pub(super) const READ_KEY: Expression = Expression::Any(&[
    Expression::Leg("api.*.read_key"),
    Expression::Leg("api.{apiId}.read_key"),
    Expression::Leg("unkey:v1:{workspaceId}:keyspaces/{keySpaceId}/keys/{keyId}#read_key"),
]);

/// To change a key.
pub(super) const UPDATE_KEY: Expression = Expression::Any(&[
    Expression::Leg("api.*.update_key"),
    Expression::Leg("api.{apiId}.update_key"),
    UPDATE_THIS_KEY,
]);

/// The same by the permission for a key itself, which is enough to give and take roles and permissions too.
pub(super) const UPDATE_THIS_KEY: Expression =
    Expression::Leg("unkey:v1:{workspaceId}:keyspaces/{keySpaceId}/keys/{keyId}#update_key");

/// The same by the permissions for APIs, which are not.
pub(super) const UPDATE_KEYS_OF_API: Expression =
    Expression::Any(&[Expression::Leg("api.*.update_key"), Expression::Leg("api.{apiId}.update_key")]);

/// To list the keys of an API: both to read keys and to read the API.
pub(in crate::operations) const LIST_KEYS: Expression = Expression::Any(&[
    Expression::All(&[
        Expression::Leg("unkey:v1:{workspaceId}:keyspaces/{keySpaceId}/keys/*#read_key"),
        Expression::Leg("unkey:v1:{workspaceId}:keyspaces/{keySpaceId}#read_keyspace"),
    ]),
    Expression::All(&[
        Expression::Any(&[Expression::Leg("api.*.read_key"), Expression::Leg("api.{apiId}.read_key")]),
        Expression::Any(&[Expression::Leg("api.*.read_api"), Expression::Leg("api.{apiId}.read_api")]),
    ]),
]);
