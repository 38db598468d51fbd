SELECT tweet_id, start, epoch, sketch
FROM metrics_reachsketch
WHERE handle_id = %(handle_id)s AND tweet_id = ANY(%(tweet_ids)s) AND grain = %(grain)s
  AND start >= %(since)s AND start < %(until)s AND audience = %(audience)s
