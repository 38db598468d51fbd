-- Tweets as a file tells them: what is new is stored, what is told differently is renewed, the rest is left alone,
-- because open streams send every Tweet whose `changed_at` moves. An empty text, link or tag list tells nothing; a link
-- that its publisher told stays. Returns the ids that changed.
WITH told AS (
    SELECT * FROM unnest(
        %(tweet_ids)s::bigint[], %(texts)s::text[], %(created)s::timestamptz[], %(links)s::text[], %(media)s::text[],
        %(tags)s::jsonb[]
    ) AS told (tweet_id, text, created_at, link, media, tags)
)
INSERT INTO metrics_tweet AS kept (handle_id, tweet_id, text, created_at, link, media, tags, is_stub)
SELECT %(handle_id)s, tweet_id, text, created_at, link, media, tags, text = '' AND link = '' FROM told
ON CONFLICT (handle_id, tweet_id) DO UPDATE SET
    text = coalesce(nullif(excluded.text, ''), kept.text),
    created_at = CASE WHEN kept.is_stub THEN excluded.created_at ELSE kept.created_at END,
    link = coalesce(nullif(kept.link, ''), excluded.link),
    media = coalesce(nullif(excluded.media, 'none'), kept.media),
    tags = coalesce(nullif(excluded.tags, '[]'::jsonb), kept.tags),
    is_stub = kept.is_stub AND excluded.is_stub,
    changed_at = now()
WHERE (excluded.text NOT IN ('', kept.text))
   OR (kept.is_stub AND (NOT excluded.is_stub OR excluded.created_at <> kept.created_at))
   OR (kept.link = '' AND excluded.link <> '')
   OR (excluded.media NOT IN ('none', kept.media))
   OR (excluded.tags NOT IN ('[]'::jsonb, kept.tags))
RETURNING tweet_id
