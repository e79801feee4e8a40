-- What a job was added within, for what its runs belong to: a traceparent (W3C Trace Context), and behind a
-- space the tracestate, if there is one.
ALTER TABLE jobs ADD COLUMN trace TEXT;
