-- Small databases, each odd in a way of its own. `-- database NAME` begins one, `-- database NAME, KIND` one
-- of that server only, a line `--;` ends a statement. {account} is an account that is dropped before the
-- backup. The corpus grows: what broke a restore once gets a database here.

-- database nothing at all

-- database a table without rows
CREATE TABLE t (a int)
--;

-- database a table named as a word of the language
CREATE TABLE `select` (`from` int PRIMARY KEY, `where` int)
--;
INSERT INTO `select` VALUES (1, 2)
--;

-- database names with quotes and spaces
CREATE TABLE `a ``b`` 'c' "d"` (`x ``y` int PRIMARY KEY, `%s` text)
--;
INSERT INTO `a ``b`` 'c' "d"` VALUES (1, '100%')
--;

-- database names of other scripts
CREATE TABLE `таблица` (`名前` varchar(20) PRIMARY KEY)
--;
INSERT INTO `таблица` VALUES ('值')
--;

-- database rows that are equal
CREATE TABLE t (a int, b varchar(3))
--;
INSERT INTO t VALUES (1, 'x'), (1, 'x'), (NULL, NULL), (NULL, NULL)
--;

-- database a key of several columns
CREATE TABLE t (a varchar(9), b int, c date, PRIMARY KEY (b, a, c))
--;
INSERT INTO t SELECT CONCAT('k', x.seq), y.seq, '2024-02-29' FROM (SELECT 1 AS seq UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6) x, (SELECT 1 AS seq UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6) y
--;

-- database a key that orders without case
CREATE TABLE t (a varchar(9) COLLATE utf8mb4_general_ci PRIMARY KEY, b int)
--;
INSERT INTO t VALUES ('a', 1), ('B', 2), ('ä1', 3), ('Z', 4), ('', 5)
--;

-- database a unique key with NULL
CREATE TABLE t (a int, b int, UNIQUE KEY u (a))
--;
INSERT INTO t VALUES (NULL, 1), (NULL, 2), (3, 3)
--;

-- database negative and huge keys
CREATE TABLE t (a bigint PRIMARY KEY)
--;
INSERT INTO t VALUES (-9223372036854775808), (-1), (0), (9223372036854775807)
--;
CREATE TABLE u (a bigint unsigned PRIMARY KEY)
--;
INSERT INTO u VALUES (0), (18446744073709551615)
--;

-- database a counter that was set ahead
CREATE TABLE t (a int AUTO_INCREMENT PRIMARY KEY) AUTO_INCREMENT = 5000
--;
INSERT INTO t VALUES (1), (7000)
--;

-- database zero in a counter
SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO'
--;
CREATE TABLE t (a int AUTO_INCREMENT PRIMARY KEY)
--;
INSERT INTO t VALUES (0), (5)
--;

-- database tables that refer to each other
CREATE TABLE a (id int PRIMARY KEY, b int)
--;
CREATE TABLE b (id int PRIMARY KEY, a int, FOREIGN KEY (a) REFERENCES a (id))
--;
ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b (id) ON DELETE SET NULL
--;
INSERT INTO a VALUES (1, NULL)
--;
INSERT INTO b VALUES (1, 1)
--;
UPDATE a SET b = 1
--;

-- database a table that refers to itself
CREATE TABLE t (a int PRIMARY KEY, up int, FOREIGN KEY (up) REFERENCES t (a) ON DELETE CASCADE)
--;
INSERT INTO t VALUES (1, NULL), (2, 1), (3, 2)
--;

-- database an orphan behind a foreign key
SET SESSION foreign_key_checks = 0
--;
CREATE TABLE p (a int PRIMARY KEY)
--;
CREATE TABLE c (a int, FOREIGN KEY (a) REFERENCES p (a))
--;
INSERT INTO c VALUES (9)
--;

-- database columns that are computed
CREATE TABLE t (a int PRIMARY KEY, b int AS (a * 2) STORED, c int AS (a + 1) VIRTUAL, KEY (b), KEY (c))
--;
INSERT INTO t (a) VALUES (1), (2)
--;

