"""Lines of a dump program that are not about the database it is loaded into."""

from __future__ import annotations

import pytest

from holdfast.sources.mysql.restore.dump_script import DumpScript

MODE = b"/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO' */;\n"
DUMP = (
    b"-- Host: localhost    Database: sh`op\n"
    + MODE
    + b"CREATE TABLE `t` (\n"
    + b"  `a` int DEFAULT nextval(`sh``op`.`s`) COMMENT 'nextval(`sh``op`.`s`)'\n"
    + b") ENGINE=InnoDB;\n"
    + b"/*!50001 VIEW `v` AS select `sh``op`.`t`.`a` AS `a` from (`sh``op`.`t` join `x`.`y`) */;\n"
    + b"INSERT INTO `t` VALUES ('ALTER DATABASE `x` CHARACTER SET a COLLATE b ;');\n"
    + b"INSERT INTO `t` VALUES ('"
    + b"x" * 5000
    + b"\\nDELIMITER ;;');\n"
    + b"ALTER DATABASE `sh``op` CHARACTER SET latin1 COLLATE latin1_swedish_ci ;\n"
    + b"DELIMITER ;;\n"
    + b"CREATE PROCEDURE `p`()\nBEGIN\n"
    + b"CREATE TABLE `u` (\n  `b` int DEFAULT nextval(`sh``op`.`s`));\n"
    + b"ALTER DATABASE `mine` CHARACTER SET latin1 COLLATE latin1_bin ;\nEND ;;\n"
    + b"ALTER DATABASE `sh``op` CHARACTER SET latin1 COLLATE latin1_swedish_ci ;;\n"
    + b"DELIMITER ;\n"
    + b"ALTER DATABASE `sh``op` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci ;"
)
WANTED = DUMP
for was, becomes in (
    (b"ON_ZERO'", b"ON_ZERO,ALLOW_INVALID_DATES'"),
    (b"DATABASE `sh``op` ", b"DATABASE "),
    (b"`a` int DEFAULT nextval(`sh``op`.", b"`a` int DEFAULT nextval("),
    (b"select `sh``op`.", b"select "),
    (b"from (`sh``op`.", b"from ("),
):
    WANTED = WANTED.replace(was, becomes)


@pytest.mark.parametrize("size", [1, 7, 100, 1024, 4096, 1 << 20])
def test_only_the_lines_of_the_program_itself_change_however_they_come(size: int) -> None:
    chunks = [DUMP[start : start + size] for start in range(0, len(DUMP), size)]
    assert b"".join(DumpScript().changed(chunks)) == WANTED


def test_bytes_that_are_no_script_pass() -> None:
    noise = bytes(range(256)) * 100 + b"\n\n\n"
    assert b"".join(DumpScript().changed([noise[:7000], b"", noise[7000:]])) == noise
