CREATE TABLE "token_ledger"."rate_limit" (
	"key" varchar(255) PRIMARY KEY NOT NULL,
	"points" integer DEFAULT 0 NOT NULL,
	"expire" bigint
);

--> statement-breakpoint
grant select, insert, update, delete on token_ledger.rate_limit to token_ledger_app;
