-- Texts of keys that wait to be shown by a one-time link. `id` is a digest of what the link says, and `sealed` is sealed
-- under a key that is made of the same: neither is stored, so the table alone opens nothing. It is emptied when the text is
-- shown; that it was is remembered for a while.
CREATE TABLE claims (
    id TEXT NOT NULL PRIMARY KEY,
    workspace_id TEXT NOT NULL,
    root_key_id TEXT NOT NULL,
    -- A key or a root key.
    key_id TEXT NOT NULL,
    sealed TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    claimed_at BIGINT
);
CREATE INDEX claims_by_expiry ON claims (expires_at);
CREATE INDEX claims_by_workspace ON claims (workspace_id, expires_at);
