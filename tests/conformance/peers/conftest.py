"""The tiny base, and a family whose services run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.peers.family import Family, a_family
from tests.nodes.conftest import base

__all__ = ["base", "family"]


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Iterator[Family]:
    with a_family(tmp_path_factory.mktemp("family"), base) as made:
        yield made
