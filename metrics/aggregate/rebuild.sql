-- A handle's rollups, computed again from its events and inferred counts; days whose events were dropped keep their
-- quarters. names, sums, inferred and totals stand for the 26 engagement types and the named
-- impressions.
CREATE TEMPORARY TABLE rebuilt ON COMMIT DROP AS
SELECT tweet_id, promoted, minute, {totals} FROM (
    SELECT tweet_id, promoted, date_bin('1 minute', occurred_at, 'epoch'::timestamptz) AS minute, {sums}
    FROM metrics_engagementevent
    WHERE handle_id = %(handle)s AND (occurred_at AT TIME ZONE 'UTC')::date <> ALL (%(dropped)s::date[])
    GROUP BY 1, 2, 3
    UNION ALL
    SELECT tweet_id, promoted, date_bin('1 minute', occurred_at, 'epoch'::timestamptz), {inferred}
    FROM metrics_inferredcount
    WHERE handle_id = %(handle)s AND (occurred_at AT TIME ZONE 'UTC')::date <> ALL (%(dropped)s::date[])
    GROUP BY 1, 2, 3
) known GROUP BY 1, 2, 3;

DELETE FROM metrics_tweetrollup
WHERE handle_id = %(handle)s
  AND (grain > 1 OR (start AT TIME ZONE 'UTC')::date <> ALL (%(dropped)s::date[]));

DELETE FROM metrics_handlerollup
WHERE handle_id = %(handle)s
  AND (grain > 1 OR (start AT TIME ZONE 'UTC')::date <> ALL (%(dropped)s::date[]));

INSERT INTO metrics_tweetrollup (handle_id, tweet_id, promoted, grain, start, {names})
SELECT %(handle)s, tweet_id, promoted, 0, minute, {names} FROM rebuilt WHERE minute >= %(minutes_since)s;

INSERT INTO metrics_tweetrollup (handle_id, tweet_id, promoted, grain, start, {names})
SELECT %(handle)s, tweet_id, promoted, 1, date_bin('15 minutes', minute, 'epoch'::timestamptz), {totals}
FROM rebuilt GROUP BY tweet_id, promoted, 5;

INSERT INTO metrics_tweetrollup (handle_id, tweet_id, promoted, grain, start, {names})
SELECT %(handle)s, tweet_id, promoted, coarse.grain, coarse.bucket, {totals}
FROM metrics_tweetrollup quarter CROSS JOIN LATERAL (VALUES
    (2::smallint, date_bin('1 hour', quarter.start, 'epoch'::timestamptz)),
    (3::smallint, date_bin('1 day', quarter.start, 'epoch'::timestamptz)),
    (4::smallint, 'epoch'::timestamptz)
) AS coarse (grain, bucket)
WHERE handle_id = %(handle)s AND quarter.grain = 1
GROUP BY tweet_id, promoted, coarse.grain, coarse.bucket;

INSERT INTO metrics_handlerollup (handle_id, promoted, grain, start, {names})
SELECT %(handle)s, promoted, grain, start, {totals}
FROM metrics_tweetrollup
WHERE handle_id = %(handle)s
  AND (grain > 1 OR (start AT TIME ZONE 'UTC')::date <> ALL (%(dropped)s::date[]))
GROUP BY promoted, grain, start;

UPDATE metrics_handlefeed SET sequence = sequence + 1 WHERE handle_id = %(handle)s;

SELECT count(*) FROM rebuilt
