-- Lists of identities are read by workspace in the order of ids, and a deletion looks for an older identity
-- with the same external id.
CREATE INDEX identities_by_workspace ON identities (workspace_id, id) WHERE deleted_at IS NULL;
CREATE INDEX deleted_identities ON identities (workspace_id, external_id) WHERE deleted_at IS NOT NULL;
