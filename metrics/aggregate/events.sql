-- The minutes of one micro-batch: everything that `arrivals` brings and that was never seen before.
fresh AS (
    INSERT INTO metrics_engagementevent
        (handle_id, occurred_at, tweet_id, person, received_at, event_key, count, type, promoted)
    SELECT handle_id, occurred_at, tweet_id, nullif(person, 0), received_at, event_key, count, type, promoted
    FROM arrivals
    ON CONFLICT DO NOTHING
    RETURNING handle_id, tweet_id, promoted, type, count::float8 AS n, occurred_at, received_at
),
minutes AS MATERIALIZED (
    SELECT handle_id, tweet_id, promoted,
           date_bin('1 minute', occurred_at, 'epoch'::timestamptz) AS minute,
           count(*) AS events, max(occurred_at) AS last_event_at, max(received_at) AS last_received_at,
           {sums}
    FROM fresh
    GROUP BY 1, 2, 3, 4
)
