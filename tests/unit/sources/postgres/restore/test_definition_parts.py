from __future__ import annotations

from holdfast.sources.postgres.restore.definition_parts import Existing, missing
from holdfast.sources.postgres.server.sql_text import statements

GLOBALS = """
SET client_encoding = 'UTF8';
CREATE ROLE old;
ALTER ROLE old WITH NOSUPERUSER PASSWORD 'SCRAM;x';
COMMENT ON ROLE old IS 'it''s; old';
ALTER ROLE old SET work_mem TO '64MB';
CREATE ROLE "new Role";
ALTER ROLE "new Role" WITH LOGIN;
GRANT old TO "new Role" GRANTED BY postgres;
GRANT "new Role" TO old GRANTED BY postgres;
CREATE TABLESPACE there OWNER old LOCATION '/old';
GRANT ALL ON TABLESPACE there TO "new Role";
CREATE TABLESPACE elsewhere OWNER old LOCATION '/new';
GRANT ALL ON TABLESPACE elsewhere TO "new Role";
ALTER ROLE ALL SET "work_mem" TO '1MB';
ALTER ROLE ALL SET "my"."setting" TO 'x';
"""


def test_what_exists_is_left_alone_and_what_is_missing_has_its_name() -> None:
    existing = Existing(roles={"old", "postgres"}, tablespaces={"there"}, settings={"work_mem"})
    found = list(missing(statements(GLOBALS), existing))
    assert [(str(each.heading), each.text) for each in found] == [
        ("None", "SET client_encoding = 'UTF8';"),
        ("role 'new Role'", 'CREATE ROLE "new Role";'),
        ("role 'new Role'", 'ALTER ROLE "new Role" WITH LOGIN;'),
        ("role 'new Role'", 'GRANT old TO "new Role" GRANTED BY postgres;'),
        ("tablespace 'elsewhere'", "CREATE TABLESPACE elsewhere OWNER old LOCATION '/new';"),
        ("tablespace 'elsewhere'", 'GRANT ALL ON TABLESPACE elsewhere TO "new Role";'),
        ("setting of all roles 'my.setting'", """ALTER ROLE ALL SET "my"."setting" TO 'x';"""),
    ]
