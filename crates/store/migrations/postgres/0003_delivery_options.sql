-- Delivery options of routes, what each call took over of them, and callers' names for requests.
ALTER TABLE routes ADD COLUMN delivery TEXT NOT NULL DEFAULT '{}' CHECK (delivery::json IS NOT NULL);
ALTER TABLE calls ADD COLUMN delivery TEXT NOT NULL DEFAULT '{}' CHECK (delivery::json IS NOT NULL);
-- How many calls caused each other before it.
ALTER TABLE calls ADD COLUMN depth BIGINT NOT NULL DEFAULT 0;
-- When it was first due, at acceptance or at the last retry by hand; `not_before` moves with each
-- further run.
ALTER TABLE calls ADD COLUMN due_at BIGINT NOT NULL DEFAULT 0;
-- Runs that failed in a way that its retry policy repeats, since `queued_at`.
ALTER TABLE calls ADD COLUMN failed_runs BIGINT NOT NULL DEFAULT 0;
UPDATE calls SET due_at = not_before;

-- SHA-256 of keys and requests, in hex.
CREATE TABLE idempotency_keys (
    route_id     TEXT COLLATE "C" NOT NULL,
    key_hash     TEXT COLLATE "C" NOT NULL,
    request_hash TEXT COLLATE "C" NOT NULL,
    call_id      TEXT COLLATE "C" NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
    expires_at   BIGINT NOT NULL,
    PRIMARY KEY (route_id, key_hash)
);

CREATE INDEX idempotency_keys_by_call ON idempotency_keys (call_id);
CREATE INDEX idempotency_keys_by_end ON idempotency_keys (expires_at);
