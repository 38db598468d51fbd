-- The buckets of one micro-batch of events: everything that `arrivals` brings and that was never seen before.
-- Sums of a batch are float8: exact below 2^53, and several times faster to add up again than numeric.
WITH fresh AS (
    INSERT INTO metrics_engagementevent
        (handle_id, occurred_at, tweet_id, person, received_at, event_key, count, type, promoted, epoch)
    SELECT handle_id, occurred_at, tweet_id, nullif(person, 0), received_at, event_key, count, type, promoted, epoch
    FROM arrivals
    ON CONFLICT DO NOTHING
    RETURNING handle_id, tweet_id, promoted, type, count::float8 AS n, occurred_at, received_at,
              type = %(impressions)s AND person IS NOT NULL AS is_named
),
minutes AS MATERIALIZED (
    SELECT handle_id, tweet_id, promoted,
           date_bin('1 minute', occurred_at, 'epoch'::timestamptz) AS minute,
           count(*) AS events, max(occurred_at) AS last_event_at, max(received_at) AS last_received_at,
           {sums}
    FROM fresh
    GROUP BY 1, 2, 3, 4
),
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
handle_buckets AS (
    SELECT handle_id, promoted, grain, start, {totals} FROM buckets GROUP BY 1, 2, 3, 4
),
stubs AS (
    SELECT handle_id, tweet_id FROM minutes
    EXCEPT
    -- All known ones at once: see `created` in snapshots.sql.
    SELECT handle_id, tweet_id FROM metrics_tweet
    WHERE handle_id = ANY (ARRAY(SELECT DISTINCT handle_id FROM minutes))
      AND tweet_id = ANY (ARRAY(SELECT DISTINCT tweet_id FROM minutes))
),
beats AS (
    SELECT handle_id, max(last_event_at) AS last_event_at, max(last_received_at) AS last_received_at,
           sum(events)::bigint AS events
    FROM minutes GROUP BY 1
),
