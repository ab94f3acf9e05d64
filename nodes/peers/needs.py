"""What a node cannot start without, and gets from above: a membership that holds, and the base.

Where the parent is needed and does not answer, the node waits and says so; it does not end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import structlog

from nodes.config.sections import NodeConfig
from nodes.machine.clock import Clock
from nodes.machine.retry import keep_trying
from nodes.machine.troubles import Troubles
from nodes.peers.artefacts.base import fetch_base, is_whole
from nodes.peers.artefacts.fetch import Fetcher
from nodes.peers.parent_link import ParentLink
from nodes.state.home import Home, open_home
from nodes.state.node import Node
from nodes.trust.renewal import renew_root
from protocol import Code, Refused

log = structlog.get_logger()

LONGEST_WAIT_S = 60.0
"""The longest pause before the parent is asked again."""


class Needs:
    """Waits for what one node needs.

    Args:
        above: the ways to the parent; None at a root.
    """

    def __init__(
        self,
        config: NodeConfig,
        above: ParentLink | None,
        clock: Clock,
        stop: threading.Event,
        troubles: Troubles,
    ) -> None:
        self._config, self._above, self._clock = config, above, clock
        self._stop, self._troubles = stop, troubles

    def membership(self, home: Home) -> Home:
        """Wait until every certificate from the root to this node holds; return the home as it is
        then.

        Those that ended are renewed. One that is not valid yet becomes so when a clock is set.
        """
        opened = home

        def renew() -> None:
            nonlocal opened
            try:
                opened = open_home(home.folder, self._clock.now_ms())
                return
            except Refused as refused:
                if refused.code not in (Code.CERTIFICATE_EXPIRED, Code.NOT_YET_VALID):
                    raise
                self._troubles.report("membership", refused.code.value, refused.sentence)
            if self._above:
                self._above.client.renew()
            else:
                renew_root(home, self._clock.now_ms())
            opened = open_home(home.folder, self._clock.now_ms())

        self._wait_for("membership", renew)
        return opened

    def awaits_base(self, home: Home) -> bool:
        """Return whether the base comes from the circle, and is not here yet."""
        folder = self._config.model.base
        if self._above is None or folder != home.folder / "base":
            return False
        return not is_whole(folder, home.network)

    def base(self, node: Node, fetcher: Fetcher | None) -> None:
        """Wait until the base is here, where a node has none of its own: it comes from the circle.

        Args:
            fetcher: asks the circle; None at a root.
        """
        home, folder, above = node.home, self._config.model.base, self._above
        if above is None or fetcher is None or not self.awaits_base(home):
            return
        progress = _Progress(folder)

        def fetch() -> None:
            fetch_base(
                fetcher,
                above.manifest(),
                folder,
                home.network,
                stop=self._stop,
                on_progress=progress.tell,
            )

        self._wait_for("base", fetch)

    def _wait_for(self, key: str, work: Callable[[], None]) -> None:
        keep_trying(work, self._stop, self._troubles, key, longest_wait_s=LONGEST_WAIT_S)


class _Progress:
    """Logs how much of a base is here, a tenth at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._told = folder, -10

    def tell(self, done: int, total: int) -> None:
        """Log it, if a tenth more is here than was last said."""
        percent = 100 * done // max(total, 1)
        if percent >= self._told + 10:
            self._told = percent
            log.info(
                "base-arriving", percent=percent, bytes=done, of=total, folder=str(self._folder)
            )
