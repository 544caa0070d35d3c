-- Generated, but for two things drizzle cannot say: the clock that defaults refer to, and the partitioning.
CREATE SCHEMA "token_ledger";
--> statement-breakpoint
-- The only clock: every expiry and every instant in the ledger comes from here, in whole milliseconds.
create function token_ledger.clock() returns timestamptz
language sql volatile
return date_trunc('milliseconds', clock_timestamp());
--> statement-breakpoint
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
CREATE TABLE "token_ledger"."rate_limit" (
	"key" varchar(255) PRIMARY KEY NOT NULL,
	"points" integer DEFAULT 0 NOT NULL,
	"expire" bigint
);
--> statement-breakpoint
CREATE TABLE "token_ledger"."signing_key" (
	"kid" text PRIMARY KEY NOT NULL,
	"public_jwk" jsonb NOT NULL,
	"sealed_private_key" "bytea" NOT NULL,
	"created_at" timestamp with time zone NOT NULL,
	"signs_from" timestamp with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "token_ledger"."token_event" (
	"family_id" uuid NOT NULL,
	"seq" integer NOT NULL,
	"kind" text NOT NULL,
	"generation" integer NOT NULL,
	"occurred_at" timestamp with time zone NOT NULL,
	"expires_at" timestamp with time zone,
	"absolute_expires_at" timestamp with time zone,
	"user_id" uuid,
	"transport" text,
	"token_hash" "bytea",
	"salt" "bytea",
	"attempt_hash" "bytea",
	"presented_generation" integer,
	"reason" text,
	"actor_user_id" uuid,
	"ip" "inet",
	"user_agent" text,
	"origin_salt" "bytea",
	"origin_hash" "bytea" NOT NULL,
	"prev_hash" "bytea",
	"hash" "bytea" NOT NULL,
	"txid" "xid8" DEFAULT pg_current_xact_id() NOT NULL,
	CONSTRAINT "token_event_family_id_seq_pk" PRIMARY KEY("family_id","seq"),
	CONSTRAINT "token_event_seq_positive" CHECK ("token_ledger"."token_event"."seq" >= 1),
	CONSTRAINT "token_event_expires_in_time" CHECK ("token_ledger"."token_event"."expires_at" <= "token_ledger"."token_event"."absolute_expires_at"),
	CONSTRAINT "token_event_whole_milliseconds" CHECK ("token_ledger"."token_event"."occurred_at" = date_trunc('milliseconds', "token_ledger"."token_event"."occurred_at")
        and "token_ledger"."token_event"."expires_at" = date_trunc('milliseconds', "token_ledger"."token_event"."expires_at")
        and "token_ledger"."token_event"."absolute_expires_at" = date_trunc('milliseconds', "token_ledger"."token_event"."absolute_expires_at")),
	CONSTRAINT "token_event_shape" CHECK ((case "token_ledger"."token_event"."kind"
        when 'issued' then "token_ledger"."token_event"."generation" = 0
          and num_nonnulls("token_ledger"."token_event"."expires_at", "token_ledger"."token_event"."user_id", "token_ledger"."token_event"."absolute_expires_at", "token_ledger"."token_event"."transport", "token_ledger"."token_event"."token_hash") = 5
          and num_nonnulls("token_ledger"."token_event"."salt", "token_ledger"."token_event"."attempt_hash", "token_ledger"."token_event"."presented_generation", "token_ledger"."token_event"."reason", "token_ledger"."token_event"."actor_user_id") = 0
        when 'rotated' then "token_ledger"."token_event"."generation" >= 1
          and num_nonnulls("token_ledger"."token_event"."expires_at", "token_ledger"."token_event"."absolute_expires_at", "token_ledger"."token_event"."token_hash", "token_ledger"."token_event"."salt") = 4
          and num_nonnulls("token_ledger"."token_event"."user_id", "token_ledger"."token_event"."transport", "token_ledger"."token_event"."presented_generation", "token_ledger"."token_event"."reason", "token_ledger"."token_event"."actor_user_id") = 0
        when 'replayed' then "token_ledger"."token_event"."presented_generation" = "token_ledger"."token_event"."generation" - 1
          and "token_ledger"."token_event"."reason" in ('same_attempt', 'grace_window')
          and num_nonnulls("token_ledger"."token_event"."expires_at", "token_ledger"."token_event"."user_id", "token_ledger"."token_event"."absolute_expires_at", "token_ledger"."token_event"."transport", "token_ledger"."token_event"."token_hash", "token_ledger"."token_event"."salt", "token_ledger"."token_event"."actor_user_id") = 0
        when 'reuse_detected' then "token_ledger"."token_event"."presented_generation" between 0 and "token_ledger"."token_event"."generation" - 1
          and num_nonnulls("token_ledger"."token_event"."expires_at", "token_ledger"."token_event"."user_id", "token_ledger"."token_event"."absolute_expires_at", "token_ledger"."token_event"."transport", "token_ledger"."token_event"."token_hash", "token_ledger"."token_event"."salt", "token_ledger"."token_event"."attempt_hash", "token_ledger"."token_event"."reason", "token_ledger"."token_event"."actor_user_id") = 0
        when 'revoked' then "token_ledger"."token_event"."reason" in ('logout', 'logout_everywhere', 'user_revoked', 'admin_revoked', 'password_changed', 'user_disabled', 'reuse_elsewhere', 'session_limit')
          and num_nonnulls("token_ledger"."token_event"."expires_at", "token_ledger"."token_event"."user_id", "token_ledger"."token_event"."absolute_expires_at", "token_ledger"."token_event"."transport", "token_ledger"."token_event"."token_hash", "token_ledger"."token_event"."salt", "token_ledger"."token_event"."attempt_hash", "token_ledger"."token_event"."presented_generation") = 0
        else false
      end) is true),
	CONSTRAINT "token_event_sizes" CHECK (length("token_ledger"."token_event"."token_hash") = 32 and length("token_ledger"."token_event"."salt") = 16 and length("token_ledger"."token_event"."attempt_hash") = 32
        and length("token_ledger"."token_event"."origin_hash") = 32 and length("token_ledger"."token_event"."origin_salt") = 16 and length("token_ledger"."token_event"."hash") = 32
        and length("token_ledger"."token_event"."prev_hash") = 32 and length("token_ledger"."token_event"."user_agent") <= 512)
) PARTITION BY RANGE ("family_id");
--> statement-breakpoint
CREATE TABLE "token_ledger"."token_family" (
	"family_id" uuid PRIMARY KEY NOT NULL,
	"user_id" uuid NOT NULL,
	"transport" text NOT NULL,
	"device_name" text,
	"created_at" timestamp with time zone NOT NULL,
	"absolute_expires_at" timestamp with time zone NOT NULL,
	"lock_mark" smallint DEFAULT 0 NOT NULL,
	CONSTRAINT "token_family_transport_known" CHECK ("token_ledger"."token_family"."transport" in ('cookie', 'body')),
	CONSTRAINT "token_family_device_name_short" CHECK (length("token_ledger"."token_family"."device_name") <= 100),
	CONSTRAINT "token_family_expires_later" CHECK ("token_ledger"."token_family"."absolute_expires_at" > "token_ledger"."token_family"."created_at")
) PARTITION BY RANGE ("family_id");
--> statement-breakpoint
CREATE TABLE "token_ledger"."user_account" (
	"user_id" uuid PRIMARY KEY NOT NULL,
	"email" text,
	"password_hash" text NOT NULL,
	"role" text NOT NULL,
	"disabled_at" timestamp with time zone,
	"created_at" timestamp with time zone DEFAULT token_ledger.clock() NOT NULL,
	CONSTRAINT "user_account_email_taken" UNIQUE("email"),
	CONSTRAINT "user_account_role_known" CHECK ("token_ledger"."user_account"."role" in ('user', 'admin')),
	CONSTRAINT "user_account_email_length" CHECK (length("token_ledger"."user_account"."email") between 3 and 254)
);
--> statement-breakpoint
CREATE TABLE "token_ledger"."user_epoch" (
	"user_id" uuid PRIMARY KEY NOT NULL,
	"epoch" integer DEFAULT 0 NOT NULL
);
--> statement-breakpoint
CREATE INDEX "admin_action_by_target" ON "token_ledger"."admin_action" USING btree ("target_user_id","action_id");--> statement-breakpoint
CREATE INDEX "admin_action_by_family" ON "token_ledger"."admin_action" USING btree ("family_id");--> statement-breakpoint
CREATE INDEX "token_event_by_txid" ON "token_ledger"."token_event" USING btree ("txid","family_id","seq");--> statement-breakpoint
CREATE INDEX "token_event_by_time" ON "token_ledger"."token_event" USING brin ("occurred_at") WITH (autosummarize=true);--> statement-breakpoint
CREATE INDEX "token_event_reuse" ON "token_ledger"."token_event" USING btree ("occurred_at","family_id") WHERE "token_ledger"."token_event"."kind" = 'reuse_detected';--> statement-breakpoint
CREATE INDEX "token_family_by_user" ON "token_ledger"."token_family" USING btree ("user_id","family_id");