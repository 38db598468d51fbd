SELECT wanted.place, kept.sketch
FROM unnest(%(handle_id)b::bigint[], %(tweet_id)b::bigint[], %(grain)b::smallint[], %(start)b::timestamptz[],
            %(audience)b::smallint[], %(epoch)b::smallint[])
     WITH ORDINALITY AS wanted (handle_id, tweet_id, grain, start, audience, epoch, place)
JOIN metrics_reachsketch kept USING (handle_id, tweet_id, grain, start, audience, epoch);

INSERT INTO metrics_reachsketch (handle_id, tweet_id, grain, start, audience, epoch, sketch)
SELECT * FROM unnest(%(handle_id)b::bigint[], %(tweet_id)b::bigint[], %(grain)b::smallint[], %(start)b::timestamptz[],
                     %(audience)b::smallint[], %(epoch)b::smallint[], %(sketch)b::bytea[])
ON CONFLICT (handle_id, tweet_id, grain, start, audience, epoch) DO UPDATE SET sketch = excluded.sketch
