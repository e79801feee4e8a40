-- Whether an image is held back until the gates among its steps let it pass.
ALTER TABLE images ADD COLUMN quarantined BIGINT NOT NULL DEFAULT 0;
ALTER TABLE events ADD COLUMN quarantined BIGINT NOT NULL DEFAULT 0;
ALTER TABLE finished ADD COLUMN quarantined BIGINT NOT NULL DEFAULT 0;

-- Of a gate: whether it has let the image pass. Null of other steps.
ALTER TABLE results ADD COLUMN passed BIGINT;
