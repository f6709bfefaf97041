-- On SQLite narrow tables become the index of their primary key. PostgreSQL has no such tables.
SELECT 1;
