-- The three large tables. Columns stand widest first, so that no row carries padding.
CREATE TABLE metrics_engagementevent (
    handle_id bigint NOT NULL,
    occurred_at timestamptz NOT NULL,
    tweet_id bigint NOT NULL,
    person bigint,
    received_at timestamptz NOT NULL,
    event_key uuid NOT NULL,
    count integer NOT NULL,
    type smallint NOT NULL,
    promoted boolean NOT NULL,
    PRIMARY KEY (handle_id, occurred_at, event_key)
) PARTITION BY RANGE (occurred_at);
-- Rows arrive in the order of received_at: a few pages of summary answer "which events came in this batch?".
CREATE INDEX events_by_arrival ON metrics_engagementevent USING brin (received_at) WITH (pages_per_range = 32);

CREATE TABLE metrics_handlerollup (
    handle_id bigint NOT NULL,
    start timestamptz NOT NULL,
    {columns},
    grain smallint NOT NULL,
    promoted boolean NOT NULL,
    PRIMARY KEY (handle_id, grain, start, promoted)
) PARTITION BY LIST (grain);

CREATE TABLE metrics_tweetrollup (
    handle_id bigint NOT NULL,
    tweet_id bigint NOT NULL,
    start timestamptz NOT NULL,
    {columns},
    grain smallint NOT NULL,
    promoted boolean NOT NULL,
    PRIMARY KEY (handle_id, tweet_id, grain, start, promoted)
) PARTITION BY LIST (grain);

-- Minutes are split again by day (aggregate.partitions makes the days). Room is left in each page, so that a counter's
-- new version stays beside its old one and no index entry is written.
CREATE TABLE metrics_handlerollup_minute PARTITION OF metrics_handlerollup FOR VALUES IN (0) PARTITION BY RANGE (start);
CREATE TABLE metrics_handlerollup_quarter PARTITION OF metrics_handlerollup FOR VALUES IN (1) WITH (fillfactor = 60);
CREATE TABLE metrics_handlerollup_hour PARTITION OF metrics_handlerollup FOR VALUES IN (2) WITH (fillfactor = 60);
CREATE TABLE metrics_handlerollup_day PARTITION OF metrics_handlerollup FOR VALUES IN (3) WITH (fillfactor = 60);
CREATE TABLE metrics_handlerollup_lifetime PARTITION OF metrics_handlerollup FOR VALUES IN (4) WITH (fillfactor = 20);

CREATE TABLE metrics_tweetrollup_minute PARTITION OF metrics_tweetrollup FOR VALUES IN (0) PARTITION BY RANGE (start);
CREATE TABLE metrics_tweetrollup_quarter PARTITION OF metrics_tweetrollup FOR VALUES IN (1) WITH (fillfactor = 60);
CREATE TABLE metrics_tweetrollup_hour PARTITION OF metrics_tweetrollup FOR VALUES IN (2) WITH (fillfactor = 60);
CREATE TABLE metrics_tweetrollup_day PARTITION OF metrics_tweetrollup FOR VALUES IN (3) WITH (fillfactor = 60);
CREATE TABLE metrics_tweetrollup_lifetime PARTITION OF metrics_tweetrollup FOR VALUES IN (4) WITH (fillfactor = 40);

-- A ranking of all Tweets of a handle in a period reads days, then hours at the edges.
CREATE INDEX tweet_quarters_by_time ON metrics_tweetrollup_quarter (handle_id, start);
CREATE INDEX tweet_hours_by_time ON metrics_tweetrollup_hour (handle_id, start);
CREATE INDEX tweet_days_by_time ON metrics_tweetrollup_day (handle_id, start);
