from __future__ import annotations

from dataclasses import replace

import pytest

from holdfast.model import Codec
from holdfast.operations.parts import proven, store_part
from tests.unit.operations.worlds import World


@pytest.mark.parametrize(
    ("compress", "threads", "codec", "suffix"),
    [(True, 0, Codec.ZSTD, ".zst"), (True, 2, Codec.ZSTD, ".zst"), (False, 0, Codec.NONE, "")],
)
def test_a_part_is_compressed_as_its_plan_says(
    compress: bool, threads: int, codec: Codec, suffix: str
) -> None:
    world = World()
    with world.source.open(workers=1) as snapshot:
        plan = replace(snapshot.parts[0], compress=compress, compress_threads=threads)
        part = store_part(world.plugs, snapshot, "shop/1", plan, advance=lambda _: None)
    assert part.codec is codec
    assert part.key == f"shop/1/parts/data/public.orders.copy{suffix}"
    assert b"".join(proven(world.repository, part)) == b"1,ann\n2,bob\n3,eve\n"
    assert (part.stored_sha256 == part.plain_sha256) is not compress
