-- Uploads that take more than one request. Each has an intent of the same id, which nobody owns
-- (its owner is empty) while no request works on it.
CREATE TABLE sessions (
    id           TEXT   NOT NULL PRIMARY KEY,
    kind         TEXT   NOT NULL,
    tenant       TEXT   NOT NULL,
    customer     TEXT   NOT NULL,
    stored_name  TEXT   NOT NULL,
    display_name TEXT   NOT NULL,
    content_type TEXT,
    length       BIGINT,
    sha256       TEXT,
    received     BIGINT NOT NULL,
    state        TEXT,
    metadata     TEXT,
    wanted_at    BIGINT,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL
);
CREATE INDEX sessions_of_tenant ON sessions (tenant, customer);
CREATE INDEX sessions_expiring ON sessions (expires_at);

-- What sessions have become, for as long as their clients may ask: the record as it was then.
CREATE TABLE finished (
    upload       TEXT   NOT NULL PRIMARY KEY,
    id           TEXT   NOT NULL,
    tenant       TEXT   NOT NULL,
    customer     TEXT   NOT NULL,
    stored_name  TEXT   NOT NULL,
    display_name TEXT   NOT NULL,
    content_type TEXT   NOT NULL,
    size         BIGINT NOT NULL,
    sha256       TEXT,
    width        BIGINT NOT NULL,
    height       BIGINT NOT NULL,
    object_etag  TEXT   NOT NULL,
    version      BIGINT NOT NULL,
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL,
    metadata     TEXT,
    expires_at   BIGINT NOT NULL
);
CREATE INDEX finished_of_tenant ON finished (tenant, customer);
CREATE INDEX finished_of_image ON finished (id);
CREATE INDEX finished_expiring ON finished (expires_at);

-- Images whose bytes are still to be hashed.
CREATE INDEX images_unhashed ON images (updated_at) WHERE sha256 IS NULL;

-- What this installation's own links are signed with.
CREATE TABLE signing_keys (
    id  TEXT NOT NULL PRIMARY KEY,
    secret TEXT NOT NULL
);
