-- What only MySQL has; loaded after corpus.sql.
SET NAMES utf8mb4;
SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES', time_zone = '+00:00';

CREATE TABLE indexed (
  id int PRIMARY KEY, name varchar(50), tags json DEFAULT (JSON_ARRAY(1, 2)), made varchar(40) NOT NULL DEFAULT (UUID()),
  upper_name varchar(50) AS (UPPER(name)) STORED INVISIBLE,
  KEY by_expression ((LOWER(name)), (id * 2)),
  KEY hidden (made) INVISIBLE, FULLTEXT KEY words (name)
);
INSERT INTO indexed (id, name, tags) VALUES (1, 'Élan', '[1, 2, 3]'), (2, NULL, NULL), (3, 'zz''top', '[]');
INSERT INTO indexed (id, name) VALUES (4, 'by default');

CREATE TABLE members (id int PRIMARY KEY, tags json, KEY by_member ((CAST(tags->'$[*]' AS UNSIGNED ARRAY))));
INSERT INTO members VALUES (1, '[1, 2, 3]'), (2, NULL), (3, '[]'), (4, '7');

CREATE TABLE unique_expression (a int, name varchar(20), UNIQUE KEY only_expression ((LOWER(name))), UNIQUE KEY mixed (a, (LENGTH(name))));
INSERT INTO unique_expression VALUES (1, 'a'), (1, 'bb'), (NULL, NULL), (NULL, NULL);

CREATE TABLE newest_order (
  name varchar(60) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_as_cs PRIMARY KEY,
  loose varchar(60) COLLATE utf8mb4_0900_ai_ci, v varchar(500), KEY (loose)
) COLLATE utf8mb4_0900_ai_ci;
INSERT INTO newest_order SELECT CONCAT(ELT(1 + seq % 6, 'ä', 'a', 'A', 'ß', '😀', 'z '), seq), 'Ä', REPEAT('x', 400) FROM counted WHERE seq <= 4000;

CREATE TABLE vectors (id int PRIMARY KEY, v vector(3), wide vector(1024));
INSERT INTO vectors VALUES (1, STRING_TO_VECTOR('[0.1, -0, 3.4028e38]'), NULL), (2, NULL, STRING_TO_VECTOR(CONCAT('[', REPEAT('0.25,', 1023), '1]')));

CREATE TABLE placed (id int PRIMARY KEY, place point NOT NULL SRID 4326, free geometry SRID 0, SPATIAL KEY (place));
INSERT INTO placed VALUES (1, ST_GeomFromText('POINT(52.5 13.4)', 4326), NULL), (2, ST_GeomFromText('POINT(-90 180)', 4326), ST_GeomFromText('GEOMETRYCOLLECTION EMPTY'));

CREATE TABLE old_documents (id int PRIMARY KEY, body json);
INSERT INTO old_documents VALUES (1, '{"n": 1e300, "i": 18446744073709551615, "t": true, "": "😀"}'), (2, 'null'), (3, '-0.0');

SET SESSION sql_generate_invisible_primary_key = 1;
CREATE TABLE key_made_by_the_server (a int, b varchar(20));
INSERT INTO key_made_by_the_server VALUES (1, 'x'), (1, 'x'), (NULL, NULL);
SET SESSION sql_generate_invisible_primary_key = 0;

CREATE TABLE checked_loosely (a int CHECK (a > 10) NOT ENFORCED, b int, CONSTRAINT odd CHECK (b <> 3) NOT ENFORCED);
INSERT INTO checked_loosely VALUES (1, 3);
CREATE TABLE described (id int PRIMARY KEY, v int STORAGE DISK COMMENT 'kept') ROW_FORMAT = COMPRESSED KEY_BLOCK_SIZE = 4 STATS_PERSISTENT = 0;
CREATE TABLE hashed (id int PRIMARY KEY, v int) PARTITION BY KEY (id) PARTITIONS 3;
INSERT INTO hashed VALUES (1, 1), (2, 2), (3, 3);

CREATE VIEW common AS WITH RECURSIVE steps (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM steps WHERE n < 5) SELECT n, ROW_NUMBER() OVER (ORDER BY n DESC) AS place FROM steps;
CREATE VIEW lateral_view AS SELECT p.id, c.most FROM parent p LEFT JOIN LATERAL (SELECT MAX(a.id) AS most FROM a_child a WHERE a.parent = p.id) c ON true;
CREATE JSON RELATIONAL DUALITY VIEW both_ways AS SELECT JSON_DUALITY_OBJECT('_id': id, 'boss': boss) FROM parent;

DELIMITER ;;
CREATE LIBRARY arithmetic COMMENT 'it''s' LANGUAGE JAVASCRIPT AS $$ export function twice(n) { return n * 2 } // isn't SQL; `
$$;;
CREATE FUNCTION twice_elsewhere(n int) RETURNS int DETERMINISTIC COMMENT 'AS' LANGUAGE JAVASCRIPT USING (arithmetic, arithmetic AS `an ``other`) AS $$ return arithmetic.twice(n) // it's
$$;;
DELIMITER ;
