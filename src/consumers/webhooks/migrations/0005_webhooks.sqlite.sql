-- Where tenants want to be told of their events. Times are milliseconds since 1970 UTC.
CREATE TABLE webhooks (
    id              TEXT   NOT NULL PRIMARY KEY,
    tenant          TEXT   NOT NULL,
    url             TEXT   NOT NULL,
    description     TEXT  ,
    -- The types of events, each between blanks; '*' for all that there will ever be.
    types           TEXT   NOT NULL,
    -- What signs, as its receiver has it; and what was before it, which signs as well until then.
    secret          TEXT   NOT NULL,
    previous_secret TEXT  ,
    previous_until  BIGINT,
    disabled_at     BIGINT,
    disabled_why    TEXT  ,
    created_at      BIGINT NOT NULL
);
CREATE INDEX webhooks_of_tenant ON webhooks (tenant);
CREATE INDEX webhooks_enabled ON webhooks (tenant) WHERE disabled_at IS NULL;
CREATE INDEX webhooks_rotated ON webhooks (previous_until) WHERE previous_until IS NOT NULL;

-- Deliveries that have ended. Those that have not are jobs, and so are those that were given up.
CREATE TABLE deliveries (
    webhook     TEXT   NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    id          TEXT   NOT NULL,
    type        TEXT   NOT NULL,
    -- The job's: what is told, and of which event.
    payload     TEXT   NOT NULL,
    attempts    BIGINT NOT NULL,
    -- What the receiver answered, if it did.
    status      BIGINT,
    -- Why it failed; none: it is delivered.
    error       TEXT  ,
    ended_at    BIGINT NOT NULL,
    PRIMARY KEY (webhook, id)
) WITHOUT ROWID;
CREATE INDEX deliveries_by_age ON deliveries (ended_at);
