-- The outbox is the backlog: an entry stays from acceptance until its call is claimed. What a queue
-- holds is a window of it.
--
--   scheduled  not due yet; `returns_at` is when it is
--   waiting    due, in nobody's hands
--   taken      handed to the queue by the process `taken_by`; waits again from `returns_at` on
--
-- Every queued call gets an entry. Those that are due become `waiting` when they are looked for.
DROP TABLE IF EXISTS outbox;

-- Entries are taken project by project: the next project is one step in the index, as is its next entry.
CREATE TABLE outbox (
    number     BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    call_id    VARCHAR(64) NOT NULL,
    project_id VARCHAR(64) NOT NULL,
    state      VARCHAR(16) NOT NULL CHECK (state IN ('scheduled', 'waiting', 'taken')),
    not_before BIGINT NOT NULL,
    priority   BIGINT NOT NULL,
    returns_at BIGINT,
    taken_by   VARCHAR(64),
    UNIQUE KEY outbox_by_call (call_id),
    KEY outbox_lanes (state, project_id, priority DESC, not_before, number),
    KEY outbox_returning (returns_at),
    CONSTRAINT entries_have_a_call FOREIGN KEY (call_id) REFERENCES calls (id) ON DELETE CASCADE
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

INSERT INTO outbox (call_id, project_id, state, not_before, priority, returns_at)
SELECT id, project_id, 'scheduled', not_before, priority, not_before FROM calls WHERE state = 'queued' ORDER BY id;

-- What the sweep of lost calls needed.
ALTER TABLE calls DROP COLUMN IF EXISTS dispatched_at;
