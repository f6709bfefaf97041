-- Of a key that a reroll ends: the key in its place, and the expiry that it had before.
ALTER TABLE keys ADD COLUMN successor_id TEXT;
ALTER TABLE keys ADD COLUMN expires_before_reroll BIGINT;
ALTER TABLE root_keys ADD COLUMN successor_id TEXT;
ALTER TABLE root_keys ADD COLUMN expires_before_reroll BIGINT;
