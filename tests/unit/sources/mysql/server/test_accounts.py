from __future__ import annotations

import pytest

from holdfast.sources.mysql.server.accounts import relative_grant


@pytest.mark.parametrize(
    ("line", "relative"),
    [
        ("GRANT SELECT ON `my_shop`.* TO `u`@`h`", "GRANT SELECT ON * TO `u`@`h`"),
        ("GRANT SELECT ON `my\\_shop`.* TO `u`@`h`", "GRANT SELECT ON * TO `u`@`h`"),
        (
            "GRANT UPDATE (`a`, `b`), DELETE ON `my_shop`.`t` TO `u`@`h` WITH GRANT OPTION",
            "GRANT UPDATE (`a`, `b`), DELETE ON `t` TO `u`@`h` WITH GRANT OPTION",
        ),
        (
            "GRANT EXECUTE ON PROCEDURE `my_shop`.`p` TO `role`",
            "GRANT EXECUTE ON PROCEDURE `p` TO `role`",
        ),
        ("GRANT SELECT ON `my_shop2`.* TO `u`@`h`", ""),
        ("GRANT SELECT ON `my%`.* TO `u`@`h`", ""),
        ("GRANT USAGE ON *.* TO `u`@`h` IDENTIFIED BY PASSWORD '*AA'", ""),
        ("GRANT `role` TO `u`@`h`", ""),
    ],
)
def test_a_grant_is_said_again_without_the_databases_name(line: str, relative: str) -> None:
    assert relative_grant(line, "my_shop") == relative
