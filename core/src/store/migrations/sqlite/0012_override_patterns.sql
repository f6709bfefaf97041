-- How many `*` a pattern has: there may be so many patterns, and fewer with several.
ALTER TABLE ratelimit_overrides ADD COLUMN stars BIGINT NOT NULL DEFAULT 0;
UPDATE ratelimit_overrides SET stars = LENGTH(identifier) - LENGTH(REPLACE(identifier, '*', ''));
CREATE INDEX override_patterns ON ratelimit_overrides (namespace_id, stars) WHERE deleted_at IS NULL AND stars > 0;
-- Deleted overrides are not gone through when those of a namespace are listed.
CREATE INDEX live_overrides ON ratelimit_overrides (namespace_id, id) WHERE deleted_at IS NULL;
