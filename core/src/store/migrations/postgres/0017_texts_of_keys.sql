-- The beginning of a name or of a key is looked for in an index, which has to be in the order of bytes as SQLite's is.
ALTER TABLE keys ALTER COLUMN name TYPE TEXT COLLATE "C";
ALTER TABLE keys ALTER COLUMN start TYPE TEXT COLLATE "C";
