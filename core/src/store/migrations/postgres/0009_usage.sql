-- How much each workspace used, by hour (since 1970-01-01 UTC), kind of decision and outcome.
CREATE TABLE usage_hours (
    workspace_id TEXT COLLATE "C" NOT NULL REFERENCES workspaces (id),
    hour BIGINT NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    outcome TEXT COLLATE "C" NOT NULL,
    count BIGINT NOT NULL,
    PRIMARY KEY (workspace_id, hour, kind, outcome)
);
