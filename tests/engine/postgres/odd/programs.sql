-- database views that are grouped by a key
CREATE TABLE item (id int PRIMARY KEY, name text, price int);
INSERT INTO item SELECT g, 'n' || g, g FROM generate_series(1, 12) g;
CREATE MATERIALIZED VIEW totals AS SELECT id, name, sum(price) AS price FROM item GROUP BY id;
CREATE UNIQUE INDEX ON totals (id);
CREATE VIEW plain AS SELECT id, name, max(price) FROM item GROUP BY id HAVING max(price) > 3;
CREATE FUNCTION counted() RETURNS SETOF bigint BEGIN ATOMIC SELECT count(*) FROM item GROUP BY id; END;
CREATE RULE r AS ON INSERT TO plain DO INSTEAD SELECT id, name FROM item GROUP BY id;
--;

-- database materialized views of materialized views
CREATE TABLE base AS SELECT g AS a FROM generate_series(1, 9) g;
CREATE MATERIALIZED VIEW z AS SELECT a FROM base WHERE a > 2;
CREATE VIEW y AS SELECT a * 2 AS a FROM z;
CREATE MATERIALIZED VIEW a AS SELECT y.a, z.a AS b FROM y JOIN z ON y.a = z.a;
CREATE MATERIALIZED VIEW never AS SELECT a FROM a WITH NO DATA;
CREATE MATERIALIZED VIEW after_never AS SELECT 1 AS one;
CREATE UNIQUE INDEX ON a (a);
DELETE FROM base WHERE a > 5;
REFRESH MATERIALIZED VIEW z;
REFRESH MATERIALIZED VIEW a;
--;

-- database views that need each other
CREATE TABLE base (a int);
INSERT INTO base VALUES (1);
CREATE VIEW one AS SELECT a FROM base;
CREATE VIEW two AS SELECT a FROM one;
CREATE OR REPLACE VIEW one AS SELECT a FROM base WHERE a IN (SELECT a FROM base);
CREATE RULE to_two AS ON INSERT TO one DO INSTEAD INSERT INTO two VALUES (NEW.a);
CREATE RULE to_one AS ON DELETE TO two DO INSTEAD DELETE FROM one WHERE a = OLD.a;
--;

-- database views of whole rows and of sets
CREATE TABLE t (a int, b text);
INSERT INTO t VALUES (1, 'x'), (2, NULL);
CREATE VIEW whole AS SELECT t, ROW(t.*)::t AS r, (t).b FROM t;
CREATE RECURSIVE VIEW tree (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM tree WHERE n < 5;
CREATE VIEW checked WITH (security_barrier, check_option = local) AS SELECT a FROM t WHERE a > 0;
CREATE FUNCTION rows_of() RETURNS SETOF t LANGUAGE sql STABLE AS 'SELECT * FROM public.t';
CREATE VIEW from_function AS SELECT f.a, f.b FROM rows_of() WITH ORDINALITY AS f (a, b, n);
CREATE VIEW lateral_one AS SELECT x.a, y.n FROM t x, LATERAL (SELECT count(*) AS n FROM t z WHERE z.a <= x.a) y WINDOW w AS (PARTITION BY 1);
--;

-- database routines of all kinds
CREATE FUNCTION overloaded(a int) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION overloaded(a text, VARIADIC b int[] DEFAULT '{1,2}') RETURNS int LANGUAGE sql AS 'SELECT 2';
CREATE FUNCTION overloaded(INOUT a bigint, OUT b text) LANGUAGE plpgsql AS $_$ BEGIN b := $$quoted ' \ $x$ body$$; END $_$;
CREATE PROCEDURE does(INOUT a int, b text DEFAULT E'it''s\n') LANGUAGE plpgsql AS 'BEGIN COMMIT; a := a + 1; END';
CREATE FUNCTION later() RETURNS int LANGUAGE sql AS 'SELECT count(*)::int FROM public.there';
CREATE TABLE there (a int DEFAULT overloaded(1));
INSERT INTO there DEFAULT VALUES;
CREATE FUNCTION atomic(n int) RETURNS bigint BEGIN ATOMIC SELECT count(*) FROM there WHERE a < n; END;
CREATE FUNCTION settings() RETURNS text LANGUAGE sql SET search_path = public, pg_temp SET work_mem = '1MB' STRICT LEAKPROOF COST 7 AS 'SELECT 1::text';
--;

-- database events and triggers that interfere
CREATE TABLE t (a int, b text);
CREATE TABLE log (at int GENERATED ALWAYS AS IDENTITY, what text);
CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.b := 'meddled'; INSERT INTO public.log (what) VALUES (TG_OP); RETURN NEW; END $$;
INSERT INTO t VALUES (1, 'as it was');
CREATE TRIGGER always BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION meddle();
ALTER TABLE t ENABLE ALWAYS TRIGGER always;
CREATE TRIGGER off AFTER UPDATE OF a ON t FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION meddle();
ALTER TABLE t DISABLE TRIGGER off;
CREATE FUNCTION on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.log (what) VALUES (TG_TAG); END $$;
CREATE EVENT TRIGGER "seen by {role}" ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'ALTER TABLE') EXECUTE FUNCTION on_ddl();
ALTER EVENT TRIGGER "seen by {role}" ENABLE ALWAYS;
CREATE FUNCTION on_sql_drop() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'nothing is dropped here'; END $$;
CREATE EVENT TRIGGER "refused by {role}" ON sql_drop EXECUTE FUNCTION on_sql_drop();
--;

