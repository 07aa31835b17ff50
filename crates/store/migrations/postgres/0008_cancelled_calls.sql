-- What a change is about, where it is no app: a call that its owner wants to end, which the process that
-- runs it is to hear at once.
ALTER TABLE changes ADD COLUMN cancelled_call TEXT COLLATE "C";

-- Who resolves and pulls the image of a version, and until when others leave that to it.
CREATE TABLE preparations (
    version_id  TEXT COLLATE "C" PRIMARY KEY REFERENCES route_versions (id) ON DELETE CASCADE,
    lease_owner TEXT COLLATE "C" NOT NULL,
    lease_until BIGINT NOT NULL
);
