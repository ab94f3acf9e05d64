"""Claims about reading ``node.toml``."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodes.config.files import load_config
from nodes.errors import NodeError

CONTENT = '[model]\nbase = "größe"\n'


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_bytes(CONTENT.encode("utf-8-sig"))
    assert load_config(file).model.base == tmp_path / "größe"


@pytest.mark.parametrize("data", [CONTENT.encode("latin-1"), b"[model", b"\xff\xfe["])
def test_what_is_no_toml_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "node.toml").write_bytes(data)
    with pytest.raises(NodeError, match="bad-config"):
        load_config(tmp_path / "node.toml")