-- database rules on tables
CREATE TABLE t (a int PRIMARY KEY, b text);
CREATE TABLE log (a int);
INSERT INTO t VALUES (1, 'x');
CREATE RULE also AS ON INSERT TO t DO ALSO INSERT INTO log VALUES (NEW.a);
CREATE RULE nothing AS ON DELETE TO t DO INSTEAD NOTHING;
CREATE RULE several AS ON UPDATE TO t WHERE OLD.a > 5 DO INSTEAD (SELECT 1; DELETE FROM log);
ALTER TABLE t DISABLE RULE also;
--;

-- database a generated column of an unqualified function, keeps going
CREATE FUNCTION inside(t text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT upper(t)';
CREATE FUNCTION outside(t text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN inside(t); END';
CREATE TABLE t (a text, b text GENERATED ALWAYS AS (outside(a)) STORED);
INSERT INTO t (a) VALUES ('été'), (NULL);
CREATE TABLE other AS SELECT 1 AS one;
--;

-- database what is told to others
CREATE TABLE t (a int PRIMARY KEY, b text, c int);
INSERT INTO t VALUES (1, 'x', 2);
CREATE SCHEMA s;
CREATE TABLE s.u (a int);
CREATE PUBLICATION part FOR TABLE t (a, c) WHERE (a > 0);
CREATE PUBLICATION whole FOR TABLES IN SCHEMA s, TABLE t;
CREATE PUBLICATION every FOR ALL TABLES WITH (publish = 'insert', publish_via_partition_root);
CREATE SUBSCRIPTION "sub of {role}" CONNECTION 'host=nowhere.invalid dbname=x password=secret' PUBLICATION part WITH (connect = false, slot_name = NONE);
--;

-- database what lies elsewhere
CREATE EXTENSION file_fdw;
CREATE SERVER "files 'x'" FOREIGN DATA WRAPPER file_fdw;
CREATE FOREIGN TABLE host (line text OPTIONS (force_null 'true') NOT NULL) SERVER "files 'x'" OPTIONS (filename '/etc/hostname', format 'csv', null 'it''s');
CREATE TABLE root (line text, n int) PARTITION BY LIST (n);
CREATE FOREIGN TABLE far PARTITION OF root FOR VALUES IN (1) SERVER "files 'x'" OPTIONS (filename '/dev/null');
CREATE TABLE near PARTITION OF root DEFAULT;
INSERT INTO root VALUES ('near', 2);
CREATE USER MAPPING FOR PUBLIC SERVER "files 'x'";
--;
