-- Where the hash chain of a workspace's audit log begins, once retention has removed its oldest entries.
CREATE TABLE audit_anchors (
    workspace_id TEXT PRIMARY KEY REFERENCES workspaces (id),
    -- Place and hash of the last entry that was removed.
    sequence BIGINT NOT NULL,
    hash TEXT NOT NULL
);

-- When a change was made, so that the feed can forget it. Rows from before this step are old.
ALTER TABLE changes ADD COLUMN time BIGINT NOT NULL DEFAULT 0;
-- The generation up to which the feed has forgotten what changed: who has seen less than that reads
-- everything anew.
ALTER TABLE workspaces ADD COLUMN forgotten_generation BIGINT NOT NULL DEFAULT 0;

-- What retention looks for.
CREATE INDEX deleted_keys ON keys (workspace_id, deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX expiring_keys ON keys (workspace_id, expires_at) WHERE expires_at IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX deleted_overrides ON ratelimit_overrides (workspace_id, deleted_at) WHERE deleted_at IS NOT NULL;
