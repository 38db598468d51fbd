-- Inferred counts: read for those Tweets that may have some, written back in one go.

-- name: sought_table
CREATE TEMPORARY TABLE IF NOT EXISTS sought (
    handle_id bigint, tweet_id bigint, as_of timestamptz, part smallint
)
ON COMMIT DELETE ROWS;

-- name: rows
-- One look into the key for each Tweet, whatever the planner thinks of a table that it knows nothing of.
SELECT kept.handle_id, kept.tweet_id, kept.as_of, kept.source_id, kept.part, kept.promoted, kept.occurred_at,
       kept.counts, kept.is_history, kept.received_at
FROM sought CROSS JOIN LATERAL (
    SELECT * FROM metrics_inferredcount one
    WHERE one.handle_id = sought.handle_id AND one.tweet_id = sought.tweet_id AND one.as_of >= sought.as_of
      AND one.part >= sought.part
    OFFSET 0
) kept;

-- name: candidates_table
CREATE TEMPORARY TABLE IF NOT EXISTS candidates (place integer, handle_id bigint, occurred_at timestamptz, event_key uuid)
ON COMMIT DELETE ROWS;

-- name: counted
SELECT place FROM candidates CROSS JOIN LATERAL (
    SELECT FROM metrics_engagementevent event
    WHERE event.handle_id = candidates.handle_id AND event.occurred_at = candidates.occurred_at
      AND event.event_key = candidates.event_key
    LIMIT 1
) known;

-- name: pieces_table
CREATE TEMPORARY TABLE IF NOT EXISTS pieces (LIKE metrics_inferredcount) ON COMMIT DELETE ROWS;

-- name: add
INSERT INTO metrics_inferredcount AS kept SELECT * FROM pieces
ON CONFLICT (handle_id, tweet_id, as_of, source_id, part, promoted, occurred_at) DO UPDATE SET
    counts = (SELECT array_agg(had + more ORDER BY place)
              FROM unnest(kept.counts, excluded.counts) WITH ORDINALITY AS of_type (had, more, place));

-- name: shrink
UPDATE metrics_inferredcount kept SET counts = pieces.counts FROM pieces
WHERE kept.handle_id = pieces.handle_id AND kept.tweet_id = pieces.tweet_id AND kept.as_of = pieces.as_of
  AND kept.source_id = pieces.source_id AND kept.part = pieces.part AND kept.promoted = pieces.promoted
  AND kept.occurred_at = pieces.occurred_at AND pieces.counts <> array_fill(0::bigint, ARRAY[26]);

-- name: remove
DELETE FROM metrics_inferredcount kept USING pieces
WHERE kept.handle_id = pieces.handle_id AND kept.tweet_id = pieces.tweet_id AND kept.as_of = pieces.as_of
  AND kept.source_id = pieces.source_id AND kept.part = pieces.part AND kept.promoted = pieces.promoted
  AND kept.occurred_at = pieces.occurred_at AND pieces.counts = array_fill(0::bigint, ARRAY[26]);
