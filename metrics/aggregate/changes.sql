-- The minutes of what was inferred, or taken back again: `changes` holds each minute of a Tweet at most once.
minutes AS MATERIALIZED (
    SELECT handle_id, tweet_id, promoted, minute, 0 AS events, minute AS last_event_at, received_at AS last_received_at,
           {floats}
    FROM changes
)
