-- The sequencer reads only the events that it takes in, whatever waits behind them. Older processes may run beside this: yes, because it changes no result.

-- An index has the events in the order of the log. A plan that sorts them reads all that wait, again for every batch.
alter function token_ledger.append_leaves() set enable_sort = off;
