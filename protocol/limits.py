"""Every limit on size, number and time, in one place, each with its unit.

Sizes are ceilings against abuse, not targets. The exact size of a payload follows from its task
(``protocol.codec.encoded_size``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from protocol.ids import MAX_SEGMENTS

_KIB: Final = 1024
_MIB: Final = 1024 * _KIB
_DAY_S: Final = 24 * 3600


@dataclass(frozen=True)
class Limits:
    """The limits a node keeps. Units stand in the names: bytes, seconds (``_s``), else a count."""

    # Envelopes. A release names the updates it was made from, so it may be large; an answer names
    # only itself.
    envelope_bytes: int = _MIB
    answer_bytes: int = 16 * _KIB
    max_signatures: int = 8

    # Payloads.
    payload_bytes: int = 256 * _MIB
    tensor_header_bytes: int = 256 * _KIB
    # L2 in θ-space, which is the Frobenius norm in weight space. Honest deltas of the models at
    # hand measure below 10; this only keeps absurd ones out of the arithmetic.
    max_update_norm: float = 100.0

    # Lists inside statements.
    max_chain: int = MAX_SEGMENTS + 1
    max_verdicts: int = 4096
    max_probe_sources: int = 256
    max_revoked: int = 16_384
    max_circle: int = 4096
    max_undone: int = 256
    max_targets: int = 64
    max_rank: int = 4096

    # Time. Clocks of peers may differ by this much in either direction.
    clock_skew_s: int = 120
    task_lifetime_s: int = 7 * _DAY_S
    update_lifetime_s: int = _DAY_S
    snapshot_lifetime_s: int = 7 * _DAY_S
    certificate_lifetime_s: int = 2 * 366 * _DAY_S

    # An update may have started from a version at most this many before the current one.
    max_staleness: int = 5


LIMITS: Final = Limits()
