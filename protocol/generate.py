"""``python protocol/generate.py``: write the Python code for the ``.proto`` files beside them.

The same compiler gives the same bytes: nothing of this machine or of the day enters the output.
``grpcio-tools`` is needed here and nowhere else; it is pinned together with protobuf, because
generated code refuses a runtime older than its compiler.
"""

from __future__ import annotations

import sys
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("protocol/banyan.proto", "protocol/peer.proto")


def generate(into: Path) -> list[Path]:
    """Write a ``_pb2.py`` and ``.pyi`` for each source below ``into`` and return their paths.

    Raises ``RuntimeError`` when the compiler refuses a source; it has said why on stderr.
    """
    into.mkdir(parents=True, exist_ok=True)
    options = [f"--proto_path={ROOT}", f"--python_out={into}", f"--pyi_out={into}"]
    if protoc.main(["protoc", *options, *SOURCES]) != 0:
        raise RuntimeError(f"protoc refused {' or '.join(SOURCES)}.")
    written = []
    for source in SOURCES:
        code, stubs = (into / source.replace(".proto", end) for end in ("_pb2.py", "_pb2.pyi"))
        # The compiler writes a bare Mapping, which strict type checking does not accept.
        ignored = "# mypy: disable-error-code=type-arg\n"
        stubs.write_text(ignored + stubs.read_text("utf-8"), "utf-8")
        written += [code, stubs]
    return written


if __name__ == "__main__":
    for path in generate(ROOT):
        sys.stdout.write(f"{path.relative_to(ROOT)}\n")
