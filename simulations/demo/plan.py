"""The demo's network on paper: which nodes there are, with which text, and with which settings.

Two plans of the same shape: the full one on SmolLM2 and the quick one on a tiny model. Nothing here
starts a process or touches a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from protocol import Role, Scope
from simulations.datasets.hpo import definitions
from simulations.datasets.icd10 import names
from simulations.datasets.split import split

UNSEEN = "integument"
"""The organ system that no device trains on."""

Corpus = Mapping[str, Mapping[str, list[str]]]
"""For each source (an organ system, or ``es-circulatory``) its parts train, probes and held."""


@dataclass(frozen=True)
class NodePlan:
    """One node: where it stands, what it trains on, what it measures candidates with.

    ``more`` are further settings of its ``node.toml``, section by section.
    """

    name: str
    scope: Scope
    role: Role
    train: tuple[str, ...] = ()
    probes: Mapping[str, list[str]] = field(default_factory=dict)
    malicious: bool = False
    more: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def parent_scope(self) -> Scope | None:
        """The scope of the node's parent; None at the root."""
        return self.scope if self.role is Role.DEVICE else self.scope.parent

    @property
    def label(self) -> str:
        """What people read: the scope, with a device's name there."""
        if self.role is not Role.DEVICE:
            return str(self.scope)
        return f"{self.scope} {self.name.removeprefix(_dashed(self.scope) + '-')}"


@dataclass(frozen=True)
class DemoScale:
    """What differs between the full demo and the quick one."""

    rank: int
    targets: tuple[str, ...]
    releases: int
    probes: int
    held: int
    training: Mapping[str, Any]
    rounds: Mapping[str, Any]
    poll_s: float
    limit_s: float


FULL = DemoScale(
    rank=16,
    targets=("q_proj", "v_proj"),
    releases=2,
    probes=30,
    held=48,
    training={"steps": 9, "batch_size": 4, "learning_rate": 6e-3, "max_tokens": 64},
    rounds={"deadline_s": 240, "resend_s": 240, "grace": 0.25, "retry_s": 5, "poll_s": 0.5},
    poll_s=1.0,
    limit_s=1500,
)
QUICK = DemoScale(
    rank=8,
    targets=("q_proj", "v_proj", "o_proj", "up_proj", "down_proj"),
    releases=2,
    probes=30,
    held=48,
    training={"steps": 30, "batch_size": 8, "learning_rate": 2e-2, "max_tokens": 96},
    rounds={"deadline_s": 60, "resend_s": 45, "grace": 0.5, "retry_s": 2, "poll_s": 0.2},
    poll_s=0.5,
    limit_s=300,
)

ENGLISH = {"cardiology": "cardiovascular", "neurology": "nervous", "respiratory": "respiratory"}
"""The English sub-domains and the organ system of each."""
SPANISH = "es-circulatory"
ALPHA = 0.1
"""Of all promotions so many may be false: twice the usual share, for probes are few here."""
PATIENT = 4.0
"""The grace where an attacker is expected: the demo is to show it outvoted, not merely too slow."""
DEEPEST = 2
"""Times as many probes where devices train: later gains are small, and must be shown."""
SHARES = {"train": 0.6, "probes": 0.2, "held": 0.2}
SMALL = 500
"""A source with fewer texts than this is small."""
SMALL_SHARES = {"train": 0.45, "probes": 0.35, "held": 0.2}
"""Every source must give each of four nodes, one above the other, its own probes."""


def demo_corpus(seed: int) -> Corpus:
    """Divide each source into train, probes and held; no text stands in two of them.

    Raises ``NodeError`` ``no-data`` when a package of text is missing.
    """
    key = f"banyan demo {seed}".encode()
    sources = {system: definitions(system) for system in (*ENGLISH.values(), UNSEEN)}
    sources[SPANISH] = names("es", "circulatory")
    return {
        source: split(texts, SMALL_SHARES if len(texts) < SMALL else SHARES, key)
        for source, texts in sources.items()
    }


