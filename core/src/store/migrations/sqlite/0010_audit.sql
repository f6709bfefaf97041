-- Searching the audit log by thing, event, actor, request and time, newest first: by time, and within a
-- millisecond by place in the chain.

-- What entries were done to. Entries from before this step are filed at the next start.
CREATE TABLE audit_targets (
    workspace_id TEXT NOT NULL,
    target_id TEXT NOT NULL,
    time BIGINT NOT NULL,
    sequence BIGINT NOT NULL,
    PRIMARY KEY (workspace_id, target_id, time, sequence)
);

-- The id in `actor`; null in an entry that is not filed yet.
ALTER TABLE audit_logs ADD COLUMN actor_id TEXT;
-- What was changed, as a JSON list.
ALTER TABLE audit_logs ADD COLUMN changes TEXT;
-- How its hash was made.
ALTER TABLE audit_logs ADD COLUMN format BIGINT NOT NULL DEFAULT 1;

CREATE INDEX audit_logs_by_time ON audit_logs (workspace_id, time, sequence);
CREATE INDEX audit_logs_by_event ON audit_logs (workspace_id, event, time, sequence);
CREATE INDEX audit_logs_by_actor ON audit_logs (workspace_id, actor_id, time, sequence);
CREATE INDEX audit_logs_by_correlation ON audit_logs (workspace_id, correlation_id, time, sequence)
    WHERE correlation_id IS NOT NULL;

-- Place and hash of the newest entry of each workspace, written together with it: what is cut off is missed. It
-- names a workspace whose row is gone, too, and therefore refers to none.
CREATE TABLE audit_heads (
    workspace_id TEXT PRIMARY KEY,
    sequence BIGINT NOT NULL,
    hash TEXT NOT NULL
);
INSERT INTO audit_heads (workspace_id, sequence, hash)
    SELECT l.workspace_id, l.sequence, l.hash FROM audit_logs l
    WHERE l.sequence = (SELECT MAX(m.sequence) FROM audit_logs m WHERE m.workspace_id = l.workspace_id);
INSERT INTO audit_heads (workspace_id, sequence, hash)
    SELECT a.workspace_id, a.sequence, a.hash FROM audit_anchors a
    WHERE NOT EXISTS (SELECT 1 FROM audit_heads h WHERE h.workspace_id = a.workspace_id);
