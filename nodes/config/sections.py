"""The sections of ``node.toml``. Read once, checked whole, then constant.

Every mistake in the file is reported with its place and what was expected; nothing starts on a
half-right configuration. Paths are relative to the folder of the file.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from aggregation import AggregationError, Pipeline
from aggregation.gate import GatePolicy, ProbeKind, Reuse
from aggregation.replay import ALIKE, SHIFTED, Portion, ShiftPolicy
from nodes.config.addresses import distinct, parse_host, parse_reachable
from nodes.config.policy import RoundPolicy
from nodes.errors import NodeError
from nodes.state.retention import RetentionPolicy
from nodes.text.documents import Budgets
from nodes.text.probe_files import FORMS
from protocol import LIMITS

_ORDINARY = ProbeKind.ORDINARY
Seconds = Annotated[float, Field(ge=0)]
T = TypeVar("T")
U = TypeVar("U")


class Section(BaseModel):
    """A part of a configuration: constant, and without settings that nobody knows."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _parsed(parse: Callable[[T], U], value: T) -> U:
    """Call a parser of this project where pydantic expects a ``ValueError``."""
    try:
        return parse(value)
    except NodeError as error:
        raise ValueError(error.sentence) from None


class UplinkSettings(Section):
    """The addresses of the parent, tried in turn.

    ``doors`` are those at which it answers whoever joins or renews.
    """

    addresses: tuple[str, ...] = Field(min_length=1, examples=[["10.0.0.7:9941"]])
    doors: tuple[str, ...] = ()
    poll_s: Seconds = 0.5

    @model_validator(mode="before")
    @classmethod
    def _one_address_as_it_was_written_before(cls, values: Any) -> Any:
        if isinstance(values, dict) and "address" in values and "addresses" not in values:
            values = {**values, "addresses": [values["address"]]}
            del values["address"]
        return values

    @field_validator("addresses", "doors")
    @classmethod
    def _addresses_parse(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        return _parsed(distinct, addresses)


class DownlinkSettings(Section):
    """Where this node listens for children, and by which names they reach it.

    ``host`` may be a wildcard (0.0.0.0, ::). ``names`` are host names and IP addresses, with a port
    where it is another than ``port``; without any, those of this machine. ``port`` 0: the first run
    chooses, and it is kept.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535)
    names: tuple[str, ...] = ()

    @field_validator("host")
    @classmethod
    def _host_parses(cls, host: str) -> str:
        return _parsed(parse_host, host)

    @field_validator("names")
    @classmethod
    def _names_parse(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            _parsed(lambda text: parse_reachable(text, 1), name)
        return names


class PeerSettings(Section):
    """The peer service: where this node listens for other peers than Flower's.

    ``host`` is that of ``[downlink]`` if it is not given, and every address at a device. Ports that
    are 0 are chosen at the first run, and kept: ``port`` for the children, ``door`` for whoever
    wants to join or renew, ``siblings`` for the parent's other children, ``swarm`` for large
    artefacts. A node that does not ``share`` takes artefacts from others and gives none. Its
    ``statuses`` go ``up`` to whoever is above, or no further than to its ``parent``, with all that
    came from below it.
    """

    host: str | None = None
    port: int = Field(default=0, ge=0, le=65535)
    door: int = Field(default=0, ge=0, le=65535)
    siblings: int = Field(default=0, ge=0, le=65535)
    swarm: int = Field(default=0, ge=0, le=65535)
    share: bool = True
    statuses: str = Field(default="up", pattern="^(up|parent)$")

    @field_validator("host")
    @classmethod
    def _host_parses(cls, host: str | None) -> str | None:
        return None if host is None else _parsed(parse_host, host)


class RoundSettings(Section):
    """The collection of updates from this node's children."""

    f: int | None = Field(default=None, ge=0)
    enough: int | None = Field(default=None, ge=1)
    pipeline: tuple[str, ...] = ("arc", "centred_clipping")
    steps: tuple[float, ...] = (1.0, 0.5, 0.25)
    deadline_s: float = Field(default=600, ge=0, le=LIMITS.task_lifetime_s)
    grace: float = Field(default=0.5, ge=0)
    retry_s: Seconds = 30
    resend_s: Seconds = 120
    pause_s: Seconds = 1
    idle_pause_s: Seconds = 3600
    poll_s: Seconds = 0.2
    stand_ins: bool = True
    max_releases: int | None = Field(default=None, ge=1)
    payload_format: str = Field(default="int8", pattern="^(int8|float32)$")

    @field_validator("pipeline")
    @classmethod
    def _pipeline_exists(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        try:
            Pipeline.parse(names)
        except AggregationError as error:
            raise ValueError(error.sentence) from None
        return names

    @model_validator(mode="after")
    def _steps_shrink(self) -> Self:
        if not self.steps or any(not 0 < s <= 1 for s in self.steps):
            raise ValueError("steps must be numbers in (0, 1], at least one")
        if list(self.steps) != sorted(self.steps, reverse=True):
            raise ValueError("steps must get smaller: they are tried in order until one passes")
        return self

    def policy(self) -> RoundPolicy:
        """Return these settings as the round machine's policy."""
        return RoundPolicy(
            f=self.f,
            enough=self.enough,
            deadline_ms=round(self.deadline_s * 1000),
            grace=self.grace,
            retry_ms=round(self.retry_s * 1000),
            resend_ms=round(self.resend_s * 1000),
            pause_ms=round(self.pause_s * 1000),
            idle_pause_ms=round(self.idle_pause_s * 1000),
        )


class GateSettings(Section):
    """The demands on a candidate before it becomes a release; see docs/gate.md.

    ``kinds`` says of probe sources what they are for, if not ordinary: general, refusal, trigger.
    ``tolerances`` are nats per token by which a source may become worse, in place of its kind's.
    ``rehearsal_steps`` of training on the node's own text repair what did harm; 0: never.
    """

    alpha: float = Field(default=0.05, gt=0, lt=1)
    size: int = Field(default=256, ge=1)
    each: int = Field(default=64, ge=1)
    retire_after: int = Field(default=8, ge=1)
    reuse: Reuse = Reuse.WHEN_DRY
    rehearsal_steps: int = Field(default=5, ge=0)
    kinds: dict[str, ProbeKind] = {}
    tolerances: dict[str, float] = {}

    @field_validator("tolerances")
    @classmethod
    def _not_negative(cls, tolerances: dict[str, float]) -> dict[str, float]:
        if any(not 0 <= value < math.inf for value in tolerances.values()):
            raise ValueError("a tolerance is a number of nats, at least 0")
        return tolerances

    def policy(self) -> GatePolicy:
        """Return these settings as the gate's policy."""
        return GatePolicy(
            alpha=self.alpha,
            size=self.size,
            each=self.each,
            retire_after=self.retire_after,
            reuse=self.reuse,
            kinds=self.kinds,
            sources=self.tolerances,
        )


class PromotionSettings(Section):
    """When an interior node offers its adapter to its parent (DESIGN section 4)."""

    least_change: float = Field(default=0.05, ge=0)
    after_s: Seconds = 24 * 3600


class ModelSettings(Section):
    """The base, and how much of the machine it may use."""

    base: Path = Path("base")
    dtype: str = Field(default="auto", pattern="^(auto|bfloat16|float32)$")
    threads: int = Field(default=1, ge=1)
    lease: Path | None = None
    lease_slots: int = Field(default=2, ge=1)
    keep_loaded: bool = False
    isolate: bool = True
    idle_s: Seconds = 10


class DataSettings(Section):
    """Text: a device trains on it, an interior node measures candidates with it."""

    train: tuple[Path, ...] = ()
    probes: dict[str, Path] = {}
    watch: Path | None = None
    column: str = "text"
    rest_s: Seconds = 5


class ReplaySettings(Section):
    """The replay buffer's budgets in bytes, and how much of it a training run sees."""

    training_bytes: int = Field(default=Budgets.training, ge=0)
    probe_bytes: int = Field(default=Budgets.probes, ge=0)
    descriptor_bytes: int = Field(default=Budgets.descriptors, ge=0)
    fresh_bytes: int = Field(default=Budgets.fresh, ge=0)
    document_bytes: int = Field(default=Budgets.document, ge=256)
    child_share: float = Field(default=Budgets.child_share, ge=0, le=1)
    share: float = Field(default=ALIKE.share, ge=0, le=1)
    shifted_share: float = Field(default=SHIFTED.share, ge=0, le=1)
    shifted_length: float = Field(default=SHIFTED.length, ge=1, le=10)

    def budgets(self) -> Budgets:
        """Return these settings as the buffer's budgets."""
        return Budgets(
            training=self.training_bytes,
            probes=self.probe_bytes,
            descriptors=self.descriptor_bytes,
            fresh=self.fresh_bytes,
            document=self.document_bytes,
            child_share=self.child_share,
        )

    def shift(self) -> ShiftPolicy:
        """Return what a run replays, as the policy of a shift's measurement."""
        return ShiftPolicy(
            alike=Portion(self.share), shifted=Portion(self.shifted_share, self.shifted_length)
        )


class RetentionSettings(Section):
    """How much of its past a node keeps; see docs/decisions/0018-retention-and-checkpoints.md.

    ``max_bytes`` is of all artefacts: by default 180 MB at a device and 900 MB at others.
    """

    withdrawal_days: float = Field(default=90, ge=0)
    rollback_versions: int = Field(default=30, ge=1)
    max_bytes: int | None = Field(default=None, ge=0)

    def policy(self, *, is_device: bool) -> RetentionPolicy:
        """Return these settings as the policy of a device's store, or of another node's."""
        default = 180_000_000 if is_device else 900_000_000
        return RetentionPolicy(
            withdrawal_ms=round(self.withdrawal_days * 24 * 3600 * 1000),
            rollback_versions=self.rollback_versions,
            max_bytes=default if self.max_bytes is None else self.max_bytes,
        )


class TrainingSettings(Section):
    """A device's training in one round.

    A ``plain`` device starts each round from the chain above it and keeps nothing of its own. A
    ``personal`` one keeps an adapter, follows the chain as far as its own probes tolerate, and
    keeps of what it learns the step that is best and forgets no more than ``tolerance``: nats per
    token above the best ever held, mean over sources.
    """

    mode: str = Field(default="plain", pattern="^(plain|personal)$")
    steps: int = Field(default=20, ge=1)
    batch_size: int = Field(default=8, ge=1)
    learning_rate: float = Field(default=5e-3, gt=0)
    max_tokens: int = Field(default=128, ge=8)
    tolerance: float = Field(default=0.08, ge=0)
    seed: int = 0


class NodeConfig(Section):
    """The whole file."""

    state: Path = Path()
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")
    uplink: UplinkSettings | None = None
    downlink: DownlinkSettings | None = None
    peers: PeerSettings = PeerSettings()
    rounds: RoundSettings = RoundSettings()
    gate: GateSettings = GateSettings()
    promotion: PromotionSettings = PromotionSettings()
    model: ModelSettings = ModelSettings()
    data: DataSettings = DataSettings()
    replay: ReplaySettings = ReplaySettings()
    retention: RetentionSettings = RetentionSettings()
    training: TrainingSettings = TrainingSettings()

    @model_validator(mode="after")
    def _safety_probes_have_files(self) -> Self:
        kinds, files = self.gate.kinds, self.data.probes
        if without := [s for s, kind in kinds.items() if kind in FORMS and s not in files]:
            raise ValueError(
                f"[gate.kinds] says that {without[0]} is {kinds[without[0]]}, "
                "but [data.probes] names no file for it"
            )
        if files and not any(kinds.get(s, _ORDINARY) is _ORDINARY for s in files):
            raise ValueError("[data.probes] needs an ordinary source: nothing else can show a gain")
        return self
