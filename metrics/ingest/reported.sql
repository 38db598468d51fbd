-- What one source says how many people Tweets have reached; what is known as of later stays.
INSERT INTO metrics_reportedreach (handle_id, source_id, tweet_id, audience, people, as_of)
SELECT %(handle_id)s, %(source_id)s, told.* FROM unnest(%(tweet_ids)s::bigint[], %(audiences)s::smallint[],
                                                       %(people)s::bigint[], %(instants)s::timestamptz[]) AS told
ON CONFLICT (handle_id, tweet_id, audience, source_id) DO UPDATE
SET people = excluded.people, as_of = excluded.as_of
WHERE excluded.as_of >= metrics_reportedreach.as_of
