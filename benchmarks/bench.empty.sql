-- One table of a thousand rows.
CREATE TABLE few AS SELECT n AS id, md5(n::text) AS token FROM generate_series(1, 1000) n;
