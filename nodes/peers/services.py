"""What a parent answers its children beside tasks; each answer is bytes, each question JSON.

==============  ================================  ==============================================
``membership``  nothing                           the child's certificates, renewed if due; what
                                                  TLS certificates here chain to; addresses
``ready``       nothing                           nothing: the child has something to send
``base``        nothing                           the files of the base: names, lengths, digests
``base-part``   ``name``, ``offset``, ``length``  that part of a file of the base
``authority``   a nonce, 32 bytes; unsigned       a signed ``LinkAuthority``
==============  ================================  ==============================================
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog

from nodes.errors import NodeError
from nodes.flower.errors import Refusal
from nodes.flower.guard import Service
from nodes.peers.artefacts.manifest import Manifest
from nodes.peers.base_transfer import PART_BYTES
from nodes.state.node import Node
from nodes.trust.renewal import path_envelopes, renew_member
from nodes.trust.tls import TlsFiles
from protocol import LinkAuthority, NodeId, ProtocolError, seal

log = structlog.get_logger()

_BAD_REQUEST, _FORBIDDEN, _NOT_HERE = 400, 403, 404


class ParentServices:
    """The services of one parent.

    Args:
        base: the folder of the network's base.
        addresses: where children reach this node at present.
        child_of: the child that has a Flower node id.
        on_ready: told of a child that has something to send.
    """

    def __init__(
        self,
        node: Node,
        base: Path,
        addresses: Callable[[], Sequence[str]],
        child_of: Callable[[int], NodeId | None],
        on_ready: Callable[[NodeId], None],
    ) -> None:
        self._node, self._base, self._addresses = node, base, addresses
        self._child_of, self._on_ready = child_of, on_ready
        self._manifest: Manifest | None = None

    @property
    def signed(self) -> Mapping[str, Service]:
        """The services for members."""
        return {
            "membership": self._membership,
            "ready": self._ready,
            "base": self._list_base,
            "base-part": self._part_of_base,
        }

    @property
    def unsigned(self) -> Mapping[str, Service]:
        """The services for whoever asks."""
        return {"authority": self._authority}

    def _membership(self, flower_id: int, _: bytes) -> bytes:
        """Return a child's certificates, renewed if they are due, and how to reach this node."""
        try:
            own = renew_member(self._node, self._member(flower_id))
        except (NodeError, ProtocolError) as error:
            raise Refusal(_FORBIDDEN, str(error.code), error.sentence) from None
        path = [*path_envelopes(self._node.home.folder), own]
        answer = {
            "path": [b64encode(envelope).decode("ascii") for envelope in path],
            "authority": self._ca().decode("ascii"),
            "addresses": list(self._addresses()),
        }
        return json.dumps(answer).encode()

    def _ready(self, flower_id: int, _: bytes) -> bytes:
        self._on_ready(self._member(flower_id))
        return b""

    def _list_base(self, _flower_id: int, _: bytes) -> bytes:
        return self._described_base().encode()

    def _part_of_base(self, _flower_id: int, body: bytes) -> bytes:
        manifest = self._described_base()
        try:
            asked: dict[str, Any] = json.loads(body)
            name, offset, length = asked["name"], asked["offset"], asked["length"]
            if not (isinstance(offset, int) and isinstance(length, int) and offset >= 0):
                raise TypeError
        except (ValueError, KeyError, TypeError):
            raise Refusal(
                _BAD_REQUEST, "malformed", "A part is a name, an offset, a length."
            ) from None
        if manifest.file(name) is None:
            raise Refusal(_NOT_HERE, "no-such-file", "The base has no file of that name.")
        with (manifest.folder / name).open("rb") as file:
            file.seek(offset)
            return bytes(file.read(max(0, min(length, PART_BYTES))))

    def _authority(self, _: int, nonce: bytes) -> bytes:
        home = self._node.home
        try:
            statement = LinkAuthority(
                network=home.network.network,
                node=home.id,
                nonce=nonce,
                authority=self._ca(),
                issued_ms=self._node.clock.now_ms(),
            )
        except ProtocolError:
            raise Refusal(_BAD_REQUEST, "malformed", "A nonce has 32 bytes.") from None
        return seal(statement, home.key).encode()

    def _member(self, flower_id: int) -> NodeId:
        child = self._child_of(flower_id)
        if child is None:
            raise Refusal(_FORBIDDEN, "not-a-member", "No member of this node has this key.")
        return child

    def _described_base(self) -> Manifest:
        """Describe the base once: its files are digested for that."""
        if self._manifest is None:
            self._manifest = Manifest.of_folder(self._base)
        return self._manifest

    def _ca(self) -> bytes:
        return TlsFiles.in_folder(self._node.home.folder / "tls").ca.read_bytes()
