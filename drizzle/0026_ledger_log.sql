-- The log of all hashes, which outsiders can check. Older processes may run beside this: yes, because triggers hash their admin actions, and a process of this version appends to the log.

CREATE TABLE "token_ledger"."log_checkpoint" (
	"checkpoint_id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"size" bigint NOT NULL,
	"root" "bytea" NOT NULL,
	"note" text NOT NULL,
	"signed_at" timestamp with time zone DEFAULT token_ledger.clock() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "token_ledger"."log_key" (
	"kid" text PRIMARY KEY NOT NULL,
	"sealed_private_key" "bytea" NOT NULL,
	"created_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "token_ledger"."log_leaf" (
	"leaf_index" bigint PRIMARY KEY NOT NULL,
	"family_id" uuid,
	"seq" integer,
	"action_id" bigint,
	"txid" "xid8" NOT NULL,
	"hash" "bytea" NOT NULL,
	CONSTRAINT "log_leaf_shape" CHECK (length("token_ledger"."log_leaf"."hash") = 32 and num_nonnulls("token_ledger"."log_leaf"."family_id", "token_ledger"."log_leaf"."seq") = case when "token_ledger"."log_leaf"."action_id" is null then 2 else 0 end)
);
--> statement-breakpoint
CREATE TABLE "token_ledger"."log_node" (
	"level" smallint NOT NULL,
	"node_index" bigint NOT NULL,
	"hash" "bytea" NOT NULL,
	CONSTRAINT "log_node_level_node_index_pk" PRIMARY KEY("level","node_index")
);
--> statement-breakpoint
ALTER TABLE "token_ledger"."admin_action" DROP CONSTRAINT "admin_action_known";--> statement-breakpoint
ALTER TABLE "token_ledger"."admin_action" ADD COLUMN "prev_hash" "bytea";--> statement-breakpoint
ALTER TABLE "token_ledger"."admin_action" ADD COLUMN "hash" "bytea";--> statement-breakpoint
ALTER TABLE "token_ledger"."admin_action" ADD COLUMN "txid" "xid8" DEFAULT pg_current_xact_id() NOT NULL;--> statement-breakpoint
CREATE UNIQUE INDEX "log_leaf_of_event" ON "token_ledger"."log_leaf" USING btree ("family_id","seq") WHERE "token_ledger"."log_leaf"."family_id" is not null;--> statement-breakpoint
CREATE UNIQUE INDEX "log_leaf_of_action" ON "token_ledger"."log_leaf" USING btree ("action_id") WHERE "token_ledger"."log_leaf"."action_id" is not null;--> statement-breakpoint
CREATE INDEX "admin_action_by_txid" ON "token_ledger"."admin_action" USING btree ("txid","action_id");--> statement-breakpoint
ALTER TABLE "token_ledger"."admin_action" ADD CONSTRAINT "admin_action_sizes" CHECK (length("token_ledger"."admin_action"."hash") = 32 and length("token_ledger"."admin_action"."prev_hash") = 32);--> statement-breakpoint
ALTER TABLE "token_ledger"."admin_action" ADD CONSTRAINT "admin_action_known" CHECK ("token_ledger"."admin_action"."action" in ('user_created', 'role_set', 'user_disabled', 'user_enabled', 'user_erased', 'session_revoked', 'sessions_revoked', 'ledger_archived', 'ledger_restored', 'checkpoint_overruled'));
--> statement-breakpoint
-- Version 1 is this list of fields, in the form of event_hash_of.
create function token_ledger.admin_action_hash(a token_ledger.admin_action) returns bytea
language sql stable parallel safe
return sha256(
  convert_to('token-ledger/admin-action/v1', 'UTF8')
  || int8send((a).action_id)
  || coalesce((a).prev_hash, decode(repeat('00', 32), 'hex'))
  || token_ledger.field(timestamptz_send((a).occurred_at))
  || token_ledger.field(uuid_send((a).actor_user_id))
  || token_ledger.field(convert_to((a).action, 'UTF8'))
  || token_ledger.field(uuid_send((a).target_user_id))
  || token_ledger.field(uuid_send((a).family_id))
  || token_ledger.field(convert_to((a).role, 'UTF8'))
  || token_ledger.field(convert_to((a).reason, 'UTF8'))
);
--> statement-breakpoint
insert into token_ledger.turn (name) values ('admin_actions'), ('log');
--> statement-breakpoint
alter table token_ledger.admin_action disable trigger refuse_change;
--> statement-breakpoint
do $$
declare
  each token_ledger.admin_action;
  before bytea;
begin
  for each in select * from token_ledger.admin_action order by action_id loop
    each.prev_hash := before;
    before := token_ledger.admin_action_hash(each);
    update token_ledger.admin_action a
    set prev_hash = each.prev_hash, hash = before
    where a.action_id = each.action_id;
  end loop;
end
$$;
--> statement-breakpoint
alter table token_ledger.admin_action enable always trigger refuse_change;
--> statement-breakpoint
alter table token_ledger.admin_action alter column hash set not null;
--> statement-breakpoint
-- One insertion at a time, as the last statement of its transaction: so the turn is held briefly. The number may have
-- been drawn before the turn was taken, and then it is drawn again.
create function token_ledger.chain_admin_action() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  last record;
begin
  perform token_ledger.take_turn('admin_actions');
  select a.action_id, a.hash, a.txid into last
  from token_ledger.admin_action a
  order by a.action_id desc
  limit 1;
  if new.action_id < last.action_id then
    new.action_id := nextval('token_ledger.admin_action_action_id_seq');
  end if;
  new.txid := greatest(pg_current_xact_id(), last.txid);
  new.prev_hash := last.hash;
  new.hash := token_ledger.admin_action_hash(new);
  return new;
end
$$;
--> statement-breakpoint
revoke all on function token_ledger.chain_admin_action() from public;
--> statement-breakpoint
create trigger chain_admin_action before insert on token_ledger.admin_action
for each row when (not token_ledger.is_applying())
execute function token_ledger.chain_admin_action();
--> statement-breakpoint
alter table token_ledger.admin_action enable always trigger chain_admin_action;
--> statement-breakpoint
create trigger refuse_change before update or delete on token_ledger.log_leaf
for each row execute function token_ledger.refuse_change();
--> statement-breakpoint
create trigger refuse_truncate before truncate on token_ledger.log_leaf
for each statement execute function token_ledger.refuse_change();
--> statement-breakpoint
create trigger refuse_change before update or delete on token_ledger.log_node
for each row execute function token_ledger.refuse_change();
--> statement-breakpoint
create trigger refuse_truncate before truncate on token_ledger.log_node
for each statement execute function token_ledger.refuse_change();
--> statement-breakpoint
create trigger refuse_change before update or delete on token_ledger.log_checkpoint
for each row execute function token_ledger.refuse_change();
--> statement-breakpoint
create trigger refuse_truncate before truncate on token_ledger.log_checkpoint
for each statement execute function token_ledger.refuse_change();
--> statement-breakpoint
create trigger refuse_delete before delete on token_ledger.log_key
for each row execute function token_ledger.refuse_change();
--> statement-breakpoint
create trigger refuse_truncate before truncate on token_ledger.log_key
for each statement execute function token_ledger.refuse_change();
--> statement-breakpoint
alter table token_ledger.log_leaf enable always trigger refuse_change;
--> statement-breakpoint
alter table token_ledger.log_leaf enable always trigger refuse_truncate;
--> statement-breakpoint
alter table token_ledger.log_node enable always trigger refuse_change;
--> statement-breakpoint
alter table token_ledger.log_node enable always trigger refuse_truncate;
--> statement-breakpoint
alter table token_ledger.log_checkpoint enable always trigger refuse_change;
--> statement-breakpoint
alter table token_ledger.log_checkpoint enable always trigger refuse_truncate;
--> statement-breakpoint
alter table token_ledger.log_key enable always trigger refuse_delete;
--> statement-breakpoint
alter table token_ledger.log_key enable always trigger refuse_truncate;
--> statement-breakpoint
-- Hashes 2^n nodes in pairs until one is left (RFC 6962).
create function token_ledger.fold_nodes(nodes bytea[]) returns bytea
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  while cardinality(nodes) > 1 loop
    nodes := array(
      select sha256('\x01'::bytea || nodes[2 * i - 1] || nodes[2 * i])
      from generate_series(1, cardinality(nodes) / 2) i
      order by i
    );
  end loop;
  return nodes[1];
end
$$;
--> statement-breakpoint
-- Adds the nodes that are complete once the log has grown to `size_after` leaves.
create function token_ledger.append_nodes(size_before bigint, size_after bigint) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  at_level smallint := 1;
  width bigint := 256;
begin
  while size_after / width > size_before / width loop
    for i in size_before / width .. size_after / width - 1 loop
      insert into token_ledger.log_node (level, node_index, hash)
      values (at_level, i, token_ledger.fold_nodes(
        case at_level
          when 1 then array(
            select sha256('\x00'::bytea || l.hash)
            from token_ledger.log_leaf l
            where l.leaf_index between 256 * i::bigint and 256 * i::bigint + 255
            order by l.leaf_index
          )
          else array(
            select n.hash
            from token_ledger.log_node n
            where n.level = at_level - 1 and n.node_index between 256 * i::bigint and 256 * i::bigint + 255
            order by n.node_index
          )
        end
      ));
    end loop;
    at_level := at_level + 1;
    width := width * 256;
  end loop;
end
$$;
--> statement-breakpoint
revoke all on function token_ledger.append_nodes(bigint, bigint) from public;
--> statement-breakpoint
-- In the order of the tail: by transaction, then events by family and seq, then admin actions. Only what is older than
-- every running transaction, so that no commit can add a row before the newest leaf. After a restore from a dump, rows
-- name transactions of another cluster, which this one has not reached: then every row is looked up in the log.
create function token_ledger.append_leaves() returns integer
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
declare
  no_family constant uuid := 'ffffffff-ffff-ffff-ffff-ffffffffffff';
  last record;
  newest_txid xid8;
  -- The first txid that this cluster has not reached, where rows name such.
  unreached xid8;
  size bigint;
  appended integer;
begin
  perform from token_ledger.turn t where t.name = 'log' for update skip locked;
  if not found then
    return null;
  end if;

  select l.leaf_index, l.txid, coalesce(l.family_id, no_family) as family_id, coalesce(l.seq, l.action_id) as place
  into last
  from token_ledger.log_leaf l
  order by l.leaf_index desc
  limit 1;
  size := coalesce(last.leaf_index + 1, 0);

  select found.txid into newest_txid
  from (
    (select e.txid from token_ledger.token_event e order by e.txid desc, e.family_id desc, e.seq desc limit 1)
    union all
    (select a.txid from token_ledger.admin_action a order by a.txid desc, a.action_id desc limit 1)
    union all
    select last.txid
  ) found
  order by found.txid desc nulls last
  limit 1;
  if newest_txid >= pg_snapshot_xmax(pg_current_snapshot()) then
    unreached := pg_snapshot_xmax(pg_current_snapshot());
  end if;
  if last.txid is null or unreached is not null then
    select null::bigint as leaf_index, '0'::xid8 as txid, '00000000-0000-0000-0000-000000000000'::uuid as family_id,
      0::bigint as place
    into last;
  end if;

  with event as (
    select e.txid, e.family_id, e.seq, e.hash
    from token_ledger.token_event e
    left join lateral (
      select true as is_logged
      from token_ledger.log_leaf l
      where l.family_id = e.family_id and l.seq = e.seq
      offset 0
    ) logged on true
    where (e.txid, e.family_id, e.seq) > (last.txid, last.family_id, last.place)
      and (e.txid < pg_snapshot_xmin(pg_current_snapshot()) or e.txid >= unreached)
      and logged.is_logged is null
    order by e.txid, e.family_id, e.seq
    limit 1000
  ),
  action as (
    select a.txid, a.action_id, a.hash
    from token_ledger.admin_action a
    where a.txid >= last.txid
      and (a.txid, no_family, a.action_id) > (last.txid, last.family_id, last.place)
      and (a.txid < pg_snapshot_xmin(pg_current_snapshot()) or a.txid >= unreached)
      and not exists (select from token_ledger.log_leaf l where l.action_id = a.action_id)
    order by a.txid, a.action_id
    limit 1000
  )
  insert into token_ledger.log_leaf (leaf_index, family_id, seq, action_id, txid, hash)
  select
    size - 1 + row_number() over (order by n.txid, coalesce(n.family_id, no_family), n.seq, n.action_id),
    n.family_id, n.seq, n.action_id, n.txid, n.hash
  from (
    select event.txid, event.family_id, event.seq, null::bigint as action_id, event.hash from event
    union all
    select action.txid, null, null, action.action_id, action.hash from action
    order by 1, 2 nulls last, 3, 4
    limit 1000
  ) n;
  get diagnostics appended = row_count;
  perform token_ledger.append_nodes(size, size + appended);
  return appended;
end
$$;
--> statement-breakpoint
revoke all on function token_ledger.append_leaves() from public;
--> statement-breakpoint
grant execute on function token_ledger.append_leaves() to token_ledger_app;
--> statement-breakpoint
grant select on token_ledger.log_leaf, token_ledger.log_node to token_ledger_app;
--> statement-breakpoint
grant select, insert (size, root, note) on token_ledger.log_checkpoint to token_ledger_app;
--> statement-breakpoint
grant select, insert, update (sealed_private_key) on token_ledger.log_key to token_ledger_app;
--> statement-breakpoint
create view token_audit.checkpoints as
select
  c.signed_at,
  c.size,
  encode(c.root, 'base64') as root,
  c.note
from token_ledger.log_checkpoint c;
--> statement-breakpoint
grant select on token_audit.checkpoints to token_ledger_auditor, token_ledger_app;