-- database nothing but what is computed and a key
CREATE TABLE t (a int AUTO_INCREMENT PRIMARY KEY, b int AS (a) VIRTUAL)
--;
INSERT INTO t () VALUES (), ()
--;

-- database columns that are hidden
CREATE TABLE t (a int PRIMARY KEY, b int DEFAULT 7 INVISIBLE)
--;
INSERT INTO t (a) VALUES (1)
--;
INSERT INTO t (a, b) VALUES (2, 8)
--;

-- database defaults that are expressions
CREATE TABLE t (a int PRIMARY KEY, b varchar(36) DEFAULT (CONCAT('x', 1 + 1)), c datetime DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP)
--;
INSERT INTO t (a, c) VALUES (1, '2001-01-01')
--;

-- database checks, one of them broken
CREATE TABLE t (a int PRIMARY KEY, CONSTRAINT positive CHECK (a > 0))
--;
INSERT INTO t VALUES (1)
--;

-- database dates that no calendar has
SET SESSION sql_mode = 'ALLOW_INVALID_DATES'
--;
CREATE TABLE t (a date, b datetime, c timestamp NULL)
--;
INSERT INTO t VALUES ('2024-02-31', '0000-00-00', NULL), ('0000-00-00', '2024-00-05', NULL)
--;

-- database the ends of time
SET SESSION time_zone = '+00:00'
--;
CREATE TABLE t (a timestamp(6) NULL, b time(6), c year, d datetime(6))
--;
INSERT INTO t VALUES ('1970-01-01 00:00:01', '-838:59:59', 1901, '1000-01-01'), ('2038-01-19 03:14:07.999999', '838:59:59', 2155, '9999-12-31 23:59:59.999999')
--;

-- database an hour that came twice
SET SESSION time_zone = '+00:00'
--;
CREATE TABLE t (a timestamp NULL)
--;
INSERT INTO t VALUES ('2023-10-29 00:30:00'), ('2023-10-29 01:30:00')
--;

-- database numbers at their limits
CREATE TABLE t (a tinyint, b decimal(65,30), c double, d float, e bit(64))
--;
INSERT INTO t VALUES (-128, -99999999999999999999999999999999999.999999999999999999999999999999, 1.7976931348623157e308, 3.4028234e38, b'1'), (127, 0.000000000000000000000000000001, 4.9e-324, 1.17549435e-38, x'FFFFFFFFFFFFFFFF')
--;

-- database text full of quotes
CREATE TABLE t (a int PRIMARY KEY, b text)
--;
INSERT INTO t VALUES (1, 'it''s \\ "x" `y` %s'), (2, '\n\r\t\0\Z'), (3, '''''''')
--;

