-- What has come of the steps behind an image's upload. Of the content that the image has now, if it
-- is that upload's.
CREATE TABLE results (
    image       TEXT COLLATE "C" NOT NULL,
    step        TEXT COLLATE "C" NOT NULL,
    tenant      TEXT COLLATE "C" NOT NULL,
    upload      TEXT COLLATE "C" NOT NULL,
    object      TEXT COLLATE "C",
    object_etag TEXT COLLATE "C",
    output      TEXT COLLATE "C",
    error       TEXT COLLATE "C",
    finished_at BIGINT NOT NULL,
    PRIMARY KEY (image, step)
);
CREATE INDEX results_of_object ON results (object) WHERE object IS NOT NULL;
