-- About 1 GB for ten million rows.
CREATE TABLE narrow AS
  SELECT n AS id, n % 1000 AS customer, md5(n::text) AS token, n / 7.0 AS amount
  FROM generate_series(1, :gigabytes * 10000000) n;
