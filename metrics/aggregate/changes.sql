-- What was inferred, or taken back again, has been added up already (fold.py): it lies in temporary tables.

-- name: tables
CREATE TEMPORARY TABLE IF NOT EXISTS changed_tweets (
    handle_id bigint, tweet_id bigint, promoted boolean, grain smallint, start timestamptz, {bigints}
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS changed_handles (
    handle_id bigint, promoted boolean, grain smallint, start timestamptz, {bigints}
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS changed_stubs (handle_id bigint, tweet_id bigint) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS changed_feeds (
    handle_id bigint, last_event_at timestamptz, last_received_at timestamptz
) ON COMMIT DELETE ROWS;

-- name: clear
DELETE FROM changed_tweets; DELETE FROM changed_handles; DELETE FROM changed_stubs; DELETE FROM changed_feeds;

-- name: buckets
WITH buckets AS (SELECT *, 0::bigint AS named_impressions FROM changed_tweets),
handle_buckets AS (SELECT *, 0::bigint AS named_impressions FROM changed_handles),
stubs AS (SELECT * FROM changed_stubs),
beats AS (SELECT *, 0::bigint AS events FROM changed_feeds),
