"""The lines of ``banyan node status``: a label and a value each, for a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nodes.dashboard.status import Abstention, Probed, Status
    from nodes.machine.troubles import Trouble
    from nodes.text.documents import Part
    from nodes.text.replay_buffer import Size

_UNITS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def lines(current: Status, now_ms: int) -> Iterator[tuple[str, object]]:
    """Yield what a ledger says, in reading order."""
    names = told_apart(current.members)
    yield "scope", current.scope
    yield "version", current.version
    yield "round", f"{current.round}{' (open)' if current.round_open else ''}"
    yield "members", _members(current, names) or "none"
    for child, abstention in current.abstaining.items():
        yield "abstains", f"{names.get(child, child[:12])}: {_abstains(abstention, now_ms)}"
    yield "tolerates", f"{current.tolerates} malicious"
    yield "accepted", f"{current.accepted} ({current.late} late)"
    yield "outvoted", sum(current.outvoted.values())
    yield "refused", _counts(current.refused)
    yield "at the door", _counts(current.door)
    yield "releases", _counts(current.releases)
    yield "probe loss", _change(current.first_loss, current.loss)
    for name, probed in current.sources.items():
        yield f"probes: {name}", _probed(probed)
    yield "trained", f"{current.trained_rounds} rounds, {current.trained_tokens:,} tokens"


def membership_line(until_ms: int, now_ms: int) -> str:
    """Say until when a membership holds; one that lapsed is renewed by the running node."""
    if now_ms <= until_ms:
        return f"holds for {span(until_ms - now_ms)}, renewed by itself before"
    return (
        f"lapsed {span(now_ms - until_ms)} ago (certificate-expired): `banyan node run` renews it "
        "as soon as it reaches the parent"
    )


def text_lines(text: Mapping[Part, Mapping[str, Size]]) -> Iterator[tuple[str, object]]:
    """Yield the fill of the replay buffer, a line for each part."""
    for part, by_source in text.items():
        yield f"text: {part}", "; ".join(_size(source, size) for source, size in by_source.items())


def trouble_lines(troubles: Iterable[Trouble], now_ms: int) -> Iterator[tuple[str, object]]:
    """Yield what does not work at present, the oldest first, and for how long."""
    for trouble in sorted(troubles, key=lambda trouble: trouble.since_ms):
        stands = f"for {span(now_ms - trouble.since_ms)}, {_times(trouble.count)}"
        yield f"trouble: {trouble.key}", f"{trouble.code}: {trouble.sentence} ({stands})"


def told_apart(names: Mapping[str, str]) -> dict[str, str]:
    """Return the name of each id, with the beginning of the id where several have one name."""
    counts = Counter(names.values())
    return {id_: name if counts[name] == 1 else f"{name} {id_[:12]}" for id_, name in names.items()}


def span(ms: int) -> str:
    """Return a time in words, in the largest unit that fits it."""
    seconds = max(ms // 1000, 0)
    size, unit = next((u for u in _UNITS if seconds >= u[0]), _UNITS[-1])
    count = seconds // size
    return f"{count} {unit}{'' if count == 1 else 's'}"


def _abstains(abstention: Abstention, now_ms: int) -> str:
    return f"{abstention.reason}, for {span(now_ms - abstention.since_ms)}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"


def _members(current: Status, names: Mapping[str, str]) -> str:
    mark = dict.fromkeys(current.revoked, " (revoked)")
    mark |= dict.fromkeys(current.suspended, " (suspended)")
    return ", ".join(sorted(name + mark.get(child, "") for child, name in names.items()))


def _size(source: str, size: Size) -> str:
    return f"{source} {size.documents:,} documents, {size.bytes:,} bytes"


def _probed(probed: Probed) -> str:
    return f"{probed.kind}, {_change(probed.first, probed.now)}, {probed.probes} probes"


def _change(before: float | None, after: float | None) -> str:
    if before is None or after is None:
        return "not measured yet"
    return f"{before:.3f} → {after:.3f} nats per token"
