"""The generated protobuf code is that of the source."""

from pathlib import Path

from protocol import banyan_pb2
from protocol.generate import generate


def test_the_generated_code_is_current(tmp_path: Path) -> None:
    for fresh in generate(tmp_path):
        committed = Path(banyan_pb2.__file__).with_name(fresh.name)
        assert fresh.read_bytes() == committed.read_bytes(), "run python protocol/generate.py"
