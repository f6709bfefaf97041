-- What a person is asked before an assistant's call is acted on: a question that was put, an approval that is waited for,
-- or one that was given. Each is good for one call of one root key, and goes when its time is over. `arguments` and
-- `target` are digests: of the call, and of what the person was shown.
CREATE TABLE confirmations (
    id TEXT NOT NULL PRIMARY KEY,
    workspace_id TEXT NOT NULL,
    root_key_id TEXT NOT NULL,
    operation TEXT NOT NULL,
    arguments TEXT NOT NULL,
    target TEXT NOT NULL,
    -- In lines, of approvals alone.
    question TEXT,
    -- asked, held, approved, refused or spent
    state TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX confirmations_by_expiry ON confirmations (expires_at);
CREATE INDEX confirmations_by_call ON confirmations (workspace_id, root_key_id, operation, arguments);
