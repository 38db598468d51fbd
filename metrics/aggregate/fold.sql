-- Adds up minutes into every grain: those of events (events.sql) or of inferred counts (changes.sql), which come first.
-- {names}, {totals}, {casts}, {increments…} are the 26 engagement types, filled in by fold.py.
-- Sums of a batch are float8: exact below 2^53, and several times faster to add up again than numeric.
WITH {minutes},
buckets AS MATERIALIZED (
    SELECT handle_id, tweet_id, promoted, grain, start, {totals}
    FROM minutes CROSS JOIN LATERAL (VALUES
        (0::smallint, minute),
        (1::smallint, date_bin('15 minutes', minute, 'epoch'::timestamptz)),
        (2::smallint, date_bin('1 hour', minute, 'epoch'::timestamptz)),
        (3::smallint, date_bin('1 day', minute, 'epoch'::timestamptz)),
        (4::smallint, 'epoch'::timestamptz)
    ) AS of_grain (grain, start)
    WHERE grain > 0 OR minute >= %(minutes_since)s
    GROUP BY 1, 2, 3, 4, 5
),
tweets AS (
    INSERT INTO metrics_tweet (handle_id, tweet_id, text, created_at, link, is_stub)
    SELECT DISTINCT handle_id, tweet_id, '',
           CASE WHEN tweet_id < %(first_snowflake)s THEN %(first_tweet_at)s::timestamptz
                ELSE to_timestamp(((tweet_id >> 22) + %(twitter_epoch_ms)s) / 1000.0) END,
           '', true
    FROM minutes
    WHERE NOT EXISTS (
        SELECT FROM metrics_tweet known
        WHERE known.handle_id = minutes.handle_id AND known.tweet_id = minutes.tweet_id
    )
    ON CONFLICT DO NOTHING
),
tweet_rollups AS (
    INSERT INTO metrics_tweetrollup AS kept (handle_id, tweet_id, promoted, grain, start, {names})
    SELECT handle_id, tweet_id, promoted, grain, start, {casts} FROM buckets
    ON CONFLICT (handle_id, tweet_id, grain, start, promoted) DO UPDATE SET {increments}
),
handle_rollups AS (
    INSERT INTO metrics_handlerollup AS kept (handle_id, promoted, grain, start, {names})
    SELECT handle_id, promoted, grain, start, {handle_casts} FROM buckets
    GROUP BY 1, 2, 3, 4
    ON CONFLICT (handle_id, grain, start, promoted) DO UPDATE SET {increments}
),
feeds AS (
    INSERT INTO metrics_handlefeed AS feed (handle_id, sequence, last_event_at, last_received_at)
    SELECT handle_id, 1, max(last_event_at), max(last_received_at) FROM minutes GROUP BY 1
    ON CONFLICT (handle_id) DO UPDATE SET
        sequence = feed.sequence + 1,
        last_event_at = greatest(feed.last_event_at, excluded.last_event_at),
        last_received_at = greatest(feed.last_received_at, excluded.last_received_at)
    RETURNING handle_id, sequence
)
SELECT handle_id, sequence, (SELECT sum(events)::bigint FROM minutes m WHERE m.handle_id = feeds.handle_id) FROM feeds
