-- Call ids on their way from a process that accepted a call to one that runs it.
-- Times are integers in microseconds since the Unix epoch.

CREATE TABLE queue_entries (
    -- AUTOINCREMENT: a number is never used twice, so a late receipt hits nothing else.
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    call_id    TEXT NOT NULL UNIQUE,
    not_before INTEGER NOT NULL,
    priority   INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 2),
    -- Not to be delivered before: `not_before` while it waits, later while someone has it.
    visible_at INTEGER NOT NULL CHECK (visible_at >= not_before),
    -- Counts publications and deliveries: a receipt is good for one of them.
    fence      INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX queue_entries_due ON queue_entries (priority, not_before);
CREATE INDEX queue_entries_by_visibility ON queue_entries (visible_at);
