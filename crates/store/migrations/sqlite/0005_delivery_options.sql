-- Delivery options of routes, what each call took over of them, and callers' names for requests.
ALTER TABLE routes ADD COLUMN delivery TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(delivery));
ALTER TABLE calls ADD COLUMN delivery TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(delivery));
-- How many calls caused each other before it.
ALTER TABLE calls ADD COLUMN depth INTEGER NOT NULL DEFAULT 0;
-- When it was first due, at acceptance or at the last retry by hand; `not_before` moves with each
-- further run.
ALTER TABLE calls ADD COLUMN due_at INTEGER NOT NULL DEFAULT 0;
-- Runs that failed in a way that its retry policy repeats, since `queued_at`.
ALTER TABLE calls ADD COLUMN failed_runs INTEGER NOT NULL DEFAULT 0;
UPDATE calls SET due_at = not_before;

-- SHA-256 of keys and requests, in hex.
CREATE TABLE idempotency_keys (
    route_id     TEXT NOT NULL,
    key_hash     TEXT NOT NULL,
    request_hash TEXT NOT NULL,
    call_id      TEXT NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
    expires_at   INTEGER NOT NULL,
    PRIMARY KEY (route_id, key_hash)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_keys_by_call ON idempotency_keys (call_id);
CREATE INDEX idempotency_keys_by_end ON idempotency_keys (expires_at);
