-- The outbox is the backlog: an entry stays from acceptance until its call is claimed. What a queue
-- holds is a window of it.
--
--   scheduled  not due yet; `returns_at` is when it is
--   waiting    due, in nobody's hands
--   taken      handed to the queue by the process `taken_by`; waits again from `returns_at` on
--
-- Every queued call gets an entry. Those that are due become `waiting` when they are looked for.
DROP TABLE outbox;
CREATE TABLE outbox (
    number     BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    call_id    TEXT COLLATE "C" NOT NULL UNIQUE REFERENCES calls (id) ON DELETE CASCADE,
    project_id TEXT COLLATE "C" NOT NULL,
    state      TEXT COLLATE "C" NOT NULL CHECK (state IN ('scheduled', 'waiting', 'taken')),
    not_before BIGINT NOT NULL,
    priority   BIGINT NOT NULL,
    returns_at BIGINT,
    taken_by   TEXT COLLATE "C",
    CHECK ((state = 'waiting') = (returns_at IS NULL))
);
-- Entries are taken project by project: the next project is one step in it, as is its next entry.
CREATE INDEX outbox_lanes ON outbox (state, project_id, priority DESC, not_before, number);
CREATE INDEX outbox_returning ON outbox (returns_at) WHERE returns_at IS NOT NULL;
INSERT INTO outbox (call_id, project_id, state, not_before, priority, returns_at)
SELECT id, project_id, 'scheduled', not_before, priority, not_before FROM calls WHERE state = 'queued' ORDER BY id;

-- What the sweep of lost calls needed.
DROP INDEX calls_queued;
ALTER TABLE calls DROP COLUMN dispatched_at;
