-- Recoverable keys: a data key per workspace, sealed under the master key, and sealed plaintexts.

CREATE TABLE data_keys (
    id TEXT COLLATE "C" PRIMARY KEY,
    workspace_id TEXT COLLATE "C" NOT NULL UNIQUE REFERENCES workspaces (id),
    -- Which master key sealed it.
    master_key_id TEXT NOT NULL,
    sealed TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT
);

CREATE TABLE encrypted_keys (
    key_id TEXT COLLATE "C" PRIMARY KEY REFERENCES keys (id),
    data_key_id TEXT COLLATE "C" NOT NULL REFERENCES data_keys (id),
    sealed TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
