-- The answers (replies, Retweets, quotes) that deleted posts had been. Each is looked for by the key that its post's id
-- makes, within minutes of the post's own instant: so the primary key finds it in one day's partition.
SELECT wanted.place, answer.tweet_id, answer.type
FROM unnest(%s::int[], %s::uuid[], %s::timestamptz[], %s::timestamptz[]) AS wanted (place, event_key, since, until)
CROSS JOIN LATERAL (
    SELECT event.tweet_id, event.type
    FROM metrics_engagementevent AS event
    WHERE event.handle_id = %s
      AND event.event_key = wanted.event_key
      AND event.occurred_at BETWEEN wanted.since AND wanted.until
) AS answer
