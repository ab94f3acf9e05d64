"""``python protocol/generate.py``: write the Python code for ``banyan.proto`` beside it.

The same compiler gives the same bytes: nothing of this machine or of the day enters the output.
``grpcio-tools`` is needed here and nowhere else; it is pinned together with protobuf, because
generated code refuses a runtime older than its compiler.
"""

from __future__ import annotations

import sys
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
SOURCE = "protocol/banyan.proto"


def generate(into: Path) -> list[Path]:
    """Write ``protocol/banyan_pb2.py`` and ``.pyi`` below ``into`` and return their paths.

    Raises ``RuntimeError`` when the compiler refuses the source; it has said why on stderr.
    """
    into.mkdir(parents=True, exist_ok=True)
    options = [f"--proto_path={ROOT}", f"--python_out={into}", f"--pyi_out={into}"]
    if protoc.main(["protoc", *options, SOURCE]) != 0:
        raise RuntimeError(f"protoc refused {SOURCE}.")
    code, stubs = (into / "protocol" / name for name in ("banyan_pb2.py", "banyan_pb2.pyi"))
    # The compiler writes a bare Mapping, which strict type checking does not accept.
    stubs.write_text("# mypy: disable-error-code=type-arg\n" + stubs.read_text("utf-8"), "utf-8")
    return [code, stubs]


if __name__ == "__main__":
    for path in generate(ROOT):
        sys.stdout.write(f"{path.relative_to(ROOT)}\n")
