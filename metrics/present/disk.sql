-- The bytes of each group of tables, indexes included; partitions count with their parent.
WITH sizes AS (
    SELECT CASE
               WHEN relname LIKE 'metrics_engagementevent%' THEN 'Events'
               WHEN relname LIKE 'metrics_handlerollup_minute%' OR relname LIKE 'metrics_tweetrollup_minute%'
                   THEN 'Rollups by minute'
               WHEN relname LIKE 'metrics_handlerollup%' OR relname LIKE 'metrics_tweetrollup%'
                   THEN 'Rollups by quarter-hour, hour, day and lifetime'
               WHEN relname = 'metrics_tweet' THEN 'Tweets'
               WHEN relname IN ('metrics_inferredcount', 'metrics_lastsnapshot') THEN 'Snapshots'
               ELSE 'Everything else'
           END AS held,
           pg_total_relation_size(oid) AS bytes
    FROM pg_class
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
)
SELECT held, sum(bytes)::bigint FROM sizes GROUP BY held ORDER BY 2 DESC, 1
