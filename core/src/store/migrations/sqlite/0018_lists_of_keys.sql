-- Lists of keys: in the order of their creation, of a workspace and of an API, in that of their expiry, and found by the
-- beginning of their name or of their first characters.
CREATE INDEX keys_by_creation ON keys (workspace_id, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX keys_of_api_by_creation ON keys (api_id, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX keys_by_name ON keys (workspace_id, LOWER(name), id) WHERE name IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX keys_by_start ON keys (workspace_id, start, id) WHERE deleted_at IS NULL;
DROP INDEX expiring_keys;
CREATE INDEX expiring_keys ON keys (workspace_id, expires_at, id) WHERE expires_at IS NOT NULL AND deleted_at IS NULL;
