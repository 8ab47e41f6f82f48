-- Orders that wait at their CA are asked after beside those that wait for their turn, however many those are.
CREATE INDEX attempts_polls ON attempts (upstream, due_at) WHERE pending = 1 AND state = 'waiting';
