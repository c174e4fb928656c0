-- database every built-in type
CREATE TABLE t (a smallint, b int, c bigint, d numeric, e numeric(20, 5), f real, g float8, h money, i "char", j char(5), k varchar(9), l text, m bytea, n bool, o date, p time(3), q timetz, r timestamp, s timestamptz, u interval, v uuid, w json, x jsonb, y xml, z inet);
INSERT INTO t VALUES
  (-32768, -2147483648, -9223372036854775808, 'NaN', -0.00001, '-0', '-Infinity', '-$1,234.56', 'x', 'a', 'é', E'\r\n\t\\', '\x00', true, '-infinity', '24:00', '00:00:00+15:59', 'infinity', '4713-01-01 00:00:00+00 BC', '-178000000 years', 'ffffffff-ffff-ffff-ffff-ffffffffffff', '{"a": 1, "a": 1.0}', '{"a": 1.0, "b": -0.0}', '<!-- --><a/>', '::ffff:1.2.3.4/96'),
  (32767, 2147483647, 9223372036854775807, 1e-1000, 99999.99999, 1.17549435e-38, 5e-324, '$92,233,720,368,547,758.07', '', '', '', '', '', false, '5874897-12-31', '00:00', '23:59:59.999999-15:59', '294276-12-31 23:59:59.999999', '0001-01-01 00:00:00+00', '1 mon -1 days +00:00:00.000001', '00000000-0000-0000-0000-000000000000', ' [ ] ', '"\u00e9"', 'text', '10.0.0.1'),
  (0, 0, 0, 1.10, 0, 'NaN', 1.7976931348623157e308, 0, E'\\', '  x', ' ', ' ', '\x5c', NULL, '2000-02-29', '12:00:00.5', '12:00+00', '2000-01-01', 'epoch', '0', NULL, 'null', 'null', '', '::');
