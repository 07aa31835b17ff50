-- Calls as their owners see them: names that outlive apps and routes, what was measured, results
-- and logs, and the indexes that lists and retention read.
ALTER TABLE calls ADD COLUMN app_name TEXT NOT NULL DEFAULT '';
ALTER TABLE calls ADD COLUMN route_path TEXT NOT NULL DEFAULT '';
ALTER TABLE calls ADD COLUMN version_number INTEGER NOT NULL DEFAULT 0;
-- At acceptance, or at the last retry.
ALTER TABLE calls ADD COLUMN queued_at INTEGER NOT NULL DEFAULT 0;
-- Leases that ended while the call ran, since `queued_at`.
ALTER TABLE calls ADD COLUMN lost_runs INTEGER NOT NULL DEFAULT 0;
ALTER TABLE calls ADD COLUMN cancel_requested INTEGER NOT NULL DEFAULT 0 CHECK (cancel_requested IN (0, 1));
-- The process that ran it last; `lease_owner` is cleared with the lease.
ALTER TABLE calls ADD COLUMN node TEXT;
ALTER TABLE calls ADD COLUMN http_status INTEGER;
ALTER TABLE calls ADD COLUMN cold_start INTEGER CHECK (cold_start IN (0, 1));

UPDATE calls SET
    queued_at = created_at,
    app_name = coalesce((SELECT full_name FROM apps WHERE apps.id = calls.app_id), ''),
    route_path = coalesce((SELECT pattern FROM routes WHERE routes.id = calls.route_id), ''),
    version_number = coalesce((SELECT number FROM route_versions v WHERE v.id = calls.version_id), 0);

CREATE INDEX calls_by_project ON calls (project_id, created_at, id);
CREATE INDEX calls_finished ON calls (project_id, finished_at) WHERE finished_at IS NOT NULL;

-- What a function answered and logged, encrypted as bodies are.
CREATE TABLE call_outputs (
    call_id TEXT PRIMARY KEY REFERENCES calls (id) ON DELETE CASCADE,
    key_id  TEXT NOT NULL,
    result  BLOB NOT NULL,
    log     BLOB NOT NULL
) STRICT;
