-- Narrow tables become the index of their primary key: a row that is written or removed touches one tree of pages
-- instead of two. A row that belongs to nothing, which only a damaged file has, is left behind: it must not stop a start.
CREATE TABLE changes_anew (
    workspace_id TEXT NOT NULL REFERENCES workspaces (id),
    generation BIGINT NOT NULL,
    position BIGINT NOT NULL,
    subject_kind TEXT NOT NULL,
    subject_id TEXT NOT NULL,
    -- When the change was made, so that the feed can forget it. Rows from before step 7 are old.
    time BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (workspace_id, generation, position)
) WITHOUT ROWID;
INSERT INTO changes_anew (workspace_id, generation, position, subject_kind, subject_id, time)
    SELECT workspace_id, generation, position, subject_kind, subject_id, time FROM changes
    WHERE workspace_id IN (SELECT id FROM workspaces);
DROP TABLE changes;
ALTER TABLE changes_anew RENAME TO changes;

-- Balances, apart from their keys: deductions rewrite this narrow row and no other.
-- No row, or a null balance, means unlimited.
CREATE TABLE credits_anew (
    key_id TEXT PRIMARY KEY REFERENCES keys (id),
    remaining BIGINT CHECK (remaining >= 0),
    refill_amount BIGINT,
    -- Null means daily.
    refill_day BIGINT,
    -- Days since 1970-01-01 (UTC) up to which refills are settled.
    refilled_on BIGINT,
    -- The balance before the last one.
    refilled_from BIGINT
) WITHOUT ROWID;
INSERT INTO credits_anew (key_id, remaining, refill_amount, refill_day, refilled_on, refilled_from)
    SELECT key_id, remaining, refill_amount, refill_day, refilled_on, refilled_from FROM credits
    WHERE key_id IN (SELECT id FROM keys);
DROP TABLE credits;
ALTER TABLE credits_anew RENAME TO credits;
CREATE INDEX credits_with_refill ON credits (refilled_on) WHERE refill_amount IS NOT NULL;

CREATE TABLE key_permissions_anew (
    key_id TEXT NOT NULL REFERENCES keys (id),
    permission_id TEXT NOT NULL REFERENCES permissions (id),
    PRIMARY KEY (key_id, permission_id)
) WITHOUT ROWID;
INSERT INTO key_permissions_anew (key_id, permission_id) SELECT key_id, permission_id FROM key_permissions
    WHERE key_id IN (SELECT id FROM keys) AND permission_id IN (SELECT id FROM permissions);
DROP TABLE key_permissions;
ALTER TABLE key_permissions_anew RENAME TO key_permissions;
CREATE INDEX key_permissions_by_permission ON key_permissions (permission_id);

CREATE TABLE key_roles_anew (
    key_id TEXT NOT NULL REFERENCES keys (id),
    role_id TEXT NOT NULL REFERENCES roles (id),
    PRIMARY KEY (key_id, role_id)
) WITHOUT ROWID;
INSERT INTO key_roles_anew (key_id, role_id) SELECT key_id, role_id FROM key_roles
    WHERE key_id IN (SELECT id FROM keys) AND role_id IN (SELECT id FROM roles);
DROP TABLE key_roles;
ALTER TABLE key_roles_anew RENAME TO key_roles;
CREATE INDEX key_roles_by_role ON key_roles (role_id);

-- What entries were done to. Entries from before step 10 are filed at the next start.
CREATE TABLE audit_targets_anew (
    workspace_id TEXT NOT NULL,
    target_id TEXT NOT NULL,
    time BIGINT NOT NULL,
    sequence BIGINT NOT NULL,
    PRIMARY KEY (workspace_id, target_id, time, sequence)
) WITHOUT ROWID;
INSERT INTO audit_targets_anew (workspace_id, target_id, time, sequence)
    SELECT workspace_id, target_id, time, sequence FROM audit_targets;
DROP TABLE audit_targets;
ALTER TABLE audit_targets_anew RENAME TO audit_targets;

-- Place and hash of the newest entry of each workspace, written together with it: what is cut off is missed. It
-- names a workspace whose row is gone, too, and therefore refers to none.
CREATE TABLE audit_heads_anew (
    workspace_id TEXT PRIMARY KEY,
    sequence BIGINT NOT NULL,
    hash TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO audit_heads_anew (workspace_id, sequence, hash) SELECT workspace_id, sequence, hash FROM audit_heads
    WHERE workspace_id IS NOT NULL;
DROP TABLE audit_heads;
ALTER TABLE audit_heads_anew RENAME TO audit_heads;
