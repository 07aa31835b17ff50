-- What a change is about, where it is no app: a call that its owner wants to end, which the process that
-- runs it is to hear at once.
ALTER TABLE changes ADD COLUMN IF NOT EXISTS cancelled_call VARCHAR(64);

-- Who resolves and pulls the image of a version, and until when others leave that to it.
CREATE TABLE IF NOT EXISTS preparations (
    version_id  VARCHAR(64) NOT NULL PRIMARY KEY,
    lease_owner VARCHAR(64) NOT NULL,
    lease_until BIGINT NOT NULL,
    CONSTRAINT preparations_have_a_version FOREIGN KEY (version_id) REFERENCES route_versions (id) ON DELETE CASCADE
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;
