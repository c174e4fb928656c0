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

-- database programs full of delimiters
CREATE TABLE t (a int PRIMARY KEY, b text)
--;
CREATE PROCEDURE `p ; ``q`` $$`(`a b` int, OUT `c``d` text) COMMENT 'it''s \\ ;; $$ // "x"' BEGIN DECLARE x text DEFAULT ';;'; /* ;; $$ */ label: LOOP LEAVE label; END LOOP; # ;;
 SET `c``d` = CONCAT(x, "'", '\\'); END
--;
CREATE TRIGGER `t ; ``r``` AFTER INSERT ON t FOR EACH ROW BEGIN SET @x = ';;'; -- ;; 
 SET @y = "$$"; END
--;
INSERT INTO t VALUES (1, 'x')
--;

-- database programs of other words and days
CREATE TABLE t (a int PRIMARY KEY, b varchar(20) CHARACTER SET latin1)
--;
SET NAMES latin1 COLLATE latin1_german1_ci
--;
CREATE PROCEDURE p(x varchar(9)) SQL SECURITY INVOKER MODIFIES SQL DATA SELECT 'e' AS `n`, x
--;
CREATE FUNCTION f(x varchar(9) CHARACTER SET utf8mb4) RETURNS varchar(9) CHARACTER SET latin1 NO SQL RETURN x
--;
ALTER DATABASE CHARACTER SET latin1
--;
CREATE FUNCTION g(x varchar(9)) RETURNS text DETERMINISTIC RETURN CONCAT(x, 'z')
--;
ALTER DATABASE CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
--;
CREATE TABLE later (a varchar(9))
--;

-- database triggers that write elsewhere
CREATE TABLE log (n int AUTO_INCREMENT PRIMARY KEY, what varchar(20))
--;
CREATE TABLE t (a int PRIMARY KEY)
--;
CREATE PROCEDURE note(w varchar(20)) INSERT INTO log (what) VALUES (w)
--;
CREATE TRIGGER i AFTER INSERT ON t FOR EACH ROW CALL note(CONCAT('new ', NEW.a))
--;
CREATE TRIGGER d BEFORE DELETE ON t FOR EACH ROW CALL note(CONCAT('old ', OLD.a))
--;
CREATE TRIGGER u AFTER UPDATE ON t FOR EACH ROW INSERT INTO log (what) VALUES ('changed')
--;
INSERT INTO t VALUES (1), (2), (3)
--;
DELETE FROM t WHERE a = 2
--;

-- database programs whose definer is gone
CREATE TABLE t (a int PRIMARY KEY)
--;
CREATE DEFINER={account} PROCEDURE p() SELECT 1
--;
CREATE DEFINER={account} FUNCTION f() RETURNS int DETERMINISTIC RETURN 1
--;
CREATE DEFINER={account} TRIGGER r BEFORE UPDATE ON t FOR EACH ROW SET NEW.a = f()
--;
CREATE DEFINER={account} EVENT e ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01' DISABLE DO CALL p()
--;
INSERT INTO t VALUES (1)
--;
