-- Results and logs that lie outside the database. A row is there before its object is written and
-- until it is removed; one without a call is removed from `remove_after` on, by `node` where only
-- that server can reach it.
CREATE TABLE kept_objects (
    id           TEXT COLLATE "C" PRIMARY KEY,
    project_id   TEXT COLLATE "C" NOT NULL,
    node         TEXT COLLATE "C",
    call_id      TEXT COLLATE "C" REFERENCES calls (id) ON DELETE SET NULL,
    parts        BIGINT NOT NULL,
    remove_after BIGINT NOT NULL
);
CREATE INDEX kept_objects_by_call ON kept_objects (call_id);
CREATE INDEX kept_objects_removable ON kept_objects (remove_after) WHERE call_id IS NULL;

-- What is kept of a call's result and log, wherever it lies, bytes.
ALTER TABLE calls ADD COLUMN output_bytes BIGINT NOT NULL DEFAULT 0;
UPDATE calls SET output_bytes = length(o.result) + length(o.log) FROM call_outputs o WHERE o.call_id = calls.id;
CREATE INDEX calls_with_output ON calls (project_id, finished_at, output_bytes) WHERE output_bytes > 0;
