-- What is known of the Tweets of a batch of snapshots, and what their sources have said last.

-- name: tweets_table
CREATE TEMPORARY TABLE IF NOT EXISTS tweets_at_hand (place integer, handle_id bigint, tweet_id bigint)
ON COMMIT DELETE ROWS;

-- name: created
-- All at once, not one look for each: a planner that has not yet heard of a handle's many new Tweets thinks any index that
-- begins with the handle as good as their key, and would read them all for each one of them.
SELECT handle_id, tweet_id, created_at FROM metrics_tweet
WHERE handle_id = ANY (ARRAY(SELECT DISTINCT handle_id FROM tweets_at_hand))
  AND tweet_id = ANY (ARRAY(SELECT tweet_id FROM tweets_at_hand));

-- name: totals
SELECT place, promoted, {names} FROM tweets_at_hand hand CROSS JOIN LATERAL (
    SELECT * FROM metrics_tweetrollup one
    WHERE one.handle_id = hand.handle_id AND one.tweet_id = hand.tweet_id AND one.grain = 4
    OFFSET 0
) kept;

-- name: words
SELECT place, source_id, part, counts, as_of,
       coalesce(low, array_fill(-1::bigint, ARRAY[26])), coalesce(low_as_of, array_fill(0::bigint, ARRAY[26])),
       coalesce(ahead, array_fill(0::bigint, ARRAY[26]))
FROM tweets_at_hand hand CROSS JOIN LATERAL (
    SELECT * FROM metrics_lastsnapshot one WHERE one.handle_id = hand.handle_id AND one.tweet_id = hand.tweet_id
    OFFSET 0
) kept;

-- name: words_table
CREATE TEMPORARY TABLE IF NOT EXISTS words (
    handle_id bigint, tweet_id bigint, source_id bigint, part smallint,
    counts bigint[], as_of bigint[], low bigint[], low_as_of bigint[], ahead bigint[]
) ON COMMIT DELETE ROWS;

-- name: renew_words
UPDATE metrics_lastsnapshot kept SET
    counts = words.counts, as_of = words.as_of,
    low = nullif(words.low, array_fill(-1::bigint, ARRAY[26])),
    low_as_of = nullif(words.low_as_of, array_fill(0::bigint, ARRAY[26])),
    ahead = nullif(words.ahead, array_fill(0::bigint, ARRAY[26]))
FROM words
WHERE kept.handle_id = words.handle_id AND kept.tweet_id = words.tweet_id AND kept.source_id = words.source_id
  AND kept.part = words.part;

-- name: moments_table
CREATE TEMPORARY TABLE IF NOT EXISTS moments (
    place integer, handle_id bigint, tweet_id bigint, as_of timestamptz, edge timestamptz
) ON COMMIT DELETE ROWS;

-- name: after_edge
-- Whole buckets from the edge on: minutes up to the quarter, quarters up to the hour, hours up to the day, days.
SELECT place, kept.promoted, {totals} FROM moments CROSS JOIN LATERAL (VALUES (
    date_bin('15 minutes', edge - interval '1 microsecond', 'epoch'::timestamptz) + interval '15 minutes',
    date_bin('1 hour', edge - interval '1 microsecond', 'epoch'::timestamptz) + interval '1 hour',
    date_bin('1 day', edge - interval '1 microsecond', 'epoch'::timestamptz) + interval '1 day'
)) AS edges (quarter, hour, day) CROSS JOIN LATERAL (
    SELECT * FROM metrics_tweetrollup one WHERE one.handle_id = moments.handle_id AND one.tweet_id = moments.tweet_id
      AND one.grain = 0 AND one.start >= edge AND one.start < quarter
    UNION ALL
    SELECT * FROM metrics_tweetrollup one WHERE one.handle_id = moments.handle_id AND one.tweet_id = moments.tweet_id
      AND one.grain = 1 AND one.start >= quarter AND one.start < hour
    UNION ALL
    SELECT * FROM metrics_tweetrollup one WHERE one.handle_id = moments.handle_id AND one.tweet_id = moments.tweet_id
      AND one.grain = 2 AND one.start >= hour AND one.start < day
    UNION ALL
    SELECT * FROM metrics_tweetrollup one WHERE one.handle_id = moments.handle_id AND one.tweet_id = moments.tweet_id
      AND one.grain = 3 AND one.start >= day
    OFFSET 0
) kept GROUP BY place, kept.promoted;

-- name: before_edge
-- Single events between the snapshot and the edge: each handle's stretch is read once for all its Tweets.
SELECT moments.place, event.promoted, event.type, sum(event.count)::bigint
FROM (SELECT handle_id, edge, min(as_of) AS first FROM moments GROUP BY 1, 2) stretch CROSS JOIN LATERAL (
    SELECT tweet_id, occurred_at, promoted, type, count FROM metrics_engagementevent one
    WHERE one.handle_id = stretch.handle_id AND one.occurred_at > stretch.first AND one.occurred_at < stretch.edge
    OFFSET 0
) event JOIN moments ON moments.handle_id = stretch.handle_id AND moments.edge = stretch.edge
    AND moments.tweet_id = event.tweet_id AND moments.as_of < event.occurred_at
GROUP BY 1, 2, 3;
