-- What has become of images, in the order in which it was committed: numbered from 1 for each
-- tenant, without gaps. The columns behind image are the record's, as it was then.
CREATE TABLE events (
    tenant       TEXT COLLATE "C" NOT NULL,
    sequence     BIGINT NOT NULL,
    event        TEXT COLLATE "C" NOT NULL,
    type         TEXT COLLATE "C" NOT NULL,
    occurred_at  BIGINT NOT NULL,
    id           TEXT COLLATE "C" NOT NULL,
    customer     TEXT COLLATE "C" NOT NULL,
    stored_name  TEXT COLLATE "C" NOT NULL,
    display_name TEXT COLLATE "C" NOT NULL,
    content_type TEXT COLLATE "C" NOT NULL,
    size         BIGINT NOT NULL,
    sha256       TEXT COLLATE "C",
    width        BIGINT NOT NULL,
    height       BIGINT NOT NULL,
    object_etag  TEXT COLLATE "C" NOT NULL,
    upload       TEXT COLLATE "C" NOT NULL,
    version      BIGINT NOT NULL,
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL,
    PRIMARY KEY (tenant, sequence)
);
CREATE INDEX events_by_age ON events (occurred_at);

-- The number of the tenant's last event.
ALTER TABLE usage ADD COLUMN events BIGINT NOT NULL DEFAULT 0;
