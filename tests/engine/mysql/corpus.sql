-- What has broken dumps before, one table each; loaded by the server's own client. Of both servers;
-- what only one has stands in corpus.mariadb.sql and corpus.mysql.sql.
SET NAMES utf8mb4;
SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES', time_zone = '+00:00';

CREATE TABLE numbers (
  id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
  tiny tinyint, small smallint unsigned, medium mediumint, plain int(8) zerofill, big bigint,
  exact decimal(65,30), price decimal(10,2) NOT NULL DEFAULT 0,
  f float, d double, rounded float(10,2), fixed double(20,4), truth boolean,
  bits bit(64), few_bits bit(5)
) AUTO_INCREMENT = 4711;
INSERT INTO numbers (id, tiny, small, medium, plain, big, exact, price, f, d, rounded, fixed, truth, bits, few_bits) VALUES
 (0, -128, 65535, -8388608, 42, -9223372036854775808, -12345678901234567890123456789012345.123456789012345678901234567891, 99999999.99, 0.1, 0.1, 1234567.89, 0.0001, true, b'1111111111111111111111111111111111111111111111111111111111111111', b'10101'),
 (1, NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
 (2, 127, 0, 8388607, 0, 9223372036854775807, 0.000000000000000000000000000001, -0.01, 3.4028234e38, 1.7976931348623157e308, -0.01, -1234567890123.4567, false, 0, 0),
 (3, 0, 1, 0, 99999999, 0, 1, 1, 1.1754944e-38, 2.2250738585072014e-308, 0, 0, 1, 1, 1),
 (4, 1, 1, 1, 1, 1, 1, 1, 16777217, 9007199254740993, 0.3, 0.3, 1, 39, 7),
 (6, 1, 1, 1, 1, 1, 1, 1, -1.1754944e-38, -1.7976931348623157e308, -1, -1, 1, 1, 1),
 (7, 1, 1, 1, 1, 1, 1, 1, -3.4028234e38, -2.2250738585072014e-308, 1e7, 12345678901234.5678, 1, 1, 1),
 (8, 1, 1, 1, 1, 1, 1, 1, 1e-45, -1.2345678901234567e-101, 1, 1, 1, 1, 1),
 (5, 1, 1, 1, 1, 1, 1, 1, -0e0, -0e0, 0, 0, 1, 10, 13),
 (18446744073709551614, 1, 1, 1, 1, 1, 1, 1, 0.333333333, 0.1234567890123456789, 2.675, 2.675, 1, 92, 3);

CREATE TABLE texts (
  id int PRIMARY KEY,
  narrow varchar(200) CHARACTER SET latin1,
  plain varchar(200) CHARACTER SET ascii,
  three varchar(200) CHARACTER SET utf8mb3,
  four varchar(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci,
  other_order varchar(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
  wide varchar(200) CHARACTER SET ucs2,
  wider varchar(200) CHARACTER SET utf32,
  pairs varchar(200) CHARACTER SET utf16,
  japanese varchar(200) CHARACTER SET cp932,
  shifted varchar(200) CHARACTER SET sjis,
  chinese varchar(200) CHARACTER SET gbk,
  russian varchar(200) CHARACTER SET koi8r,
  fixed char(20) CHARACTER SET utf8mb4,
  story longtext
);
INSERT INTO texts (id, narrow, plain, three, four, other_order, wide, wider, pairs, japanese, shifted, chinese, russian, fixed, story) VALUES
 (1, 'é ß €', 'plain', 'ü ž', '😀 日本', 'İstanbul', 'Ωmega', '😀', '😀', 'ソ表\\', 'ソ能', '中文', 'Привет', 'pad  ', 'it''s \\ "quoted" `ticked`'),
 (2, '', '', '', '', '', '', '', '', '', '', '', '', '', ''),
 (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
 (4, 'a\0b', 'c\Zd', 'tab\there', 'line\nfeed', 'carriage\rreturn', 'both\r\nends', '\r\n', '\n', '\r', '\0', '\b', '%_', ' ', 'a\r\nb\n\nc\rd\0e\Zf\\g;;\n-- not a comment\n/* nor this */;\ndelimiter ;;\n'),
 (5, 'NULL', 'null', '\\N', '0x41', '),(', ',\n(', '''', '"', '`', '#', '--', ';', 'x''41''', '$$ ;; // \\! \\q'),
 (6, UNHEX('81'), 'x', 'x', 'x', 'x', 'x', 'x', 'x', UNHEX('FA54'), 'x', 'x', 'x', 'x', REPEAT('é', 300000)),
 (7, UNHEX('818D8F909DA0FF'), 'x', 'x', 'x', 'x', 'x', 'x', 'x', UNHEX('ED40'), 'x', 'x', 'x', 'x', REPEAT('\r\n', 70000));

CREATE TABLE bytes_of_all_kinds (
  id int PRIMARY KEY, fixed binary(8), short varbinary(300), tiny tinyblob, plain blob, medium mediumblob, large longblob
);
INSERT INTO bytes_of_all_kinds VALUES
 (1, '', '', '', '', '', ''),
 (2, NULL, NULL, NULL, NULL, NULL, NULL),
 (3, 'ab', UNHEX('00FF0A0D1A5C2722'), UNHEX('00'), UNHEX('C3'), UNHEX('0D0A'), REPEAT(UNHEX('000102FF'), 100000)),
 (4, UNHEX('FF00'), 'text', '0', ' ', '  ', REPEAT('x', 5000000)),
 (5, 'a', 'a', 'a', 'a', 'a', 'small again'),
 (6, 'a', 'a', 'a', 'a', 'a', REPEAT(UNHEX('00'), 70000));

CREATE TABLE moments (
  id int PRIMARY KEY, day date, clock time, precise_clock time(6), stamp timestamp NULL,
  precise_stamp timestamp(6) NULL DEFAULT NULL, at datetime, precisely datetime(6), y year,
  touched timestamp NOT NULL DEFAULT current_timestamp() ON UPDATE current_timestamp()
);
INSERT INTO moments VALUES
 (1, '0000-00-00', '-838:59:59', '838:59:58.999999', '1970-01-01 00:00:01', '2038-01-19 03:14:07.999999', '0000-00-00 00:00:00', '9999-12-31 23:59:59.999999', 0000, '2001-01-01 00:00:00'),
 (2, '2024-02-31', '00:00:00', '-00:00:00.000001', '0000-00-00 00:00:00', '0000-00-00 00:00:00.000000', '2024-00-00 00:00:00', '1000-01-01 00:00:00.000001', 1901, '2001-01-01 00:00:00'),
 (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '2001-01-01 00:00:00'),
 (4, '1000-01-01', '12:00:00', '12:00:00.5', '2024-03-31 01:30:00', '2024-10-27 01:30:00.25', '2024-03-31 02:30:00', '2024-01-01', 2155, '0000-00-00 00:00:00');

CREATE TABLE choices (
  id int PRIMARY KEY,
  one enum('a','','é','it''s, "so"') CHARACTER SET latin1, some set('x','y y','z''') ,
  many set('1','2','3','4','5','6','7','8','9','10','11','12','13','14','15','16','17','18','19','20','21','22','23','24','25','26','27','28','29','30','31','32','33','34','35','36','37','38','39','40','41','42','43','44','45','46','47','48','49','50','51','52','53','54','55','56','57','58','59','60','61','62','63','64')
);
INSERT INTO choices VALUES (1,'a','x,z''',18446744073709551615),(2,'','',9223372036854775809),(3,NULL,NULL,NULL),(4,0,0,0),(5,'é','y y','64'),(6,4,7,1);

CREATE TABLE shapes (id int PRIMARY KEY, any_shape geometry, place point NOT NULL, area polygon, SPATIAL KEY (place));
INSERT INTO shapes VALUES
 (1, ST_GeomFromText('LINESTRING(0 0,1 1)', 4326), ST_GeomFromText('POINT(1.1 -2.2)'), ST_GeomFromText('POLYGON((0 0,10 0,10 10,0 0))')),
 (2, NULL, ST_GeomFromText('POINT(0 0)'), NULL),
 (3, ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1),LINESTRING(2 2,3 3))'), ST_GeomFromText('POINT(1e308 -1e-308)'), NULL);

CREATE TABLE documents (id int PRIMARY KEY, body json, CHECK (json_valid(body)));
INSERT INTO documents VALUES (1, '{"a": [1, 2.50, null], "é": "\\u00e9\\n\\"q\\""}'), (2, NULL), (3, '"text"'), (4, '[]');

CREATE TABLE computed (
  id int PRIMARY KEY, net decimal(10,2), gross decimal(10,2) AS (net * 1.19) VIRTUAL,
  label varchar(30) AS (concat('#', id)) STORED, hidden int INVISIBLE DEFAULT 7, KEY (gross)
);
INSERT INTO computed (id, net, hidden) VALUES (1, 10, 1), (2, NULL, NULL), (3, 0.01, DEFAULT);

CREATE TABLE counted (seq int PRIMARY KEY);
INSERT INTO counted SELECT seq FROM JSON_TABLE(CONCAT('[', REPEAT('1,', 24999), '1]'), '$[*]' COLUMNS (seq FOR ORDINALITY)) AS numbers;
CREATE TABLE many_rows (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, k int, c varchar(200), KEY (k));
INSERT INTO many_rows (k, c) SELECT seq % 1000, SHA2(seq, 512) FROM counted;
UPDATE many_rows SET id = -id WHERE id % 7 = 0;
UPDATE many_rows SET id = 2000000000 + id WHERE id % 11 = 0 AND id > 0;
UPDATE many_rows SET c = REPEAT(c, 20000 / 128) WHERE id % 5000 = 1;

CREATE TABLE composite_key (a varchar(20) COLLATE utf8mb4_unicode_ci, b int, c datetime(3), v varchar(300), PRIMARY KEY (a, b DESC, c));
INSERT INTO composite_key SELECT ELT(1 + seq % 6, 'alpha', 'Élan', 'zz''top', '', 'ß', '😀'), CAST(seq AS SIGNED) % 500 - 250, '2024-01-01' + INTERVAL seq SECOND, REPEAT('v', 250) FROM counted WHERE seq <= 8000;
CREATE TABLE latin_key (name varchar(50) CHARACTER SET latin1 COLLATE latin1_german2_ci PRIMARY KEY, v varchar(500));
INSERT INTO latin_key SELECT CONCAT(ELT(1 + seq % 5, 'ä', 'ae', 'z', 'Ö', '\\'), seq), REPEAT('x', 400) FROM counted WHERE seq <= 4000;
CREATE TABLE binary_key (h binary(20) PRIMARY KEY, v varchar(500));
INSERT INTO binary_key SELECT UNHEX(LEFT(SHA2(seq, 256), 40)), REPEAT('x', 400) FROM counted WHERE seq <= 4000;
CREATE TABLE stamp_key (at timestamp(6) NOT NULL, n decimal(20,5) NOT NULL, v varchar(500), UNIQUE KEY (n, at));
INSERT INTO stamp_key SELECT '2024-01-01' + INTERVAL seq * 1000 MICROSECOND, seq / 7, REPEAT('y', 400) FROM counted WHERE seq <= 4000;

CREATE TABLE no_key (a int, b varchar(400), c mediumblob);
INSERT INTO no_key SELECT seq % 10, REPEAT(seq, 50), NULL FROM counted WHERE seq <= 4000;
INSERT INTO no_key VALUES (1, 'twin', ''), (1, 'twin', ''), (NULL, NULL, NULL), (2, 'huge', REPEAT(UNHEX('DEADBEEF'), 700000)), (3, 'after', 'x');
CREATE TABLE nullable_unique (a int, UNIQUE KEY (a));
INSERT INTO nullable_unique VALUES (NULL), (NULL), (1);
CREATE TABLE prefix_key (a varchar(200), PRIMARY KEY (a(3)));
INSERT INTO prefix_key VALUES ('abc'), ('abd-long');
CREATE TABLE float_key (a double PRIMARY KEY, b enum('x') NOT NULL);
INSERT INTO float_key VALUES (0.1, 'x'), (1e300, 'x');
CREATE TABLE empty_table (id int PRIMARY KEY, b longblob);
CREATE TABLE only_computed (a int AS (1) VIRTUAL);
INSERT INTO only_computed VALUES (), (), ();

CREATE TABLE parted (id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (YEAR(at)) (PARTITION p0 VALUES LESS THAN (2000), PARTITION p1 VALUES LESS THAN MAXVALUE);
INSERT INTO parted VALUES (1, '1999-01-01'), (2, '2024-01-01');

CREATE TABLE `select` (`from` int PRIMARY KEY, `a``tick` int, `a.dot` int, `a space` int, `quo'te"s` int, `naïve 日x` int) COMMENT 'it''s a `comment`; -- really';
INSERT INTO `select` VALUES (1, 2, 3, 4, 5, 6);
CREATE TABLE `dots.and``ticks; -- 'x'` (`%s %d` varchar(10) PRIMARY KEY COMMENT 'line\nbreak %') COMMENT 'nextval(`here`.`not`)';
INSERT INTO `dots.and``ticks; -- 'x'` VALUES ('100%'), ('%s');
CREATE TABLE `ÄÖÜ` (id int PRIMARY KEY);
INSERT INTO `ÄÖÜ` VALUES (1);

CREATE TABLE parent (id int PRIMARY KEY, boss int, FOREIGN KEY (boss) REFERENCES parent (id)) CHARACTER SET latin1;
INSERT INTO parent VALUES (1, NULL), (2, 1);
CREATE TABLE a_child (id int PRIMARY KEY, parent int, CONSTRAINT `odd name` FOREIGN KEY (parent) REFERENCES parent (id) ON DELETE CASCADE, CHECK (id > 0));
INSERT INTO a_child VALUES (1, 2);
CREATE TABLE journal (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, what varchar(100));

CREATE VIEW z_first AS SELECT p.id, p.boss, 'é' AS accent FROM parent p WHERE p.id > 0;
CREATE VIEW m_middle AS SELECT z.id, c.id AS child FROM z_first z LEFT JOIN a_child c ON c.parent = z.id;
CREATE SQL SECURITY INVOKER VIEW a_last AS SELECT m.id, (SELECT COUNT(*) FROM z_first) AS n FROM m_middle m JOIN (SELECT 1 AS one) o;
SET NAMES latin1;
CREATE VIEW old_client AS SELECT 'caf�' AS drink, CONVERT('x' USING utf8mb4) AS x;
SET NAMES utf8mb4;
CREATE VIEW checked AS SELECT id FROM parent WHERE id < 100 WITH CASCADED CHECK OPTION;

DELIMITER ;;
CREATE FUNCTION twice(n int) RETURNS int DETERMINISTIC BEGIN /* kept; */ RETURN n * 2; -- end
END;;
SET SESSION sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT';;
CREATE PROCEDURE "odd `name"(IN "in" varchar(10), OUT result varchar(20)) COMMENT 'it''s' SELECT 'a' || "in" INTO result;;
SET SESSION sql_mode = 'STRICT_TRANS_TABLES';;
CREATE TRIGGER second_trigger BEFORE INSERT ON journal FOR EACH ROW SET NEW.what = CONCAT(NEW.what, ' 2');;
CREATE TRIGGER first_trigger BEFORE INSERT ON journal FOR EACH ROW PRECEDES second_trigger SET NEW.what = CONCAT(NEW.what, ' 1 ;; ');;
CREATE TRIGGER after_parent AFTER INSERT ON parent FOR EACH ROW BEGIN INSERT INTO journal (what) VALUES (CONCAT('parent ', NEW.id)); END;;
CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01 00:00:00' DISABLE COMMENT 'ö' DO BEGIN DELETE FROM journal; END;;
DELIMITER ;
CREATE VIEW calls AS SELECT twice(id) AS double_id FROM parent;
INSERT INTO journal (what) VALUES ('begin');
