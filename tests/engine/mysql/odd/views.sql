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

-- database a view over one whose definer is gone, mariadb
CREATE TABLE base (a int PRIMARY KEY)
--;
INSERT INTO base VALUES (1), (2), (3)
--;
CREATE DEFINER = {account} VIEW v AS SELECT a FROM base
--;
CREATE VIEW u AS SELECT a FROM v
--;

-- database views over routines over views
CREATE TABLE base (a int PRIMARY KEY)
--;
INSERT INTO base VALUES (1), (2), (3)
--;
CREATE VIEW m AS SELECT MAX(a) AS most FROM base
--;
CREATE FUNCTION most() RETURNS int READS SQL DATA RETURN (SELECT most FROM m)
--;
CREATE VIEW a AS SELECT most() AS it, base.a FROM base
--;
CREATE FUNCTION again(n int) RETURNS int READS SQL DATA RETURN (SELECT COUNT(*) + n FROM a)
--;
CREATE VIEW `0` AS SELECT again(a) AS b FROM a WHERE a < again(1)
--;

-- database views that count for themselves
CREATE VIEW n AS WITH RECURSIVE x (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM x WHERE n < 9), y AS (SELECT n * n AS m FROM x) SELECT n, m FROM x JOIN y ON m > n
--;
CREATE VIEW a AS WITH n AS (SELECT 1 AS `from`) SELECT `from`, (SELECT COUNT(*) FROM `n`) AS c FROM n
--;
CREATE VIEW w AS SELECT n, ROW_NUMBER() OVER (PARTITION BY n % 2 ORDER BY m DESC) AS r, SUM(m) OVER (ORDER BY n, m ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS s FROM n
--;

-- database views under the names of what they read
CREATE TABLE `from` (`join` int PRIMARY KEY, `select` int)
--;
INSERT INTO `from` VALUES (1, 2)
--;
CREATE VIEW `join` AS SELECT `from`.`join` AS `from ``x``` FROM `from` `join` JOIN `from` ON `join`.`join` = `from`.`select` - 1
--;
CREATE VIEW `a``b` AS SELECT ' from `join` ' AS x, `from ``x``` FROM `join`
--;
CREATE VIEW `(` AS SELECT x FROM (SELECT x FROM `a``b`) AS `)` LEFT JOIN (`from` CROSS JOIN `join`) ON TRUE
--;

-- database views that ask as others
CREATE TABLE base (a int PRIMARY KEY, b varchar(9) COLLATE utf8mb4_bin)
--;
INSERT INTO base VALUES (1, 'x'), (2, 'X')
--;
CREATE SQL SECURITY INVOKER VIEW i AS SELECT b, COUNT(*) AS n FROM base GROUP BY b
--;
CREATE ALGORITHM=TEMPTABLE VIEW t AS SELECT DISTINCT b FROM base ORDER BY b DESC LIMIT 1
--;
CREATE ALGORITHM=MERGE VIEW m AS SELECT a, b COLLATE utf8mb4_unicode_ci AS c, _latin1'é' AS l, N'x' AS o, x'00FF' AS h FROM base
--;

-- database views of tables elsewhere
CREATE TABLE base (a int PRIMARY KEY)
--;
INSERT INTO base VALUES (1)
--;
CREATE VIEW users AS SELECT COUNT(*) > 0 AS there FROM mysql.user
--;
CREATE VIEW mixed AS SELECT base.a, users.there FROM base JOIN users JOIN information_schema.schemata s ON s.schema_name = 'mysql'
--;
CREATE VIEW again AS SELECT a FROM mixed WHERE a IN (SELECT a FROM base)
--;

-- database views in the order of their numbers
CREATE TABLE base (a int PRIMARY KEY)
--;
INSERT INTO base VALUES (1)
--;
CREATE VIEW v39 AS SELECT a FROM base
--;
CREATE VIEW v38 AS SELECT a FROM v39
--;
CREATE VIEW v7 AS SELECT v38.a FROM v39 STRAIGHT_JOIN v38
--;
CREATE VIEW v1 AS SELECT a FROM v7 UNION ALL (SELECT a FROM v38 WHERE EXISTS (SELECT 1 FROM v39))
--;
