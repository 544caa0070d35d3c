-- The sequencer reads the log by its indexes, also while the log has no statistics. Older processes may run beside this: yes, because it changes no result.

-- A plan that was made for an empty log would read all of it for each event.
alter function token_ledger.append_leaves() set enable_seqscan = off;
--> statement-breakpoint
alter function token_ledger.append_nodes(bigint, bigint) set enable_seqscan = off;
