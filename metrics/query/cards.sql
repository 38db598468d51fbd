-- Sums of several handles' rollups by handle, slot and promotion, from pieces of one storage grain.
-- sums: sum(rollup.<type>)::bigint for each type, in storage order. The outer bounds let the planner skip partitions.
SELECT rollup.handle_id, piece.slot, rollup.promoted, {sums}
FROM unnest(%(handle_ids)s::bigint[], %(slots)s::int[], %(sinces)s::timestamptz[], %(untils)s::timestamptz[])
     AS piece (handle_id, slot, since, until)
JOIN metrics_handlerollup AS rollup
  ON rollup.handle_id = piece.handle_id AND rollup.start >= piece.since AND rollup.start < piece.until
WHERE rollup.grain = %(grain)s
  AND rollup.start >= %(since)s
  AND rollup.start < %(until)s
GROUP BY 1, 2, 3
