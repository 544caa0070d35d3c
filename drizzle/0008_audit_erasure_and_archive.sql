-- For the owner alone: taking a person out of the ledger, and closed months out of the live tables.

-- Nulls where the user was, on what, and what the device was called; also where the user acted on others. The hashes
-- stay, and so does the chain. Returns how many rows held something.
create function token_ledger.erase_traces(erased_user_id uuid) returns integer
language plpgsql
set search_path = pg_catalog, token_ledger
as $$
declare
  erased integer;
  renamed integer;
begin
  update token_ledger.token_event e
  set ip = null, user_agent = null, origin_salt = null
  where num_nonnulls(e.ip, e.user_agent, e.origin_salt) > 0
    and (
      e.actor_user_id = erased_user_id
      or e.family_id in (select f.family_id from token_ledger.token_family f where f.user_id = erased_user_id)
    );
  get diagnostics erased = row_count;
  update token_ledger.token_family f
  set device_name = null
  where f.user_id = erased_user_id and f.device_name is not null;
  get diagnostics renamed = row_count;
  return erased + renamed;
end
$$;
--> statement-breakpoint
-- The months that had ended by then, oldest first: their partitions, and the ids they hold.
create function token_ledger.closed_months(before timestamptz)
returns table (month text, first_id uuid, last_id uuid)
language plpgsql stable
set search_path = pg_catalog, token_ledger
set timezone = 'UTC'
as $$
declare
  part text;
  begins timestamptz;
begin
  for part in
    select c.relname
    from pg_inherits i
    join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'token_ledger.token_family'::regclass and c.relname ~ '^token_family_\d{6}$'
    order by c.relname
  loop
    month := right(part, 6);
    begins := to_timestamp(month, 'YYYYMM');
    continue when begins + interval '1 month' > least(before, token_ledger.clock());
    first_id := token_ledger.first_family_id(begins);
    last_id := token_ledger.last_family_id_before(begins + interval '1 month');
    return next;
  end loop;
end
$$;
--> statement-breakpoint
-- The highest id of the millisecond before.
create function token_ledger.last_family_id_before(at timestamptz) returns uuid
language sql immutable parallel safe
return (
  left(replace(token_ledger.first_family_id(at - interval '1 millisecond')::text, '-', ''), 12)
  || repeat('f', 20)
)::uuid;
--> statement-breakpoint
revoke all on function token_ledger.erase_traces(uuid), token_ledger.closed_months(timestamptz) from public;
