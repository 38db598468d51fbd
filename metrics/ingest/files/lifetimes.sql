-- All that is counted of some Tweets, organic and promoted.
SELECT tweet_id, promoted, {names} FROM metrics_tweetrollup
WHERE handle_id = %(handle_id)s AND tweet_id = ANY(%(tweet_ids)s) AND grain = %(grain)s AND start = %(start)s
