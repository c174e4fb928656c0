-- database keys over expressions, mysql
CREATE TABLE t (a int PRIMARY KEY, b json, KEY ((CAST(b->'$.n' AS unsigned))), KEY ((a + 1)))
--;
INSERT INTO t VALUES (1, '{"n": 5}'), (2, NULL)
--;

-- database a key that nobody wrote, mysql
SET SESSION sql_generate_invisible_primary_key = 1
--;
CREATE TABLE t (a int)
--;
INSERT INTO t VALUES (5), (5)
--;

-- database shapes with a place on earth, mysql
CREATE TABLE t (a point SRID 4326 NOT NULL, SPATIAL KEY (a))
--;
INSERT INTO t VALUES (ST_PointFromText('POINT(10 20)', 4326))
--;

-- database indexes that are hidden or backwards, mysql
CREATE TABLE t (a int, b int, KEY x (a DESC, b ASC), KEY y (b) INVISIBLE)
--;
INSERT INTO t VALUES (1, 2), (2, 1)
--;

-- database documents with dates, mysql
CREATE TABLE t (a int PRIMARY KEY, b json)
--;
INSERT INTO t VALUES (1, JSON_OBJECT('d', CAST('2024-02-29' AS date)))
--;

-- database checks that hold nobody back, mysql
CREATE TABLE t (a int PRIMARY KEY, b varchar(30), c int AS (a + 1) STORED NOT NULL, CONSTRAINT x CHECK (a > 5) NOT ENFORCED)
--;
INSERT INTO t (a, b) VALUES (1, 'x')
--;

-- database columns with histograms, mysql
CREATE TABLE t (a int PRIMARY KEY, b int)
--;
INSERT INTO t VALUES (1, 1), (2, 1), (3, 7)
--;
ANALYZE TABLE t UPDATE HISTOGRAM ON b WITH 4 BUCKETS
--;

-- database sides of a document, mysql
CREATE TABLE t (a int PRIMARY KEY, b int, c varchar(9))
--;
INSERT INTO t VALUES (1, 1, 'x'), (2, 1, 'y')
--;
CREATE JSON RELATIONAL DUALITY VIEW v AS SELECT JSON_DUALITY_OBJECT('_id': a, 'c': c) FROM t
--;

-- database vectors, mysql
CREATE TABLE t (a int PRIMARY KEY, v vector(3), w vector)
--;
INSERT INTO t VALUES (1, TO_VECTOR('[1, -0, 1e-30]'), NULL), (2, NULL, TO_VECTOR('[1]'))
--;

-- database rows of the archive, mysql
CREATE TABLE t (a int, b varchar(30)) ENGINE=ARCHIVE
--;
INSERT INTO t VALUES (1, 'x'), (1, 'x'), (NULL, NULL)
--;

-- database comparisons of the newest kind, mysql
CREATE TABLE t (a varchar(20) COLLATE utf8mb4_0900_as_cs PRIMARY KEY, b varchar(20) COLLATE utf8mb4_ja_0900_as_cs_ks, c varchar(20) CHARACTER SET gb18030)
--;
INSERT INTO t VALUES ('a', 'か', '㐀'), ('A', 'カ', '😀'), ('ä', 'が', x'81308130')
--;

-- database documents that no text can hold, mysql
CREATE TABLE src (ts timestamp(3) NULL, dt datetime(2), tm time(1), y year, bi bit(5), tb tinyblob, b blob, mb mediumblob, lb longblob, vb varbinary(9), fb binary(3), e enum('a', 'b'), s set('x', 'y'), d decimal(30,5), d0 decimal(65,0), dd decimal(65,30), f float, u bigint unsigned)
--;
INSERT INTO src VALUES ('2024-02-29 12:00:00.123', '2024-01-01 00:00:00.25', '-838:00:01.5', 2024, b'101', x'FF00', x'00FF', 'x', x'', x'5C27', 'a', 'b', 'x,y', -1.50000, 99999999999999999999999999999999999999999999999999999999999999999, -0.000000000000000000000000000001, 1.5, 18446744073709551615)
--;
CREATE TABLE t (a int PRIMARY KEY, b json, c json AS (JSON_OBJECT('d', a)) VIRTUAL, KEY ((CAST(b->>'$.ts' AS char(30)))))
--;
INSERT INTO t (a, b) SELECT 1, JSON_OBJECT('ts', ts, 'dt', dt, 'tm', tm, 'y', y, 'bi', bi, 'tb', tb, 'b', b, 'mb', mb, 'lb', lb, 'vb', vb, 'fb', fb, 'e', e, 's', s, 'd', d, 'd0', d0, 'dd', dd, 'f', f, 'u', u) FROM src
--;
INSERT INTO t (a, b) VALUES (2, JSON_ARRAY(CAST('2024-02-29' AS date), CAST('12:00:00' AS time), TIMESTAMP'2024-02-29 12:00:00.5', x'00FF', b'101', JSON_OBJECT('it''s "q" \\ é', CAST(1.50 AS decimal(5,2)), '', JSON_ARRAY(DATE'2024-01-01', '2024-01-01', 1.50), 'a.b[0]', 1.50, '$**', DATE'0001-01-01'))), (3, CAST(CAST(1.5 AS decimal(9,8)) AS json)), (4, CAST(DATE'9999-12-31' AS json)), (5, NULL), (6, '{"d": "2024-02-29", "n": 1.5, "s": "base64:type15:AP8="}')
--;
CREATE TABLE no_key (b json, c json, d longblob)
--;
INSERT INTO no_key SELECT b, JSON_ARRAY(b, b), x'00' FROM t
--;
INSERT INTO no_key VALUES (JSON_SET(CONCAT('{"": "', REPEAT('ü\'', 300000), '"}'), '$.d', CAST(1.50 AS decimal(5,2))), NULL, REPEAT('x', 3000000))
--;
CREATE TABLE `a ``key` (`p``v` int PRIMARY KEY, n json, v json NOT NULL, `p */ '` json)
--;
INSERT INTO `a ``key` SELECT a, b, JSON_ARRAY(b), JSON_OBJECT('x', REPEAT('y', 100000), 'b', b) FROM t
--;
