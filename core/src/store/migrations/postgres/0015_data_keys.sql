-- A workspace may have several data keys: after a change of the master key new plaintexts get a new one.
CREATE TABLE data_keys_anew (
    id TEXT COLLATE "C" PRIMARY KEY,
    workspace_id TEXT COLLATE "C" NOT NULL REFERENCES workspaces (id),
    -- Which master key sealed it.
    master_key_id TEXT NOT NULL,
    sealed TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    -- When it was sealed anew under another master key than the one it was made under.
    updated_at BIGINT
);
INSERT INTO data_keys_anew (id, workspace_id, master_key_id, sealed, created_at, updated_at)
    SELECT id, workspace_id, master_key_id, sealed, created_at, updated_at FROM data_keys;

CREATE TABLE encrypted_keys_anew (
    key_id TEXT COLLATE "C" PRIMARY KEY REFERENCES keys (id),
    data_key_id TEXT COLLATE "C" NOT NULL REFERENCES data_keys_anew (id),
    sealed TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
INSERT INTO encrypted_keys_anew (key_id, data_key_id, sealed, created_at)
    SELECT key_id, data_key_id, sealed, created_at FROM encrypted_keys;

DROP TABLE encrypted_keys;
DROP TABLE data_keys;
ALTER TABLE data_keys_anew RENAME TO data_keys;
ALTER TABLE encrypted_keys_anew RENAME TO encrypted_keys;
CREATE INDEX data_keys_by_workspace ON data_keys (workspace_id);
