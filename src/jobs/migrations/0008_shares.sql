-- Finds what is due of each subject, and which subjects there are, without reading the jobs of the others.
DROP INDEX jobs_of_subject;
CREATE INDEX jobs_of_subject ON jobs (queue, subject, due_at);
