-- Tweets as a file tells them: what is new is stored, what is told differently is renewed, the rest is left alone,
-- because open streams send every Tweet whose `changed_at` moves. An empty text, link or tag list tells nothing; a link
-- that its publisher told stays, and so do tags that the team changed. Returns the ids that changed.
-- The Tweets come as one JSON array: it is written and read many times faster than an array for each column.
INSERT INTO metrics_tweet AS kept (handle_id, tweet_id, text, created_at, link, media, tags, is_stub)
SELECT %(handle_id)s, tweet_id, text, 'epoch'::timestamptz + created_us * interval '1 microsecond', link,
       coalesce(media, 'none'), coalesce(tags, '[]'::jsonb), text = '' AND link = ''
FROM json_to_recordset(%(told)s::json) AS told
    (tweet_id bigint, created_us bigint, text text, link text, media text, tags jsonb)
ORDER BY tweet_id
ON CONFLICT (handle_id, tweet_id) DO UPDATE SET
    text = coalesce(nullif(excluded.text, ''), kept.text),
    created_at = CASE WHEN kept.is_stub THEN excluded.created_at ELSE kept.created_at END,
    link = coalesce(nullif(kept.link, ''), excluded.link),
    media = coalesce(nullif(excluded.media, 'none'), kept.media),
    tags = CASE WHEN kept.tag_changes = '{}'::jsonb AND excluded.tags <> '[]'::jsonb THEN excluded.tags ELSE kept.tags END,
    is_stub = kept.is_stub AND excluded.is_stub,
    changed_at = now()
WHERE (excluded.text NOT IN ('', kept.text))
   OR (kept.is_stub AND (NOT excluded.is_stub OR excluded.created_at <> kept.created_at))
   OR (kept.link = '' AND excluded.link <> '')
   OR (excluded.media NOT IN ('none', kept.media))
   OR (kept.tag_changes = '{}'::jsonb AND excluded.tags NOT IN ('[]'::jsonb, kept.tags))
RETURNING tweet_id