def plan_nodes(corpus: Corpus, settings: DemoScale, *, attack: bool) -> list[NodePlan]:
    """All nodes, parents before children.

    Without ``attack`` the fourth device of cardiology is still enrolled, so that f and the number
    of children are the same, but it is honest and has no text: it abstains.
    """
    take = _Dealer(corpus, settings.probes)
    en, es = Scope.parse("/en"), Scope.parse("/es")
    health, salud = en.child("healthcare"), es.child("healthcare")
    systems = tuple(ENGLISH.values())
    nodes = [
        _interior(Scope(), take.probes({"en": systems, "es": (SPANISH,)})),
        _interior(en, take.probes({system: (system,) for system in systems})),
        _interior(es, take.probes({SPANISH: (SPANISH,)})),
        _interior(health, take.probes({name: (ENGLISH[name],) for name in ENGLISH})),
        _interior(salud, take.probes({SPANISH: (SPANISH,)})),
    ]
    for name, system in ENGLISH.items():
        scope = health.child(name)
        nodes.append(_interior(scope, take.probes({system: (system,)}, DEEPEST)))
        devices = 3 if name == "cardiology" else 2
        texts = take.train(system, devices + (name == "cardiology"))
        nodes += [_device(scope, i + 1, texts[i]) for i in range(devices)]
        if name == "cardiology":
            fourth = texts[devices] if attack else ()
            nodes.append(_device(scope, devices + 1, fourth, malicious=attack))
    scope = salud.child("cardiology")
    nodes.append(_interior(scope, take.probes({SPANISH: (SPANISH,)}, DEEPEST)))
    nodes += [_device(scope, i + 1, texts) for i, texts in enumerate(take.train(SPANISH, 2))]
    return nodes


def held_out(corpus: Corpus, scope: Scope, count: int) -> list[str]:
    """The held-out text by which a scope is judged: ``count`` documents, from all its sources."""
    sources = [SPANISH] if scope.is_within(Scope.parse("/es")) else list(ENGLISH.values())
    if scope.tier == 3 and scope.is_within(Scope.parse("/en")):
        sources = [ENGLISH[str(scope).rpartition("/")[2]]]
    if scope == Scope():
        sources = [*ENGLISH.values(), SPANISH]
    of_each = count // len(sources)
    return [text for source in sources for text in corpus[source]["held"][:of_each]]


def sections(plan: NodePlan, settings: DemoScale, *, attack_expected: bool) -> dict[str, Any]:
    """The sections of a node's configuration, beyond its links and its files."""
    values = _planned(plan, settings, attack_expected=attack_expected)
    for name, section in plan.more.items():
        values.setdefault(name, {}).update(section)
    return values


def _planned(plan: NodePlan, settings: DemoScale, *, attack_expected: bool) -> dict[str, Any]:
    if plan.role is Role.DEVICE:
        return {"training": dict(settings.training)}
    rounds: dict[str, Any] = {"pause_s": 0.2, **settings.rounds}
    times = DEEPEST if plan.scope.tier == 3 else 1
    gate = {"alpha": ALPHA, "size": settings.probes * times, "each": settings.probes // 3}
    if plan.scope.tier == 3:
        rounds["max_releases"] = settings.releases
    else:
        rounds["grace"] = 0.0
    if attack_expected and str(plan.scope) == "/en/healthcare/cardiology":
        rounds |= {"f": 1, "grace": PATIENT}
    return {"rounds": rounds, "gate": gate}


@dataclass
class _Dealer:
    """Deals disjoint text: every node gets its own."""

    corpus: Corpus
    count: int
    dealt: dict[str, int] = field(default_factory=dict)

    def probes(
        self, sources: Mapping[str, tuple[str, ...]], times: int = 1
    ) -> dict[str, list[str]]:
        """For each source ``times`` the usual count, shared evenly between its organ systems."""
        return {
            name: [text for system in systems for text in self._next(system, times / len(systems))]
            for name, systems in sources.items()
        }

    def _next(self, system: str, part: float) -> list[str]:
        start, wanted = self.dealt.get(system, 0), int(self.count * part)
        texts = self.corpus[system]["probes"][start : start + wanted]
        if len(texts) < wanted:
            raise ValueError(f"{system} has too few probes for the plan")
        self.dealt[system] = start + wanted
        return texts

    def train(self, system: str, devices: int) -> list[tuple[str, ...]]:
        """The training text of a system, dealt in turn to so many devices."""
        texts = self.corpus[system]["train"]
        return [tuple(texts[i::devices]) for i in range(devices)]


def _interior(scope: Scope, probes: Mapping[str, list[str]]) -> NodePlan:
    role = Role.ROOT if scope == Scope() else Role.INTERIOR
    return NodePlan(_dashed(scope) or "root", scope, role, probes=probes)


def _device(
    scope: Scope, number: int, texts: tuple[str, ...], *, malicious: bool = False
) -> NodePlan:
    name = f"{_dashed(scope)}-device-{number}"
    return NodePlan(name, scope, Role.DEVICE, train=texts, malicious=malicious)


def _dashed(scope: Scope) -> str:
    return str(scope).strip("/").replace("/", "-")
