-- What every process follows: the few events that end a session, by time. Refreshes do not touch it.
CREATE INDEX "token_event_ends" ON "token_ledger"."token_event" USING btree ("occurred_at","family_id") WHERE "token_ledger"."token_event"."kind" in ('revoked', 'reuse_detected');
