-- A delivery names its call's project. What was here before comes back from the store's outbox.
DROP TABLE queue_entries;
CREATE TABLE queue_entries (
    -- AUTOINCREMENT: a number is never used twice, so a late receipt hits nothing else.
    number       INTEGER PRIMARY KEY AUTOINCREMENT,
    call_id      TEXT NOT NULL UNIQUE,
    project_id   TEXT NOT NULL,
    priority     INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 2),
    published_at INTEGER NOT NULL,
    -- Not to be delivered before: `published_at` while it waits, later while someone has it.
    visible_at   INTEGER NOT NULL CHECK (visible_at >= published_at),
    -- Counts publications and deliveries: a receipt is good for one of them.
    fence        INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX queue_entries_due ON queue_entries (priority, published_at);
CREATE INDEX queue_entries_by_visibility ON queue_entries (visible_at);
