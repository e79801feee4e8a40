-- Finds what is due of each subject, and which subjects wait, without reading the jobs of the others.
DROP INDEX jobs_of_subject;
CREATE INDEX jobs_of_subject ON jobs (queue, subject, due_at) WHERE due_at IS NOT NULL;
-- Dead letters, by what they are about and by age.
CREATE INDEX jobs_dead_of_subject ON jobs (queue, subject) WHERE due_at IS NULL;
CREATE INDEX jobs_dead ON jobs (queue, died_at) WHERE due_at IS NULL;
