CREATE TABLE "token_ledger"."admin_action" (
	"action_id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "token_ledger"."admin_action_action_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"occurred_at" timestamp with time zone DEFAULT token_ledger.clock() NOT NULL,
	"actor_user_id" uuid,
	"action" text NOT NULL,
	"target_user_id" uuid,
	"family_id" uuid,
	"role" text,
	"reason" text,
	CONSTRAINT "admin_action_known" CHECK ("token_ledger"."admin_action"."action" in ('user_created', 'role_set', 'user_disabled', 'user_enabled', 'user_erased', 'session_revoked', 'sessions_revoked', 'ledger_archived')),
	CONSTRAINT "admin_action_reason_short" CHECK (length("token_ledger"."admin_action"."reason") <= 500)
);
--> statement-breakpoint
CREATE INDEX "admin_action_by_target" ON "token_ledger"."admin_action" USING btree ("target_user_id","action_id");--> statement-breakpoint
CREATE INDEX "admin_action_by_family" ON "token_ledger"."admin_action" USING btree ("family_id");--> statement-breakpoint
CREATE INDEX "token_event_by_time" ON "token_ledger"."token_event" USING brin ("occurred_at") WITH (autosummarize=true);--> statement-breakpoint
CREATE INDEX "token_event_reuse" ON "token_ledger"."token_event" USING btree ("occurred_at","family_id") WHERE "token_ledger"."token_event"."kind" = 'reuse_detected';