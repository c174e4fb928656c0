-- database rows that look like a script
CREATE TABLE t (a text, b text);
INSERT INTO t VALUES ('\.', E'\\.\n'), (E'\n\\.\n', '\N'), (E'COPY t FROM stdin;\n1\t2\n\\.\n', E'\\connect template1\n'), ('-- Name: t; Type: TABLE', E'\r'), (E'\r\n', E'\t'), ('', NULL), (NULL, ''), (E'\\', E'\\\\'), (E'\x01\x7f', E'\b\f\v');
CREATE TABLE "t with\ttab" (a text);
INSERT INTO "t with\ttab" VALUES (E'\\x00'), ('{"a": "\u00e9"}'), ('$$'), (''''''), ('"');
--;

-- database rows that are equal
CREATE TABLE t (a int, b text);
INSERT INTO t SELECT g % 2, NULL FROM generate_series(1, 100) g;
CREATE TABLE u (a text);
INSERT INTO u SELECT '' FROM generate_series(1, 100);
INSERT INTO u SELECT NULL FROM generate_series(1, 100);
--;

-- database rows that are huge
CREATE TABLE t (a int, b text, c bytea, d jsonb, e text[]);
INSERT INTO t SELECT 1, repeat('é\"', 1000000), decode(repeat('00ff', 2000000), 'hex'), jsonb_build_object('k', repeat('"', 500000)), array_fill('x'::text, ARRAY[100000]);
ALTER TABLE t ALTER b SET STORAGE EXTERNAL, ALTER c SET STORAGE EXTERNAL;
INSERT INTO t SELECT 2, string_agg(md5(g::text), ''), decode(string_agg(md5(g::text), ''), 'hex') FROM generate_series(1, 30000) g;
ALTER TABLE t ALTER c SET COMPRESSION pglz, ALTER c SET STORAGE MAIN;
--;

-- database many small tables
DO $$ BEGIN FOR n IN 1..300 LOOP EXECUTE format('CREATE TABLE t%s AS SELECT %s AS a, ''row of %s'' AS b', n, n, n); END LOOP; END $$;
--;

-- database bytes of no encoding
-- options ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'
CREATE TABLE t (a text, b varchar(3), c char(4), d text[]);
INSERT INTO t VALUES (E'\xff\xfe', E'\x80', E'\xc3', ARRAY[E'\xe9,\x22']), (E'\xc3\xa9', E'\x5c', E'\x7f', '{}');
CREATE TYPE e AS ENUM (E'\xe9');
CREATE TABLE u (e e);
INSERT INTO u VALUES (E'\xe9');
--;

-- database letters of Europe
-- options ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'
CREATE TABLE "größe" ("é" text, b json);
INSERT INTO "größe" VALUES ('ÄÖÜß', '{"a": "é"}'), (E'\u00ff\u0080', NULL);
COMMENT ON TABLE "größe" IS 'naïve';
CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$ SELECT 'é' $$;
CREATE TABLE t (a text GENERATED ALWAYS AS ('ü' || 1) STORED);
INSERT INTO t DEFAULT VALUES;
--;

-- database letters of Japan
-- options ENCODING 'EUC_JP' LC_COLLATE 'C' LC_CTYPE 'C'
CREATE TABLE "表" ("名前" text);
INSERT INTO "表" VALUES ('日本'), ('ソ\表'), ('"');
CREATE INDEX ON "表" (("名前" || '語'));
--;

-- database another locale
-- options LOCALE_PROVIDER icu ICU_LOCALE 'sv-SE' LOCALE 'C' ENCODING 'UTF8'
CREATE TABLE t (a text PRIMARY KEY);
INSERT INTO t VALUES ('z'), ('å'), ('ä'), ('ö'), ('a');
CREATE TABLE p (a text) PARTITION BY RANGE (a);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (MINVALUE) TO ('z');
CREATE TABLE p2 PARTITION OF p FOR VALUES FROM ('z') TO (MAXVALUE);
INSERT INTO p VALUES ('å'), ('b');
--;

-- database the builtin locale, from 17
-- options LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C' ENCODING 'UTF8'
CREATE TABLE t (a text PRIMARY KEY, b text GENERATED ALWAYS AS (upper(a)) STORED);
INSERT INTO t VALUES ('é'), ('E');
--;

-- database a place of its own
CREATE TABLE t (a int);
COMMENT ON DATABASE "{database}" IS E'it''s\n\\ ours';
ALTER DATABASE "{database}" CONNECTION LIMIT 17;
ALTER DATABASE "{database}" SET search_path TO "$user", 'odd "schema', public;
ALTER DATABASE "{database}" SET my.own TO 'it''s \ x';
ALTER ROLE "{role}" IN DATABASE "{database}" SET work_mem TO '1MB';
ALTER ROLE "{role}" IN DATABASE "{database}" SET DateStyle TO 'SQL, DMY';
--;
