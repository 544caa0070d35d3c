-- Stale counts of the rate limits are found by an index. Older processes may run beside this: yes, because they never name it.
CREATE INDEX "rate_limit_expire" ON "token_ledger"."rate_limit" USING btree ("expire");
