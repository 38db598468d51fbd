-- Lifetime sums of the Tweets created in a period, by display bucket of their creation and by promotion.
-- sums: sum(rollup.<type>)::bigint for each type, in storage order.
-- The first column stands where statements about Tweets have the Tweet's id.
SELECT 0::bigint, width_bucket(tweet.created_at, %(edges)s::timestamptz[])::bigint - 1, rollup.promoted::int::bigint, {sums}
FROM metrics_tweet AS tweet
JOIN metrics_tweetrollup AS rollup
  ON rollup.handle_id = tweet.handle_id AND rollup.tweet_id = tweet.tweet_id AND rollup.grain = %(grain)s
WHERE tweet.handle_id = %(handle_id)s
  AND rollup.handle_id = %(handle_id)s
  AND tweet.created_at >= %(since)s
  AND tweet.created_at < %(until)s
GROUP BY 2, 3
