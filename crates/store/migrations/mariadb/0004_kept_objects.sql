-- Results and logs that lie outside the database. A row is there before its object is written and
-- until it is removed; one without a call is removed from `remove_after` on, by `node` where only
-- that server can reach it.
CREATE TABLE IF NOT EXISTS kept_objects (
    id           VARCHAR(64) NOT NULL PRIMARY KEY,
    project_id   VARCHAR(64) NOT NULL,
    node         VARCHAR(64),
    call_id      VARCHAR(64),
    parts        BIGINT NOT NULL,
    remove_after BIGINT NOT NULL,
    KEY kept_objects_by_call (call_id, remove_after),
    CONSTRAINT objects_have_a_call FOREIGN KEY (call_id) REFERENCES calls (id) ON DELETE SET NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- What is kept of a call's result and log, wherever it lies, bytes.
ALTER TABLE calls ADD COLUMN IF NOT EXISTS output_bytes BIGINT NOT NULL DEFAULT 0;
UPDATE calls JOIN call_outputs o ON o.call_id = calls.id SET calls.output_bytes = length(o.result) + length(o.log);
CREATE INDEX IF NOT EXISTS calls_with_output ON calls (project_id, finished_at, output_bytes);
