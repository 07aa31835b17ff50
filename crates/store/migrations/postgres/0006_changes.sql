-- Which app was changed, in the order of the changes: what processes on one database follow to drop
-- what they keep in memory. Not a sequence: its lower numbers may be committed after higher ones,
-- and a follower would pass them by. Whoever adds a row takes the next number under a lock that it
-- holds until its commit.
CREATE TABLE changes (
    number     BIGINT PRIMARY KEY,
    app_id     TEXT COLLATE "C" NOT NULL,
    changed_at BIGINT NOT NULL
);
