"""What definitions need is read from their own words, not from strings in them."""

from __future__ import annotations

from holdfast.sources.mysql.drill.host_gaps import Needs

TABLE = b"""\
CREATE TABLE `ENGINE=FAKE` (
  `a` varchar(9) COLLATE utf8mb4_bin DEFAULT 'COLLATE nothing_ci',
  `b` int COMMENT 'it''s ENGINE=ROCKSDB \\' ENGINE=SPIDER'
) ENGINE=Aria DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci COMMENT='ENCRYPTED=YES'
/*!50100 PARTITION BY HASH (`b`) (PARTITION p0 ENGINE = InnoDB) */;
"""


def read(script: bytes) -> Needs:
    needs = Needs()
    needs.read(script)
    return needs


def test_engines_and_collations_are_those_of_the_definition() -> None:
    needs = read(TABLE)
    assert needs.engines == {"ARIA", "INNODB"}
    assert needs.collations == {"utf8mb4_bin", "utf8mb4_general_ci"}
    assert not needs.is_encrypted
    assert needs.logins == set()


def test_encryption_is_noticed_in_the_words_of_both_servers() -> None:
    for words in (b"`ENCRYPTED`=YES", b"ENCRYPTED=YES", b"ENCRYPTION='Y'"):
        assert read(b"CREATE TABLE `t` (`a` int) ENGINE=InnoDB " + words + b";\n").is_encrypted
    assert not read(b"CREATE TABLE `t` (`a` int) ENCRYPTION='N';\n").is_encrypted


def test_ways_to_log_in_are_named_in_the_words_of_both_servers() -> None:
    script = (
        b"CREATE USER IF NOT EXISTS `a`@`%` IDENTIFIED VIA ed25519 USING 'x';\n"
        b"CREATE USER IF NOT EXISTS `b`@`%` IDENTIFIED WITH 'caching_sha2_password' AS 'y';\n"
    )
    assert read(script).logins == {"ed25519", "caching_sha2_password"}


def test_tables_in_folders_of_the_original_are_noticed() -> None:
    for words in (b"DATA DIRECTORY='/fast/'", b"/*!50100 INDEX DIRECTORY = '/fast/' */"):
        assert read(b"CREATE TABLE `t` (`a` int) ENGINE=InnoDB " + words + b";\n").is_elsewhere
    assert not read(
        b"CREATE TABLE `t` (`DATA DIRECTORY` int COMMENT 'DATA DIRECTORY=');\n"
    ).is_elsewhere
