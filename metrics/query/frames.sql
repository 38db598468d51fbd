-- The current totals of some buckets of a handle and of some of its Tweets, with the handle's sequence.
-- The feed's row comes even when no bucket does, so the sequence is always told. counts are the 26 types.
SELECT totals.*
FROM (
    SELECT NULL::bigint AS tweet_id, r.grain, r.start, r.promoted, f.sequence, {counts}
    FROM metrics_handlefeed f
    LEFT JOIN LATERAL (
        SELECT rollup.* FROM unnest(%(grains)s::smallint[], %(starts)s::timestamptz[]) AS wanted (grain, start)
        JOIN metrics_handlerollup rollup
          ON rollup.handle_id = f.handle_id AND rollup.grain = wanted.grain AND rollup.start = wanted.start
    ) r ON true
    WHERE f.handle_id = %(handle)s
    UNION ALL
    SELECT r.tweet_id, r.grain, r.start, r.promoted, f.sequence, {counts}
    FROM metrics_handlefeed f,
         unnest(%(tweets)s::bigint[], %(tweet_grains)s::smallint[], %(tweet_starts)s::timestamptz[])
             AS wanted (tweet_id, grain, start)
    JOIN metrics_tweetrollup r
      ON r.handle_id = %(handle)s AND r.tweet_id = wanted.tweet_id AND r.grain = wanted.grain AND r.start = wanted.start
    WHERE f.handle_id = %(handle)s
) totals
