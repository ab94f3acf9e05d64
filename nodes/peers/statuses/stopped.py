"""The status of a node whose process does not run, composed anew from its folder.

Nothing is changed, signed or waited for; the folder may be read-only.
"""

from __future__ import annotations

from nodes.machine.clock import Clock
from nodes.machine.troubles import TROUBLES_FILE, read_troubles
from nodes.peers.statuses.around import Folder
from nodes.peers.statuses.children import ChildrenFold
from nodes.peers.statuses.own import compose
from nodes.peers.statuses.rows import CHILDREN_NOTE, StatusFile
from nodes.state.artefacts import ArtefactError, ArtefactStore
from nodes.state.checkpoint import restore
from nodes.state.event_codec import read
from nodes.state.home import Home
from nodes.state.ledger import START, Head, Ledger
from nodes.state.ledger_files import LedgerFiles
from nodes.state.node_state import NodeState
from protocol import (
    LIMITS,
    Certificate,
    Envelope,
    NodeId,
    ProtocolError,
    Status,
    open_envelope,
)


def status_from_folder(
    home: Home, file: StatusFile | None, clock: Clock, last: Status | None = None
) -> Status:
    """Say how a node is, from its state folder.

    Args:
        file: its statuses; None where there are none.
        last: the status that its process signed last, which knows by which way it reached its
            parent, and what was confined below it.

    Raises ``NodeError`` for a ledger that cannot be read.
    """
    troubles = read_troubles(home.folder / TROUBLES_FILE)
    around = Folder(home.folder, clock).around(
        way=last.way if last else "",
        started_ms=last.started_ms if last else 0,
        software=last.software if last else "",
        troubles=tuple(trouble.code for trouble in troubles),
    )
    store = ArtefactStore(home.folder / "artefacts", read_only=True)

    def compose_with(state: NodeState, head: Head, fold: ChildrenFold) -> Status:
        return compose(
            home,
            state,
            head,
            fold,
            around,
            now_ms=clock.now_ms(),
            certificate_of=lambda child: _certificate(home, state, store, child),
            confined=last.confined if last else False,
            hidden=last.hidden if last else 0,
        )

    if not home.ledger_file.exists():  # it never ran
        return compose_with(NodeState(), Head(0, START), ChildrenFold())
    with Ledger.open_read_only(home.ledger_file) as ledger:
        state, head = restore(ledger, LedgerFiles(home.folder), home.path)
        for entry in ledger.events(after=head.seq):
            state.apply(read(entry), entry.at_ms)
            head = Head(entry.seq, entry.digest)
        fold = ChildrenFold.from_json(file.note(CHILDREN_NOTE) if file else "", ledger)
        fold.catch_up(ledger, head)
        return compose_with(state, head, fold)


def _certificate(
    home: Home, state: NodeState, store: ArtefactStore, child: NodeId
) -> Certificate | None:
    member = state.membership.get(child)
    if member is None:
        return None
    try:
        envelope = Envelope.decode(store.get(member.certificate), LIMITS)
        return open_envelope(envelope, Certificate, home.key.public)
    except (ArtefactError, ProtocolError):
        return None
