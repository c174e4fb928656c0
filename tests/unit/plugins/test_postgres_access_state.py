"""Our blocks in the access files of a PostgreSQL cluster."""

import pytest

from plugins.modules.postgres_access_state import has_block

MARKER = "# {mark} holdfast (managed by Ansible)"
BLOCK = "local all holdfast peer map=holdfast\nlocal all holdfast_restore peer map=holdfast\n"
BEGIN, END = "# BEGIN holdfast (managed by Ansible)", "# END holdfast (managed by Ansible)"
WHOLE = f"{BEGIN}\n{BLOCK}{END}\nlocal all all peer\n"


def test_a_block_with_exactly_our_lines_is_found() -> None:
    assert has_block(WHOLE, BLOCK, marker=MARKER)
    assert has_block(f"# first\n{WHOLE}", BLOCK, marker=MARKER)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "local all all peer\n",
        WHOLE.replace("map=holdfast\nlocal all holdfast_restore", "map=other\nlocal all x"),
        WHOLE.replace(END, ""),
        WHOLE + WHOLE,
        f"{END}\n{BLOCK}{BEGIN}\n",
    ],
)
def test_anything_else_is_left_to_the_tasks(text: str) -> None:
    assert not has_block(text, BLOCK, marker=MARKER)
