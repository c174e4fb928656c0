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

-- database bytes that are no characters of theirs
SET SESSION sql_mode = ''
--;
CREATE TABLE t (a int PRIMARY KEY, b varchar(20) CHARACTER SET ucs2, c varchar(20) CHARACTER SET utf16, d varchar(20) CHARACTER SET utf16le, e varchar(20) CHARACTER SET utf32, f varchar(20) CHARACTER SET sjis, g varchar(20) CHARACTER SET cp932, h varchar(20) CHARACTER SET eucjpms, i varchar(20) CHARACTER SET big5, j varchar(20) CHARACTER SET gbk, k varchar(20) CHARACTER SET euckr, l varchar(20) CHARACTER SET swe7, m varchar(20) CHARACTER SET ascii, n varchar(20) CHARACTER SET utf8mb3)
--;
INSERT IGNORE INTO t VALUES (1, x'D800', x'D83D', x'3DD8', x'0000D800', x'81', x'80', x'8FA1', x'80', x'80', x'C9A1', x'5B5C5D', x'C3B6', x'EDA080'), (2, x'0000', x'D83DDE00', x'3DD800DE', x'0010FFFF', x'5C', x'FA54', x'8EA1', x'A1', x'A2E3', x'FEFE', x'7B7C7D', x'7F', x'C3'), (3, x'FFFF', x'DC00', x'00DC', x'00110000', x'A1DF', x'8740', x'ADA1', x'F9FE', x'FE80', x'41', x'40', x'00', x'F0')
--;

-- database ordered by bytes
CREATE TABLE t (a varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY, b char(5) CHARACTER SET latin1 COLLATE latin1_bin, c varchar(9) CHARACTER SET gbk COLLATE gbk_bin, UNIQUE KEY (b, c))
--;
INSERT INTO t VALUES ('a', 'x', 'y'), ('A', 'X', 'Y'), ('ä', 'ä', NULL), ('a	', NULL, '中')
--;

-- database keys of texts in other sets
CREATE TABLE a (k varchar(9) CHARACTER SET sjis PRIMARY KEY, f varchar(4000))
--;
CREATE TABLE b (k varchar(9) CHARACTER SET utf16le PRIMARY KEY, f varchar(4000))
--;
CREATE TABLE c (k char(9) CHARACTER SET big5 NOT NULL, d char(3) NOT NULL, f varchar(4000), UNIQUE KEY (d, k))
--;
INSERT INTO a VALUES ('ソ', REPEAT('x', 4000)), ('表', REPEAT('y', 4000)), ('\\', ''), ('''', ''), ('', '')
--;
INSERT INTO b VALUES ('😀', REPEAT('x', 4000)), ('a', ''), ('Z', ''), ('', '')
--;
INSERT INTO c VALUES ('功', 'a', ''), ('許', 'b', ''), ('', '', '')
--;

-- database spaces at the end
CREATE TABLE t (a char(5), b varchar(5), c binary(5), d varbinary(5), e text, f varchar(9) PRIMARY KEY)
--;
INSERT INTO t VALUES ('a  ', 'a  ', 'a ', 'a ', 'a ', 'a '), ('', ' ', '', ' ', ' ', 'b'), (' a', ' a', x'20', x'0020', '	', '	')
--;

-- database numbers that no text keeps
CREATE TABLE t (a float PRIMARY KEY, b double, c float(7,3), d double(10,2), e decimal(65,0), f bigint unsigned, g bit(1), h tinyint(1), i year)
--;
INSERT INTO t VALUES (16777217, 0.1, 1234.567, 1234567.89, 99999999999999999999999999999999999999999999999999999999999999999, 18446744073709551615, 1, 127, 0), (1e-45, -0e0, -0.001, 0.01, -1, 0, 0, -128, 1901), (3.4e38, 2.2250738585072011e-308, 0, 0, 0, 1, 1, 1, 2155)
--;

-- database values longer than a statement
CREATE TABLE t (a int PRIMARY KEY, b longblob, c longtext CHARACTER SET latin1, d json)
--;
INSERT INTO t VALUES (1, REPEAT(x'00FF27', 2000000), REPEAT('é''\\', 700000), CONCAT('["', REPEAT('ü', 600000), '"]')), (2, '', '', '[]'), (3, NULL, NULL, NULL)
--;

-- database documents of every shape
CREATE TABLE t (a int PRIMARY KEY, b json, c json NOT NULL DEFAULT (JSON_ARRAY()))
--;
INSERT INTO t VALUES (1, '{"": {"": []}, "é\\n\\"": "\\u0000\\ud83d\\ude00", "it''s": "\\\\"}', '[]'), (2, '"2024-02-29"', '{"a": 1, "b": [true, false, null]}'), (3, '12345678901234567890', '-9223372036854775808'), (4, '[1.0, 1e5, 0.1, -0.0, 100]', '1e-300')
--;
