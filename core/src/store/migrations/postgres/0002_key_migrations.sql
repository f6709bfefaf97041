-- Where keys were imported from, and how their hashes were made there: a key waits for its first
-- verification while its `pending_migration_id` names one of these.
CREATE TABLE key_migrations (
    id TEXT COLLATE "C" PRIMARY KEY,
    workspace_id TEXT COLLATE "C" NOT NULL REFERENCES workspaces (id),
    algorithm TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX key_migrations_by_workspace ON key_migrations (workspace_id, id);