INSERT INTO t (a) VALUES (NULL);
CREATE TABLE u (a cidr, b macaddr, c macaddr8, d bit(3), e varbit, f point, g line, h lseg, i box, j path, k polygon, l circle, m tsvector, n tsquery, o int[], p text[][], q int4range, r int8multirange, s oid, u regclass, v pg_lsn, w jsonpath, x xid8, y name, z regtype);
INSERT INTO u VALUES ('10.0.0.0/8', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05', B'101', B'', '(1e-300,-0)', '{1,2,3}', '[(1,2),(3,4)]', '(3,4),(1,2)', '[(1,2),(3,4)]', '((1,2),(3,4),(5,6))', '<(1,2),3>', $$'a,b':1A,2 'it''s'$$, $$'a' <-> !'b':*$$, '[-1:1]={1,NULL,3}', '{{a,"b,c"},{"",NULL}}', 'empty', '{(,3),[5,)}', 4294967295, 't', '16/B374D848', '$.a[*] ? (@.b > 1)', '18446744073709551615', 'name', 'numeric');
INSERT INTO u (s) VALUES (NULL);
--;

-- database domains over domains
CREATE DOMAIN d1 AS int NOT NULL DEFAULT 3 CHECK (VALUE > 0);
CREATE DOMAIN d2 AS d1 CONSTRAINT small CHECK (VALUE < 100);
CREATE DOMAIN "d ""3""" AS d2[] CHECK (array_length(VALUE, 1) < 5);
CREATE TABLE t (a d2, b "d ""3""", c d2[]);
INSERT INTO t VALUES (5, '{1,2}', '{3}'), (7, NULL, '{}');
CREATE DOMAIN word AS text COLLATE "C" CHECK (VALUE !~ '\s');
CREATE TYPE comp AS (w word, n d2);
CREATE TABLE u (c comp, cs comp[]);
INSERT INTO u VALUES (('a', 1), ARRAY[('b', 2)::comp]);
ALTER DOMAIN d2 ADD CONSTRAINT later CHECK (VALUE <> 5) NOT VALID;
--;

-- database ranges and multiranges of one's own
CREATE FUNCTION gap(a float8, b float8) RETURNS float8 LANGUAGE sql IMMUTABLE AS 'SELECT a - b';
CREATE TYPE span AS RANGE (subtype = float8, subtype_diff = gap, multirange_type_name = spans);
CREATE TYPE words AS RANGE (subtype = text, collation = "C");
CREATE TABLE t (a span, b spans, c words);
INSERT INTO t VALUES ('[0.1,0.30000000000000004)', '{[1,2),(3,4]}', '["",z)'), ('empty', '{}', '(,)');
CREATE INDEX ON t USING gist (a);
--;

-- database types with casts of their own
CREATE TYPE mood AS ENUM ('sad', 'it''s, "ok"', '');
ALTER TYPE mood ADD VALUE 'first' BEFORE 'sad';
--;
CREATE FUNCTION lies(mood) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'always' $$;
CREATE CAST (mood AS text) WITH FUNCTION lies(mood) AS ASSIGNMENT;
CREATE TYPE cents AS (n bigint);
CREATE FUNCTION as_cents(bigint) RETURNS cents LANGUAGE sql IMMUTABLE AS 'SELECT ROW($1)::cents';
CREATE CAST (bigint AS cents) WITH FUNCTION as_cents(bigint);
CREATE TABLE t (m mood, ms mood[], c cents);
INSERT INTO t VALUES ('first', '{sad,"",NULL}', 5::bigint::cents), ('', NULL, NULL), (NULL, '{}', ROW(NULL)::cents);
CREATE INDEX ON t (m);
--;

-- database operators and their classes
CREATE FUNCTION back_cmp(a int, b int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT CASE WHEN a = b THEN 0 WHEN a < b THEN 1 ELSE -1 END';
CREATE FUNCTION near(a int, b int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT abs(a - b) < 2';
CREATE OPERATOR <~> (FUNCTION = near, LEFTARG = int, RIGHTARG = int, COMMUTATOR = <~>);
CREATE OPERATOR FAMILY backwards USING btree;
CREATE OPERATOR CLASS back_ops FOR TYPE int USING btree FAMILY backwards AS OPERATOR 1 > , OPERATOR 2 >=, OPERATOR 3 =, OPERATOR 4 <=, OPERATOR 5 <, FUNCTION 1 back_cmp(int, int);
CREATE TABLE t (a int);
INSERT INTO t SELECT g FROM generate_series(1, 30) g;
CREATE INDEX ON t (a back_ops);
CREATE VIEW v AS SELECT a FROM t WHERE a OPERATOR(public.<~>) 7;
CREATE AGGREGATE product(numeric) (SFUNC = numeric_mul, STYPE = numeric, INITCOND = '1', PARALLEL = SAFE, COMBINEFUNC = numeric_mul);
CREATE AGGREGATE middle(float8 ORDER BY anyelement) (SFUNC = ordered_set_transition, STYPE = internal, FINALFUNC = percentile_disc_final, FINALFUNC_EXTRA);
--;

-- database collations
CREATE COLLATION folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE COLLATION german (provider = icu, locale = 'de-u-co-phonebk');
CREATE TABLE t (a text COLLATE folded UNIQUE, b text COLLATE german, c text COLLATE "C");
INSERT INTO t VALUES ('Straße', 'ä', 'Z'), ('x', 'z', 'a'), (NULL, 'ö', 'Ä');
CREATE TABLE p (a text COLLATE german) PARTITION BY RANGE (a);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (MINVALUE) TO ('m');
CREATE TABLE p2 PARTITION OF p FOR VALUES FROM ('m') TO (MAXVALUE);
INSERT INTO p VALUES ('ä'), ('z'), ('Ö');
CREATE INDEX ON t (b COLLATE "C", c COLLATE german);
--;

-- database words to be searched
CREATE TEXT SEARCH DICTIONARY plain (TEMPLATE = simple, STOPWORDS = english);
CREATE TEXT SEARCH CONFIGURATION mine (COPY = simple);
ALTER TEXT SEARCH CONFIGURATION mine ALTER MAPPING FOR asciiword WITH plain, simple;
CREATE TABLE t (a text, v tsvector GENERATED ALWAYS AS (to_tsvector('public.mine', a)) STORED);
INSERT INTO t VALUES ('the quick brown fox'), (NULL), ('');
CREATE INDEX ON t USING gin (v);
--;
