-- What the latest Tweets of a handle had gathered, by Tweet and by step of age.
-- engagements: the sum of an engagement's columns. `step` is the number of ages (in seconds) at or before the bucket's
-- start: the sum of steps 0 … i is what had come by age i, the bucket around that age included.
SELECT tweet.tweet_id,
       width_bucket(extract(epoch FROM rollup.start - tweet.created_at)::float8, %(ages)s::float8[]) AS step,
       sum({engagements})::bigint,
       sum(rollup.impressions)::bigint
FROM metrics_tweet AS tweet
JOIN metrics_tweetrollup AS rollup
  ON rollup.handle_id = tweet.handle_id
 AND rollup.tweet_id = tweet.tweet_id
 AND rollup.start < tweet.created_at + %(oldest)s::interval
WHERE tweet.handle_id = %(handle_id)s
  AND tweet.tweet_id = ANY (%(tweet_ids)s)
  AND rollup.handle_id = %(handle_id)s
  AND rollup.grain = %(grain)s
  AND rollup.start >= %(since)s
  AND rollup.start < %(until)s
GROUP BY 1, 2
