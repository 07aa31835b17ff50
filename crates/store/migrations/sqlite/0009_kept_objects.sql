-- Results and logs that lie outside the database. A row is there before its object is written and
-- until it is removed; one without a call is removed from `remove_after` on, by `node` where only
-- that server can reach it.
CREATE TABLE kept_objects (
    id           TEXT PRIMARY KEY,
    project_id   TEXT NOT NULL,
    node         TEXT,
    call_id      TEXT REFERENCES calls (id) ON DELETE SET NULL,
    parts        INTEGER NOT NULL,
    remove_after INTEGER NOT NULL
) STRICT;
CREATE INDEX kept_objects_by_call ON kept_objects (call_id);
CREATE INDEX kept_objects_removable ON kept_objects (remove_after) WHERE call_id IS NULL;

-- What is kept of a call's result and log, wherever it lies, bytes.
ALTER TABLE calls ADD COLUMN output_bytes INTEGER NOT NULL DEFAULT 0;
UPDATE calls SET output_bytes = (SELECT length(result) + length(log) FROM call_outputs WHERE call_id = calls.id)
WHERE id IN (SELECT call_id FROM call_outputs);
CREATE INDEX calls_with_output ON calls (project_id, finished_at, output_bytes) WHERE output_bytes > 0;
