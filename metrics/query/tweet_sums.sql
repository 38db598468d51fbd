-- Sums of some Tweets' rollups by Tweet, display bucket and promotion, from pieces of one storage grain.
-- The sums are of each type, in storage order; where a display bucket holds one storage bucket they are the plain
-- columns, without grouping, which takes a third of the time. The outer bounds let the planner skip partitions.
SELECT rollup.tweet_id, width_bucket(rollup.start, %(edges)s::timestamptz[])::bigint - 1, rollup.promoted::int::bigint, {sums}
FROM unnest(%(sinces)s::timestamptz[], %(untils)s::timestamptz[]) AS piece (since, until)
JOIN metrics_tweetrollup AS rollup ON rollup.start >= piece.since AND rollup.start < piece.until
WHERE rollup.handle_id = %(handle_id)s
  AND rollup.tweet_id = ANY (%(tweet_ids)s)
  AND rollup.grain = %(grain)s
  AND rollup.start >= %(since)s
  AND rollup.start < %(until)s
{grouping}
