"""A parent's policy for its rounds, fixed before it knows who answers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RoundPolicy:
    """A parent's policy for its rounds, fixed before it knows who answers.

    ``f`` is the number of malicious children to tolerate; DESIGN section 4 asks for N >= 3f + 1.
    If it is None, it is the largest that N allows.
    ``enough`` is the number of updates after which a round need not wait, N - f if it is None.
    ``grace`` is how long to wait for the rest after quorum, as a share of the time quorum took.
    ``retry_ms`` is the wait before a child that said "not yet" is asked again, ``resend_ms`` the
    wait before a child that said nothing is asked again, ``refused_ms`` the wait before a child
    whose answer was refused is asked again (at most ``max_refusals`` times), ``pause_ms`` the wait
    between rounds. While nobody has anything to send, that wait doubles up to ``idle_pause_ms``.
    """

    f: int | None = None
    enough: int | None = None
    deadline_ms: int = 600_000
    grace: float = 0.5
    retry_ms: int = 30_000
    resend_ms: int = 120_000
    refused_ms: int = 1_000
    max_refusals: int = 4
    pause_ms: int = 1_000
    idle_pause_ms: int = 3_600_000

    def quorum(self, members: int) -> int:
        """Return the number of updates after which a round need not wait: at least what is
        needed."""
        usual = members - self.tolerates(members)
        return max(self.needed(members), min(self.enough or usual, usual))

    def needed(self, members: int) -> int:
        """Return the fewest updates that can be aggregated: 2f + 1."""
        return 2 * self.tolerates(members) + 1

    def tolerates(self, members: int) -> int:
        """Return how many malicious children this parent withstands: ``f`` if N >= 3f+1, else 0."""
        most = max(0, (members - 1) // 3)
        if self.f is None:
            return most
        return self.f if self.f <= most else 0

    def pause(self, idle_rounds: int) -> int:
        """Return the wait before the next round, after so many rounds without an update, in ms."""
        if idle_rounds == 0:
            return self.pause_ms
        doubled = self.pause_ms << min(idle_rounds, 32)
        return max(self.pause_ms, min(doubled, self.idle_pause_ms))
