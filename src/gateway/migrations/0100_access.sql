-- Times are milliseconds since 1970 UTC.

-- API keys. Only the SHA-256 of a key is kept, in hex. The tenant is * where a key is for all.
CREATE TABLE api_keys (
    id           TEXT   NOT NULL PRIMARY KEY,
    hash         TEXT   NOT NULL UNIQUE,
    tenant       TEXT   NOT NULL,
    scopes       TEXT   NOT NULL,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT,
    revoked_at   BIGINT,
    last_used_at BIGINT
);

-- Tenants that something is said about. A limit is "requests a second/burst".
CREATE TABLE tenants (
    id           TEXT   NOT NULL PRIMARY KEY,
    suspended_at BIGINT,
    reads        TEXT,
    writes       TEXT,
    remote       TEXT
);
