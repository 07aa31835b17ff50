-- Which app was changed, in the order of the changes: what processes on one database follow to drop
-- what they keep in memory. A number is never used twice.
CREATE TABLE changes (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    app_id     TEXT NOT NULL,
    changed_at INTEGER NOT NULL
);
