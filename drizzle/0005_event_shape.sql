-- A check that comes to null passes: a revocation without a reason did, and a reuse of nothing.
-- Generated, but for the columns: an ALTER TABLE does not take the name of its schema with them.
ALTER TABLE "token_ledger"."token_event" DROP CONSTRAINT "token_event_shape";--> statement-breakpoint
ALTER TABLE "token_ledger"."token_event" ADD CONSTRAINT "token_event_shape" CHECK ((case "kind"
        when 'issued' then "generation" = 0
          and num_nonnulls("expires_at", "user_id", "absolute_expires_at", "transport", "token_hash") = 5
          and num_nonnulls("salt", "attempt_hash", "presented_generation", "reason", "actor_user_id") = 0
        when 'rotated' then "generation" >= 1
          and num_nonnulls("expires_at", "absolute_expires_at", "token_hash", "salt") = 4
          and num_nonnulls("user_id", "transport", "presented_generation", "reason", "actor_user_id") = 0
        when 'replayed' then "presented_generation" = "generation" - 1
          and "reason" in ('same_attempt', 'grace_window')
          and num_nonnulls("expires_at", "user_id", "absolute_expires_at", "transport", "token_hash", "salt", "actor_user_id") = 0
        when 'reuse_detected' then "presented_generation" between 0 and "generation" - 1
          and num_nonnulls("expires_at", "user_id", "absolute_expires_at", "transport", "token_hash", "salt", "attempt_hash", "reason", "actor_user_id") = 0
        when 'revoked' then "reason" in ('logout', 'logout_everywhere', 'user_revoked', 'admin_revoked', 'password_changed', 'user_disabled', 'reuse_elsewhere', 'session_limit')
          and num_nonnulls("expires_at", "user_id", "absolute_expires_at", "transport", "token_hash", "salt", "attempt_hash", "presented_generation") = 0
        else false
      end) is true);