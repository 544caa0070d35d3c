-- A removed key stays removed, and a restored copy is noticed. Older processes may run beside this: yes, because they go on with the keys that they have loaded; only one that a newer process adds can they not decrypt.

CREATE TABLE "token_ledger"."incarnation" (
	"incarnation_id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"began_at" timestamp with time zone DEFAULT token_ledger.clock() NOT NULL,
	"copy_of" timestamp with time zone,
	"noticed_copy_of" timestamp with time zone
);
--> statement-breakpoint
CREATE TABLE "token_ledger"."process_mark" (
	"mark_id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"seen_at" timestamp with time zone DEFAULT token_ledger.clock() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "token_ledger"."signing_key_removal" (
	"kid" text PRIMARY KEY NOT NULL,
	"removed_at" timestamp with time zone DEFAULT token_ledger.clock() NOT NULL
);
--> statement-breakpoint
ALTER TABLE "token_ledger"."admin_action" DROP CONSTRAINT "admin_action_known";
--> statement-breakpoint
ALTER TABLE "token_ledger"."admin_action" ADD CONSTRAINT "admin_action_known" CHECK ("token_ledger"."admin_action"."action" in ('user_created', 'role_set', 'user_disabled', 'user_enabled', 'user_erased', 'session_revoked', 'sessions_revoked', 'ledger_archived', 'ledger_restored'));
--> statement-breakpoint
-- However a key is deleted, by any version.
create function token_ledger.remember_removed_key() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into token_ledger.signing_key_removal (kid) values (old.kid) on conflict do nothing;
  return null;
end
$$;
--> statement-breakpoint
revoke all on function token_ledger.remember_removed_key() from public;
--> statement-breakpoint
create trigger remember_removed_key after delete on token_ledger.signing_key
for each row execute function token_ledger.remember_removed_key();
--> statement-breakpoint
alter table token_ledger.signing_key enable always trigger remember_removed_key;
--> statement-breakpoint
create trigger refuse_change before update or delete on token_ledger.signing_key_removal
for each row execute function token_ledger.refuse_change();
--> statement-breakpoint
create trigger refuse_truncate before truncate on token_ledger.signing_key_removal
for each statement execute function token_ledger.refuse_change();
--> statement-breakpoint
alter table token_ledger.signing_key_removal enable always trigger refuse_change;
--> statement-breakpoint
alter table token_ledger.signing_key_removal enable always trigger refuse_truncate;
--> statement-breakpoint
grant select on token_ledger.signing_key_removal to token_ledger_app;
--> statement-breakpoint
-- All that a process changes in a row: it encrypts the key again after AUTH_SECRET has changed.
revoke update on token_ledger.signing_key from token_ledger_app;
--> statement-breakpoint
grant update (sealed_private_key) on token_ledger.signing_key to token_ledger_app;
--> statement-breakpoint
insert into token_ledger.turn (name) values ('incarnation');
--> statement-breakpoint
grant select, insert (copy_of), update (noticed_copy_of) on token_ledger.incarnation to token_ledger_app;
--> statement-breakpoint
grant select, insert, update, delete on token_ledger.process_mark to token_ledger_app;
