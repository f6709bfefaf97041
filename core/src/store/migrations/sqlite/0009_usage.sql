-- How much each workspace used, by hour (since 1970-01-01 UTC), kind of decision and outcome.
CREATE TABLE usage_hours (
    workspace_id TEXT NOT NULL REFERENCES workspaces (id),
    hour BIGINT NOT NULL,
    kind TEXT NOT NULL,
    outcome TEXT NOT NULL,
    count BIGINT NOT NULL,
    PRIMARY KEY (workspace_id, hour, kind, outcome)
);
