-- Work that is to be done. What is done has no row; times are milliseconds since 1970 UTC.
CREATE TABLE jobs (
    id          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    queue       TEXT COLLATE "C" NOT NULL,
    tenant      TEXT COLLATE "C" NOT NULL,
    -- What it is about, such as an image's id.
    subject     TEXT COLLATE "C" NOT NULL,
    -- Which of the queue's kinds of work.
    kind        TEXT COLLATE "C" NOT NULL,
    payload     TEXT COLLATE "C" NOT NULL,
    -- The runs that were begun.
    attempts    BIGINT NOT NULL DEFAULT 0,
    -- When it is to be looked at next: of a waiting one its time, of a running one the end of its
    -- lease. None: it is a dead letter.
    due_at      BIGINT,
    -- Who runs it.
    owner       TEXT COLLATE "C",
    -- Why the last run failed.
    error       TEXT COLLATE "C",
    created_at  BIGINT NOT NULL,
    -- Since when it has been tried: since it was added, or asked for again.
    tried_since BIGINT NOT NULL,
    died_at     BIGINT
);
CREATE INDEX jobs_due ON jobs (queue, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX jobs_of_tenant ON jobs (tenant, queue, kind);
CREATE INDEX jobs_of_subject ON jobs (subject);
