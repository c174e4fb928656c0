-- What only MariaDB has; loaded after corpus.sql.
SET NAMES utf8mb4;
SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES', time_zone = '+00:00';

CREATE TABLE identified (id uuid PRIMARY KEY, address inet6, note text);
INSERT INTO identified SELECT CAST(CONCAT(LEFT(SHA2(seq, 256), 8), '-1111-4111-8111-', LEFT(SHA2(seq, 512), 12)) AS uuid), '::1', REPEAT(seq, 50) FROM counted WHERE seq <= 3000;
INSERT INTO identified VALUES ('00000000-0000-0000-0000-000000000000', NULL, NULL), ('ffffffff-ffff-ffff-ffff-ffffffffffff', 'fe80::1', '');

CREATE SEQUENCE tickets START WITH 100 INCREMENT BY 10 CACHE 5;
SELECT NEXTVAL(tickets), NEXTVAL(tickets);
CREATE SEQUENCE untouched MINVALUE 1 MAXVALUE 9 CYCLE;
CREATE TABLE with_sequence (id bigint NOT NULL DEFAULT NEXTVAL(tickets) PRIMARY KEY, note varchar(20));
INSERT INTO with_sequence (note) VALUES ('first'), ('second');

DELIMITER ;;
SET SESSION sql_mode = 'ORACLE';;
CREATE PACKAGE box AS FUNCTION inside RETURN INT; END;;
CREATE PACKAGE BODY box AS FUNCTION inside RETURN INT AS BEGIN RETURN 1; END; END;;
DELIMITER ;
