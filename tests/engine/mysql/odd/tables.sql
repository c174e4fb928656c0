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
CREATE TABLE t (a int AUTO_INCREMENT PRIMARY KEY, b int AS (1 + 1) VIRTUAL)
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

-- database checks
CREATE TABLE t (a int PRIMARY KEY, CONSTRAINT positive CHECK (a > 0))
--;
INSERT INTO t VALUES (1)
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

-- database many small tables
CREATE TABLE t{0..39} (a int PRIMARY KEY, b varchar(20))
--;
INSERT INTO t{0..39} VALUES ({0..39}, 'row of {0..39}')
--;

-- database names that differ by their case alone
CREATE TABLE T (A int PRIMARY KEY)
--;
CREATE TABLE t (a int PRIMARY KEY)
--;
INSERT INTO T VALUES (1)
--;
INSERT INTO t VALUES (2)
--;

-- database names as long as can be
CREATE TABLE `ääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääää` (`üüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüü` int PRIMARY KEY)
--;
INSERT INTO `ääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääää` VALUES (1)
--;

-- database names that other programs take for something else
CREATE TABLE `a/b\c` (`a.b` int PRIMARY KEY, `*` int, `1` int, `@@x` int)
--;
INSERT INTO `a/b\c` VALUES (1, 2, 3, 4)
--;
CREATE TABLE `-- x` (a int PRIMARY KEY, `'` int DEFAULT 3)
--;
INSERT INTO `-- x` (a) VALUES (1)
--;

-- database words of its own in comments
CREATE TABLE t (a int PRIMARY KEY COMMENT 'REFERENCES `x` (`y`)', b int COMMENT 'it''s \\ "x" ` %s', KEY k (b) COMMENT 'CONSTRAINT `c` FOREIGN KEY') COMMENT 'ENGINE=MyISAM AUTO_INCREMENT=7 nextval(`db`.`s`)
; -- line'
--;
INSERT INTO t VALUES (1, 2)
--;

-- database a table with many columns
CREATE TABLE wide (a int PRIMARY KEY)
--;
ALTER TABLE wide ADD c{0..39} varchar(100) DEFAULT 'x'
--;
INSERT INTO wide (a) VALUES (1), (2)
--;

-- database long keys of text
CREATE TABLE t (a varchar(700) CHARACTER SET utf8mb4, b int, UNIQUE KEY (a), KEY (b)) ROW_FORMAT=DYNAMIC
--;
INSERT INTO t VALUES (REPEAT('ü', 700), 1), (REPEAT('x', 699), 2)
--;

-- database rows of every format
CREATE TABLE a (a int PRIMARY KEY, b text) ROW_FORMAT=REDUNDANT
--;
CREATE TABLE b (a int PRIMARY KEY, b text) ROW_FORMAT=COMPACT
--;
CREATE TABLE c (a int PRIMARY KEY, b text) ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=8
--;
INSERT INTO a VALUES (1, REPEAT('x', 9000))
--;
INSERT INTO b VALUES (1, REPEAT('x', 9000))
--;
INSERT INTO c VALUES (1, REPEAT('x', 9000))
--;

-- database engines that keep no snapshot
CREATE TABLE a (a int PRIMARY KEY, b text) ENGINE=MyISAM DELAY_KEY_WRITE=1 PACK_KEYS=1 MIN_ROWS=3 MAX_ROWS=99
--;
CREATE TABLE b (a int, b varchar(9), KEY (a) USING HASH, KEY (b) USING BTREE) ENGINE=MEMORY
--;
CREATE TABLE c (a int NOT NULL, b varchar(9) NOT NULL) ENGINE=CSV
--;
CREATE TABLE d (a int AUTO_INCREMENT, b int, KEY (b, a)) ENGINE=MyISAM
--;
INSERT INTO a VALUES (1, 'x'), (2, NULL)
--;
INSERT INTO b VALUES (1, 'x'), (NULL, NULL)
--;
INSERT INTO c VALUES (1, 'a,"b"')
--;
INSERT INTO d (b) VALUES (1), (1), (2)
--;

-- database a merge of merged tables
CREATE TABLE one (a int, KEY (a)) ENGINE=MyISAM
--;
CREATE TABLE two (a int, KEY (a)) ENGINE=MyISAM
--;
CREATE TABLE aaa (a int, KEY (a)) ENGINE=MERGE UNION=(one, two) INSERT_METHOD=FIRST
--;
CREATE TABLE zzz (a int, KEY (a)) ENGINE=MERGE UNION=(two) INSERT_METHOD=NO
--;
INSERT INTO one VALUES (1), (2)
--;
INSERT INTO two VALUES (3)
--;

