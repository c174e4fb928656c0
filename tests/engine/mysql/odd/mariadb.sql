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

-- database a sequence behind every default, mariadb
CREATE SEQUENCE `s ``1` START WITH -5 INCREMENT BY -3 MINVALUE -1000 MAXVALUE 0 NOCACHE
--;
CREATE SEQUENCE used INCREMENT BY 2 MAXVALUE 5 NOCYCLE
--;
CREATE TABLE t (a int PRIMARY KEY DEFAULT (NEXTVAL(`s ``1`)), b int DEFAULT (LASTVAL(used)), c varchar(30) DEFAULT (CONCAT('nextval(`x`)', NEXTVAL(used))))
--;
INSERT INTO t () VALUES (), ()
--;

-- database packages, mariadb
SET SESSION sql_mode = 'ORACLE'
--;
CREATE TABLE t (a int PRIMARY KEY, b varchar2(9))
--;
CREATE PACKAGE p AS PROCEDURE x(a IN OUT INT); FUNCTION y RETURN INT; END;
--;
CREATE PACKAGE BODY p AS v INT := 3; PROCEDURE x(a IN OUT INT) AS BEGIN a := v; END; FUNCTION y RETURN INT AS BEGIN RETURN v; END; END;
--;
CREATE PROCEDURE z AS BEGIN NULL; END;
--;
INSERT INTO t VALUES (1, 'x')
--;

-- database functions over many rows, mariadb
CREATE AGGREGATE FUNCTION product(x double) RETURNS double DETERMINISTIC BEGIN DECLARE p double DEFAULT 1; DECLARE CONTINUE HANDLER FOR NOT FOUND RETURN p; LOOP FETCH GROUP NEXT ROW; SET p = p * x; END LOOP; END
--;
CREATE TABLE t (a int PRIMARY KEY)
--;
INSERT INTO t VALUES (2), (3)
--;
CREATE VIEW v AS SELECT product(a) AS p FROM t
--;

-- database indexes that are ignored or backwards, mariadb
CREATE TABLE t (a int, b int, KEY x (a DESC, b ASC), KEY y (b) IGNORED)
--;
INSERT INTO t VALUES (1, 2), (2, 1)
--;

-- database pages of Aria, mariadb
CREATE TABLE t (a int PRIMARY KEY, b text) ENGINE=Aria TRANSACTIONAL=1 PAGE_CHECKSUM=1
--;
INSERT INTO t VALUES (1, 'x'), (2, NULL)
--;

-- database numbers of a sequence in a table, mariadb
CREATE TABLE t (a int PRIMARY KEY)
--;
INSERT INTO t SELECT seq FROM seq_1_to_50
--;
CREATE VIEW v AS SELECT seq FROM seq_1_to_5
--;