-- database text that looks like a script
CREATE TABLE t (a text)
--;
INSERT INTO t VALUES ('-- holdfast {"kind": "table"}
'), ('DELIMITER ;;
DROP TABLE t;;'), ('\\q'), ('source /etc/passwd
')
--;

-- database every byte
CREATE TABLE t (a varbinary(9), b blob)
--;
INSERT INTO t VALUES (x'00', x'0A0D5C27221A00'), (x'FF', x''), (NULL, NULL)
--;

-- database several character sets in a row
CREATE TABLE t (a varchar(9) CHARACTER SET latin1, b varchar(9) CHARACTER SET utf16, c varchar(9) CHARACTER SET sjis, d text CHARACTER SET utf8mb4)
--;
INSERT INTO t VALUES ('é€', 'ü😀', 'ソ', '😀')
--;

-- database choices and sets
CREATE TABLE t (a enum('x', 'y,z', 'it''s'), b set('p', 'q', ''), c enum('é') CHARACTER SET latin1)
--;
INSERT INTO t VALUES ('y,z', 'p,q', 'é'), (NULL, '', NULL), ('it''s', 'q', 'é')
--;

-- database shapes
CREATE TABLE t (a point NOT NULL, b geometry, SPATIAL KEY (a))
--;
INSERT INTO t VALUES (POINT(1, 2), ST_GeomFromText('POLYGON((0 0, 1 0, 1 1, 0 0))')), (POINT(-1, -2), NULL)
--;

-- database documents
CREATE TABLE t (a int PRIMARY KEY, b json)
--;
INSERT INTO t VALUES (1, '{"a": [1, 2.5, "x", null, {"b": "ü"}]}'), (2, 'null'), (3, NULL)
--;

-- database words to be searched
CREATE TABLE t (a int PRIMARY KEY, b text, FULLTEXT KEY (b))
--;
INSERT INTO t VALUES (1, 'the quick brown fox'), (2, NULL)
--;

-- database partitions and partitions of them
CREATE TABLE t (a int, b int, PRIMARY KEY (a, b)) PARTITION BY RANGE (a) SUBPARTITION BY HASH (b) SUBPARTITIONS 2 (PARTITION p VALUES LESS THAN (10), PARTITION q VALUES LESS THAN MAXVALUE)
--;
INSERT INTO t VALUES (1, 1), (10, 2), (99, 3)
--;

-- database partitions by lists
CREATE TABLE t (a int) PARTITION BY LIST (a) (PARTITION p VALUES IN (1, 2), PARTITION n VALUES IN (NULL))
--;
INSERT INTO t VALUES (1), (NULL)
--;

-- database views in the wrong order
CREATE TABLE base (a int PRIMARY KEY)
--;
INSERT INTO base VALUES (1), (2), (3)
--;
CREATE VIEW z AS SELECT a FROM base
--;
CREATE VIEW y AS SELECT STRAIGHT_JOIN b.a FROM base b STRAIGHT_JOIN z ON z.a = b.a
--;
CREATE VIEW x AS SELECT (SELECT COUNT(*) FROM y) AS n, z.a FROM z LEFT JOIN y USING (a)
--;
CREATE VIEW a AS SELECT * FROM x UNION SELECT 1, a FROM y
--;

-- database a view with checks on a view
CREATE TABLE base (a int PRIMARY KEY)
--;
INSERT INTO base VALUES (1), (2), (3)
--;
CREATE VIEW z AS SELECT a FROM base WHERE a > 0 WITH LOCAL CHECK OPTION
--;
CREATE VIEW y AS SELECT a FROM z WHERE a < 9 WITH CASCADED CHECK OPTION
--;

-- database views with odd columns
CREATE TABLE base (a int PRIMARY KEY)
--;
INSERT INTO base VALUES (1), (2), (3)
--;
CREATE VIEW v AS SELECT a AS `a ``b`, COUNT(*), 'x' AS `from ``t`` join` FROM base GROUP BY a
--;
CREATE VIEW u AS SELECT `a ``b` FROM v
--;

-- database a view whose definer is gone
CREATE TABLE base (a int PRIMARY KEY)
--;
INSERT INTO base VALUES (1), (2), (3)
--;
CREATE DEFINER = {account} VIEW v AS SELECT a FROM base
--;
CREATE VIEW u AS SELECT a FROM v
--;

-- database routines that need each other
CREATE FUNCTION b_two(n int) RETURNS int DETERMINISTIC RETURN n * 2
--;
CREATE FUNCTION a_four(n int) RETURNS int DETERMINISTIC RETURN b_two(b_two(n))
--;
CREATE PROCEDURE p(INOUT n int) BEGIN -- a comment; with ;;
 SET n = a_four(n); END
--;
CREATE VIEW v AS SELECT a_four(3) AS twelve
--;

-- database routines of other modes
SET SESSION sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES'
--;
CREATE PROCEDURE p() COMMENT 'one\two' SELECT "x" || 'a\b' FROM (SELECT 1 AS "x") AS "t"
--;

-- database triggers in their order
CREATE TABLE t (a int PRIMARY KEY, b int)
--;
CREATE TRIGGER z BEFORE INSERT ON t FOR EACH ROW SET NEW.b = COALESCE(NEW.b, 1)
--;
CREATE TRIGGER a BEFORE INSERT ON t FOR EACH ROW FOLLOWS z SET NEW.b = NEW.b * 10
--;
CREATE TRIGGER m BEFORE INSERT ON t FOR EACH ROW PRECEDES a SET NEW.b = NEW.b + 1
--;
INSERT INTO t (a) VALUES (1), (2)
--;

-- database events of all kinds
CREATE TABLE base (a int PRIMARY KEY)
--;
INSERT INTO base VALUES (1), (2), (3)
--;
CREATE EVENT daily ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01 00:00:00' DO DELETE FROM base
--;
CREATE EVENT once ON SCHEDULE AT '2037-01-01 00:00:00' ON COMPLETION PRESERVE DO DELETE FROM base
--;
CREATE EVENT off ON SCHEDULE EVERY 1 HOUR DISABLE COMMENT 'x\\y' DO DELETE FROM base
--;

-- database many small tables
CREATE TABLE t0 (a int PRIMARY KEY, b varchar(20))
--;
INSERT INTO t0 VALUES (0, 'row of 0')
--;
CREATE TABLE t1 (a int PRIMARY KEY, b varchar(20))
--;
INSERT INTO t1 VALUES (1, 'row of 1')
--;
CREATE TABLE t2 (a int PRIMARY KEY, b varchar(20))
--;
INSERT INTO t2 VALUES (2, 'row of 2')
--;
CREATE TABLE t3 (a int PRIMARY KEY, b varchar(20))
--;
INSERT INTO t3 VALUES (3, 'row of 3')
--;
CREATE TABLE t4 (a int PRIMARY KEY, b varchar(20))
--;
INSERT INTO t4 VALUES (4, 'row of 4')
--;
CREATE TABLE t5 (a int PRIMARY KEY, b varchar(20))
--;
INSERT INTO t5 VALUES (5, 'row of 5')
--;
CREATE TABLE t6 (a int PRIMARY KEY, b varchar(20))
--;
INSERT INTO t6 VALUES (6, 'row of 6')
--;
CREATE TABLE t7 (a int PRIMARY KEY, b varchar(20))
--;
INSERT INTO t7 VALUES (7, 'row of 7')
--;
CREATE TABLE t8 (a int PRIMARY KEY, b varchar(20))
--;
INSERT INTO t8 VALUES (8, 'row of 8')
--;
CREATE TABLE t9 (a int PRIMARY KEY, b varchar(20))
--;
INSERT INTO t9 VALUES (9, 'row of 9')
--;
CREATE TABLE t10 (a int PRIMARY KEY, b varchar(20))
--;
INSERT INTO t10 VALUES (10, 'row of 10')
--;
CREATE TABLE t11 (a int PRIMARY KEY, b varchar(20))
--;
INSERT INTO t11 VALUES (11, 'row of 11')
--;
CREATE TABLE t12 (a int PRIMARY KEY, b varchar(20))
--;
INSERT INTO t12 VALUES (12, 'row of 12')
--;
CREATE TABLE t13 (a int PRIMARY KEY, b varchar(20))
--;
INSERT INTO t13 VALUES (13, 'row of 13')
--;
CREATE TABLE t14 (a int PRIMARY KEY, b varchar(20))
--;
INSERT INTO t14 VALUES (14, 'row of 14')
--;
CREATE TABLE t15 (a int PRIMARY KEY, b varchar(20))
--;
INSERT INTO t15 VALUES (15, 'row of 15')
--;
CREATE TABLE t16 (a int PRIMARY KEY, b varchar(20))
--;
INSERT INTO t16 VALUES (16, 'row of 16')
--;
CREATE TABLE t17 (a int PRIMARY KEY, b varchar(20))
--;
INSERT INTO t17 VALUES (17, 'row of 17')
--;
CREATE TABLE t18 (a int PRIMARY KEY, b varchar(20))
--;
INSERT INTO t18 VALUES (18, 'row of 18')
--;
CREATE TABLE t19 (a int PRIMARY KEY, b varchar(20))
--;
INSERT INTO t19 VALUES (19, 'row of 19')
--;
CREATE TABLE t20 (a int PRIMARY KEY, b varchar(20))
--;
INSERT INTO t20 VALUES (20, 'row of 20')
--;
CREATE TABLE t21 (a int PRIMARY KEY, b varchar(20))
--;
INSERT INTO t21 VALUES (21, 'row of 21')
--;
CREATE TABLE t22 (a int PRIMARY KEY, b varchar(20))
--;
INSERT INTO t22 VALUES (22, 'row of 22')
--;
CREATE TABLE t23 (a int PRIMARY KEY, b varchar(20))
--;
INSERT INTO t23 VALUES (23, 'row of 23')
--;
CREATE TABLE t24 (a int PRIMARY KEY, b varchar(20))
--;
INSERT INTO t24 VALUES (24, 'row of 24')
--;
CREATE TABLE t25 (a int PRIMARY KEY, b varchar(20))
--;
INSERT INTO t25 VALUES (25, 'row of 25')
--;
CREATE TABLE t26 (a int PRIMARY KEY, b varchar(20))
--;
INSERT INTO t26 VALUES (26, 'row of 26')
--;
CREATE TABLE t27 (a int PRIMARY KEY, b varchar(20))
--;
INSERT INTO t27 VALUES (27, 'row of 27')
--;
CREATE TABLE t28 (a int PRIMARY KEY, b varchar(20))
--;
INSERT INTO t28 VALUES (28, 'row of 28')
--;
CREATE TABLE t29 (a int PRIMARY KEY, b varchar(20))
--;
INSERT INTO t29 VALUES (29, 'row of 29')
--;
CREATE TABLE t30 (a int PRIMARY KEY, b varchar(20))
--;
INSERT INTO t30 VALUES (30, 'row of 30')
--;
CREATE TABLE t31 (a int PRIMARY KEY, b varchar(20))
--;
INSERT INTO t31 VALUES (31, 'row of 31')
--;
CREATE TABLE t32 (a int PRIMARY KEY, b varchar(20))
--;
INSERT INTO t32 VALUES (32, 'row of 32')
--;
CREATE TABLE t33 (a int PRIMARY KEY, b varchar(20))
--;
INSERT INTO t33 VALUES (33, 'row of 33')
--;
CREATE TABLE t34 (a int PRIMARY KEY, b varchar(20))
--;
INSERT INTO t34 VALUES (34, 'row of 34')
--;
CREATE TABLE t35 (a int PRIMARY KEY, b varchar(20))
--;
INSERT INTO t35 VALUES (35, 'row of 35')
--;
CREATE TABLE t36 (a int PRIMARY KEY, b varchar(20))
--;
INSERT INTO t36 VALUES (36, 'row of 36')
--;
CREATE TABLE t37 (a int PRIMARY KEY, b varchar(20))
--;
INSERT INTO t37 VALUES (37, 'row of 37')
--;
CREATE TABLE t38 (a int PRIMARY KEY, b varchar(20))
--;
INSERT INTO t38 VALUES (38, 'row of 38')
--;
CREATE TABLE t39 (a int PRIMARY KEY, b varchar(20))
--;
INSERT INTO t39 VALUES (39, 'row of 39')
--;

-- database ascii with high bytes, mariadb
CREATE TABLE t (a int PRIMARY KEY, b varchar(20) CHARACTER SET ascii NOT NULL)
--;
INSERT INTO t VALUES (1, x'C3B6'), (2, x'FE'), (3, 'plain')
--;

-- database sequences, mariadb
CREATE SEQUENCE s START WITH 10 INCREMENT BY 5 CYCLE MAXVALUE 100
--;
CREATE TABLE t (a int PRIMARY KEY DEFAULT NEXTVAL(s), b int)
--;
INSERT INTO t (b) VALUES (1), (2)
--;

-- database types of its own, mariadb
CREATE TABLE t (a inet6, b uuid, c text COMPRESSED)
--;
INSERT INTO t VALUES ('::1', '123e4567-e89b-12d3-a456-426614174000', REPEAT('x', 500))
--;

-- database periods, mariadb
CREATE TABLE t (a int, s date, e date, PERIOD FOR p (s, e), UNIQUE (a, p WITHOUT OVERLAPS))
--;
INSERT INTO t VALUES (1, '2001-01-01', '2002-01-01'), (1, '2002-01-01', '2003-01-01')
--;

-- database a table of generated columns alone, mariadb
CREATE TABLE t (a int AS (1 + 1) STORED)
--;
INSERT INTO t () VALUES (), ()
--;

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