-- database a key that a row of another holds under another name
CREATE TABLE p (a int, b int, c int UNIQUE, PRIMARY KEY (a, b))
--;
CREATE TABLE q (x int, y int, CONSTRAINT `p_q` FOREIGN KEY `ix` (x, y) REFERENCES p (a, b) ON UPDATE CASCADE ON DELETE SET NULL, CONSTRAINT `by c` FOREIGN KEY (y) REFERENCES p (c) ON DELETE RESTRICT)
--;
INSERT INTO p VALUES (1, 2, 2), (3, 4, 4)
--;
INSERT INTO q VALUES (1, 2), (NULL, 4), (NULL, NULL)
--;

-- database checks with words of every kind
CREATE TABLE t (a varchar(30), b int, CONSTRAINT `c``1` CHECK (a REGEXP '^[\\w''"\\\\]+$'), CHECK (b BETWEEN 1 AND 9 OR b IS NULL), CHECK (a <> 'ü' AND a NOT LIKE '%\_%'))
--;
INSERT INTO t VALUES ('x', 3), (NULL, NULL)
--;

-- database defaults full of quotes
CREATE TABLE t (a int PRIMARY KEY, b varchar(30) DEFAULT 'it''s \\ "x" %s', c varchar(30) DEFAULT (CONCAT('a''b', '\\', "c")), d bit(3) DEFAULT b'101', e binary(3) DEFAULT x'00FF', f enum('a''b', 'c') DEFAULT 'a''b', g set('x', 'y') DEFAULT 'x,y', h decimal(5,2) DEFAULT -1.50, i timestamp(3) DEFAULT CURRENT_TIMESTAMP(3))
--;
INSERT INTO t (a, i) VALUES (1, '2001-01-01')
--;
INSERT INTO t (a, b, i) VALUES (2, DEFAULT(b), '2001-01-01')
--;

-- database columns that are computed from one another
CREATE TABLE t (a varchar(20), b varchar(60) AS (CONCAT(a, '''\\', CHAR_LENGTH(a))) STORED, c int AS (CHAR_LENGTH(b)) VIRTUAL, d json AS (JSON_OBJECT('a', a)) VIRTUAL, UNIQUE KEY (c))
--;
INSERT INTO t (a) VALUES ('x'), ('it''s'), (NULL)
--;

-- database partitions by what is computed
CREATE TABLE t (a int, b datetime NOT NULL, c varchar(9)) PARTITION BY RANGE COLUMNS (b) (PARTITION `p 1` VALUES LESS THAN ('2001-01-01') COMMENT = 'it''s', PARTITION `P``2` VALUES LESS THAN (MAXVALUE))
--;
CREATE TABLE u (a varchar(9)) PARTITION BY LIST COLUMNS (a) (PARTITION x VALUES IN ('a', 'ü'), PARTITION y VALUES IN (NULL, ''))
--;
CREATE TABLE v (a int PRIMARY KEY) PARTITION BY LINEAR KEY (a) PARTITIONS 5
--;
INSERT INTO t VALUES (1, '2000-01-01', 'x'), (2, '2024-01-01', NULL)
--;
INSERT INTO u VALUES ('a'), ('ü'), (NULL), ('')
--;
INSERT INTO v VALUES (1), (2), (3)
--;

-- database a limit that sessions take from the server
CREATE TABLE a (x int, y varchar(10), z int)
--;
INSERT INTO a VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', 3), (4, 'd', 4), (5, 'e', 5), (6, 'f', 6)
--;
CREATE TABLE k (id int PRIMARY KEY, v int)
--;
INSERT INTO k VALUES (1, 1), (2, 2), (3, 3), (4, 4), (5, 5)
--;
SET GLOBAL sql_select_limit = 4
--;

-- database timestamps without a default
SET SESSION explicit_defaults_for_timestamp = ON
--;
CREATE TABLE t (id int PRIMARY KEY, a timestamp NOT NULL, b timestamp NULL)
--;
CREATE TABLE u (a timestamp NOT NULL, b int)
--;
INSERT INTO t VALUES (1, '2020-01-01', NULL)
--;
INSERT INTO u VALUES ('2020-01-01', 1)
--;
SET GLOBAL explicit_defaults_for_timestamp = OFF
--;
