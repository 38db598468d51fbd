-- Sums of a handle's rollups by display bucket and promotion, from pieces of one storage grain.
-- The sums are of each type, in storage order; where a display bucket holds one storage bucket they are the plain
-- columns, without grouping, which takes a third of the time. The outer bounds let the planner skip partitions.
-- The first column stands where statements about Tweets have the Tweet's id.
SELECT 0::bigint, width_bucket(rollup.start, %(edges)s::timestamptz[])::bigint - 1, rollup.promoted::int::bigint, {sums}
FROM unnest(%(sinces)s::timestamptz[], %(untils)s::timestamptz[]) AS piece (since, until)
JOIN metrics_handlerollup AS rollup ON rollup.start >= piece.since AND rollup.start < piece.until
WHERE rollup.handle_id = %(handle_id)s
  AND rollup.grain = %(grain)s
  AND rollup.start >= %(since)s
  AND rollup.start < %(until)s
{grouping}
