-- Keyrack's tables. The same file exists for SQLite and PostgreSQL; a test keeps them equal but for
-- `COLLATE "C"`, which makes PostgreSQL order text by bytes as SQLite does.
-- Columns are TEXT and BIGINT only; flags are 0 or 1; times are Unix milliseconds; JSON is text.

CREATE TABLE workspaces (
    id TEXT COLLATE "C" PRIMARY KEY,
    name TEXT NOT NULL,
    enabled BIGINT NOT NULL DEFAULT 1,
    -- Counts the mutations of the workspace. Its row is the lock that every mutation takes first.
    generation BIGINT NOT NULL DEFAULT 0,
    requests_per_minute BIGINT,
    log_retention_days BIGINT,
    audit_retention_days BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT,
    deleted_at BIGINT
);

-- What changed, in the order of generations: how other processes keep their caches right.
CREATE TABLE changes (
    workspace_id TEXT COLLATE "C" NOT NULL REFERENCES workspaces (id),
    generation BIGINT NOT NULL,
    position BIGINT NOT NULL,
    subject_kind TEXT NOT NULL,
    subject_id TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (workspace_id, generation, position)
);

-- Keys of this program's own users. The plaintext is never stored; `hash` is the base64 of its SHA-256.
CREATE TABLE root_keys (
    id TEXT COLLATE "C" PRIMARY KEY,
    workspace_id TEXT COLLATE "C" NOT NULL REFERENCES workspaces (id),
    hash TEXT COLLATE "C" NOT NULL UNIQUE,
    start TEXT NOT NULL,
    ending TEXT NOT NULL,
    name TEXT,
    permissions TEXT NOT NULL,
    operator BIGINT NOT NULL DEFAULT 0,
    -- 1 for the key that the bootstrap setting made.
    bootstrap BIGINT NOT NULL DEFAULT 0,
    enabled BIGINT NOT NULL DEFAULT 1,
    expires_at BIGINT,
    last_used_at BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT,
    deleted_at BIGINT
);
CREATE INDEX root_keys_by_workspace ON root_keys (workspace_id, id);

-- An API and its key space, always a pair.
CREATE TABLE apis (
    id TEXT COLLATE "C" PRIMARY KEY,
    workspace_id TEXT COLLATE "C" NOT NULL REFERENCES workspaces (id),
    name TEXT NOT NULL,
    key_space_id TEXT COLLATE "C" NOT NULL UNIQUE,
    delete_protection BIGINT NOT NULL DEFAULT 0,
    ip_whitelist TEXT,
    default_prefix TEXT,
    default_bytes BIGINT,
    store_encrypted_keys BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL,
    updated_at BIGINT,
    deleted_at BIGINT
);
CREATE INDEX apis_by_workspace ON apis (workspace_id, id);

CREATE TABLE identities (
    id TEXT COLLATE "C" PRIMARY KEY,
    workspace_id TEXT COLLATE "C" NOT NULL REFERENCES workspaces (id),
    external_id TEXT COLLATE "C" NOT NULL,
    meta TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT,
    deleted_at BIGINT
);
CREATE UNIQUE INDEX live_identities ON identities (workspace_id, external_id) WHERE deleted_at IS NULL;

CREATE TABLE keys (
    id TEXT COLLATE "C" PRIMARY KEY,
    workspace_id TEXT COLLATE "C" NOT NULL REFERENCES workspaces (id),
    api_id TEXT COLLATE "C" NOT NULL REFERENCES apis (id),
    -- Unique over all workspaces, soft-deleted keys included.
    hash TEXT COLLATE "C" NOT NULL UNIQUE,
    start TEXT NOT NULL,
    name TEXT,
    identity_id TEXT COLLATE "C" REFERENCES identities (id),
    meta TEXT,
    enabled BIGINT NOT NULL DEFAULT 1,
    expires_at BIGINT,
    pending_migration_id TEXT COLLATE "C",
    last_used_at BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT,
    deleted_at BIGINT
);
CREATE INDEX keys_by_api ON keys (api_id, id);
CREATE INDEX keys_by_identity ON keys (identity_id, id);

-- Balances, apart from their keys: deductions rewrite this narrow row and no other.
-- No row, or a null balance, means unlimited.
CREATE TABLE credits (
    key_id TEXT COLLATE "C" PRIMARY KEY REFERENCES keys (id),
    remaining BIGINT CHECK (remaining >= 0),
    refill_amount BIGINT,
    -- Null means daily.
    refill_day BIGINT,
    -- Days since 1970-01-01 (UTC) up to which refills are settled.
    refilled_on BIGINT,
    -- The balance before the last one.
    refilled_from BIGINT
);
CREATE INDEX credits_with_refill ON credits (refilled_on) WHERE refill_amount IS NOT NULL;

