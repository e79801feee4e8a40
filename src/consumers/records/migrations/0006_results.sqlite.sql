-- What has come of the steps behind an image's upload. Of the content that the image has now, if it
-- is that upload's.
CREATE TABLE results (
    image       TEXT   NOT NULL,
    step        TEXT   NOT NULL,
    tenant      TEXT   NOT NULL,
    upload      TEXT   NOT NULL,
    object      TEXT,
    object_etag TEXT,
    output      TEXT,
    error       TEXT,
    finished_at BIGINT NOT NULL,
    PRIMARY KEY (image, step)
) WITHOUT ROWID;
CREATE INDEX results_of_object ON results (object) WHERE object IS NOT NULL;
