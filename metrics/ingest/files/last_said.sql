-- What a source last said of some Tweets, by part. (Thousands of ids as one array: a query of as many parameters takes
-- longer to write than to answer.)
SELECT tweet_id, part, counts, as_of FROM metrics_lastsnapshot
WHERE handle_id = %(handle_id)s AND source_id = %(source_id)s AND tweet_id = ANY(%(tweet_ids)s)