-- Refills that a deduction settled and whose audit event is still to be written.
CREATE TABLE unrecorded_refills (
    key_id TEXT COLLATE "C" NOT NULL REFERENCES keys (id),
    workspace_id TEXT COLLATE "C" NOT NULL REFERENCES workspaces (id),
    refilled_on BIGINT NOT NULL,
    amount BIGINT NOT NULL,
    previous BIGINT NOT NULL,
    remaining BIGINT NOT NULL,
    PRIMARY KEY (key_id, refilled_on)
);
CREATE INDEX unrecorded_refills_by_workspace ON unrecorded_refills (workspace_id);

-- Limits that a key or an identity owns, exactly one of them.
CREATE TABLE ratelimits (
    id TEXT COLLATE "C" PRIMARY KEY,
    workspace_id TEXT COLLATE "C" NOT NULL REFERENCES workspaces (id),
    key_id TEXT COLLATE "C" REFERENCES keys (id),
    identity_id TEXT COLLATE "C" REFERENCES identities (id),
    name TEXT COLLATE "C" NOT NULL,
    limit_count BIGINT NOT NULL,
    duration_ms BIGINT NOT NULL,
    auto_apply BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL,
    updated_at BIGINT,
    CHECK ((key_id IS NULL) <> (identity_id IS NULL))
);
CREATE UNIQUE INDEX ratelimits_by_key ON ratelimits (key_id, name) WHERE key_id IS NOT NULL;
CREATE UNIQUE INDEX ratelimits_by_identity ON ratelimits (identity_id, name) WHERE identity_id IS NOT NULL;

CREATE TABLE permissions (
    id TEXT COLLATE "C" PRIMARY KEY,
    workspace_id TEXT COLLATE "C" NOT NULL REFERENCES workspaces (id),
    slug TEXT COLLATE "C" NOT NULL,
    name TEXT NOT NULL,
    description TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT,
    UNIQUE (workspace_id, slug)
);

CREATE TABLE roles (
    id TEXT COLLATE "C" PRIMARY KEY,
    workspace_id TEXT COLLATE "C" NOT NULL REFERENCES workspaces (id),
    name TEXT COLLATE "C" NOT NULL,
    description TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT,
    UNIQUE (workspace_id, name)
);

CREATE TABLE role_permissions (
    role_id TEXT COLLATE "C" NOT NULL REFERENCES roles (id),
    permission_id TEXT COLLATE "C" NOT NULL REFERENCES permissions (id),
    PRIMARY KEY (role_id, permission_id)
);
CREATE INDEX role_permissions_by_permission ON role_permissions (permission_id);

CREATE TABLE key_permissions (
    key_id TEXT COLLATE "C" NOT NULL REFERENCES keys (id),
    permission_id TEXT COLLATE "C" NOT NULL REFERENCES permissions (id),
    PRIMARY KEY (key_id, permission_id)
);
CREATE INDEX key_permissions_by_permission ON key_permissions (permission_id);

CREATE TABLE key_roles (
    key_id TEXT COLLATE "C" NOT NULL REFERENCES keys (id),
    role_id TEXT COLLATE "C" NOT NULL REFERENCES roles (id),
    PRIMARY KEY (key_id, role_id)
);
CREATE INDEX key_roles_by_role ON key_roles (role_id);

CREATE TABLE ratelimit_namespaces (
    id TEXT COLLATE "C" PRIMARY KEY,
    workspace_id TEXT COLLATE "C" NOT NULL REFERENCES workspaces (id),
    name TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT,
    deleted_at BIGINT,
    UNIQUE (workspace_id, name)
);

CREATE TABLE ratelimit_overrides (
    id TEXT COLLATE "C" PRIMARY KEY,
    workspace_id TEXT COLLATE "C" NOT NULL REFERENCES workspaces (id),
    namespace_id TEXT COLLATE "C" NOT NULL REFERENCES ratelimit_namespaces (id),
    -- The pattern; `*` stands for any run of characters.
    identifier TEXT COLLATE "C" NOT NULL,
    limit_count BIGINT NOT NULL,
    duration_ms BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT,
    deleted_at BIGINT,
    UNIQUE (namespace_id, identifier)
);

-- The audit log, a hash chain per workspace (see audit.rs for what is hashed).
CREATE TABLE audit_logs (
    id TEXT COLLATE "C" PRIMARY KEY,
    workspace_id TEXT COLLATE "C" NOT NULL REFERENCES workspaces (id),
    sequence BIGINT NOT NULL,
    time BIGINT NOT NULL,
    event TEXT NOT NULL,
    description TEXT NOT NULL,
    actor TEXT NOT NULL,
    targets TEXT NOT NULL,
    remote_ip TEXT,
    user_agent TEXT,
    correlation_id TEXT COLLATE "C",
    previous_hash TEXT NOT NULL,
    hash TEXT NOT NULL,
    UNIQUE (workspace_id, sequence)
);

-- Facts of the instance, such as that it was set up.
CREATE TABLE facts (
    name TEXT COLLATE "C" PRIMARY KEY,
    value TEXT NOT NULL
);
