-- Adds buckets of every grain to what is kept: those of events (events.sql) or of inferred counts (changes.sql).
-- Either brings `buckets` of Tweets, `handle_buckets`, the Tweets to make `stubs` of, and the `beats` of handles.
-- names, casts and increments stand for the 26 engagement types and the named impressions, filled in by fold.py.
tweets AS (
    INSERT INTO metrics_tweet (handle_id, tweet_id, text, created_at, link, is_stub)
    SELECT handle_id, tweet_id, '',
           CASE WHEN tweet_id < %(first_snowflake)s THEN %(first_tweet_at)s::timestamptz
                ELSE to_timestamp(((tweet_id >> 22) + %(twitter_epoch_ms)s) / 1000.0) END,
           '', true
    FROM stubs
    ON CONFLICT DO NOTHING
),
tweet_rollups AS (
    INSERT INTO metrics_tweetrollup AS kept (handle_id, tweet_id, promoted, grain, start, {names})
    SELECT handle_id, tweet_id, promoted, grain, start, {casts} FROM buckets
    ON CONFLICT (handle_id, tweet_id, grain, start, promoted) DO UPDATE SET {increments}
),
handle_rollups AS (
    INSERT INTO metrics_handlerollup AS kept (handle_id, promoted, grain, start, {names})
    SELECT handle_id, promoted, grain, start, {casts} FROM handle_buckets
    ON CONFLICT (handle_id, grain, start, promoted) DO UPDATE SET {increments}
),
feeds AS (
    INSERT INTO metrics_handlefeed AS feed (handle_id, sequence, last_event_at, last_received_at)
    SELECT handle_id, 1, last_event_at, last_received_at FROM beats
    ON CONFLICT (handle_id) DO UPDATE SET
        sequence = feed.sequence + 1,
        last_event_at = greatest(feed.last_event_at, excluded.last_event_at),
        last_received_at = greatest(feed.last_received_at, excluded.last_received_at)
    RETURNING handle_id, sequence
)
SELECT handle_id, sequence, (SELECT events FROM beats WHERE beats.handle_id = feeds.handle_id) FROM feeds
