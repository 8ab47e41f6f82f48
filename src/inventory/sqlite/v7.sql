-- What is due is looked for at one upstream at a time: a long queue at one of them costs the others nothing.
DROP INDEX attempts_due;
CREATE INDEX attempts_due ON attempts (upstream, due_at) WHERE pending = 1;
