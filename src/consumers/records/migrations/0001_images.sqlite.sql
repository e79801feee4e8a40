-- Ids are UUIDs as text, times are milliseconds since 1970 UTC, sizes are bytes.

-- An image that is whole and durable.
CREATE TABLE images (
    id           TEXT   NOT NULL PRIMARY KEY,
    tenant       TEXT   NOT NULL,
    customer     TEXT   NOT NULL,
    stored_name  TEXT   NOT NULL UNIQUE,
    display_name TEXT   NOT NULL,
    content_type TEXT   NOT NULL,
    size         BIGINT NOT NULL,
    sha256       TEXT,
    width        BIGINT NOT NULL,
    height       BIGINT NOT NULL,
    object_etag  TEXT   NOT NULL,
    upload       TEXT   NOT NULL,
    version      BIGINT NOT NULL,
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL
);
CREATE INDEX images_newest ON images (tenant, created_at DESC, id DESC);
CREATE INDEX images_newest_of_customer ON images (tenant, customer, created_at DESC, id DESC);

-- What is about to change the store: written before, gone after. Left over since left_at, once
-- nobody works on it any more; settle_at is when to look at it next.
CREATE TABLE intents (
    id             TEXT   NOT NULL PRIMARY KEY,
    kind           TEXT   NOT NULL,
    tenant         TEXT   NOT NULL,
    stored_name    TEXT   NOT NULL,
    owner          TEXT   NOT NULL,
    staged         TEXT,
    target         TEXT,
    customer       TEXT,
    display_name   TEXT,
    content_type   TEXT,
    size           BIGINT,
    sha256         TEXT,
    width          BIGINT,
    height         BIGINT,
    reserved_bytes  BIGINT NOT NULL,
    reserved_images BIGINT NOT NULL,
    created_at     BIGINT NOT NULL,
    left_at        BIGINT,
    settle_at      BIGINT
);
CREATE INDEX intents_of_tenant ON intents (tenant);
CREATE INDEX intents_of_owner ON intents (owner, settle_at);
CREATE INDEX intents_of_name ON intents (stored_name);

-- Whose turn it is to change the object of a name.
CREATE TABLE leases (
    stored_name TEXT NOT NULL PRIMARY KEY,
    intent      TEXT NOT NULL UNIQUE
);

-- The processes that are alive.
CREATE TABLE owners (
    id      TEXT   NOT NULL PRIMARY KEY,
    role    TEXT   NOT NULL,
    seen_at BIGINT NOT NULL
);

-- What each tenant's images come to.
CREATE TABLE usage (
    tenant TEXT   NOT NULL PRIMARY KEY,
    bytes  BIGINT NOT NULL,
    images BIGINT NOT NULL
);

-- Quotas of single tenants, where they differ from the settings'; a negative one is no limit.
CREATE TABLE quotas (
    tenant TEXT NOT NULL PRIMARY KEY,
    bytes  BIGINT,
    images BIGINT
);
