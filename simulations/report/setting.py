"""Notes of what happened, and the configuration and versions that made the run."""

from __future__ import annotations

from collections import Counter

from simulations.report.blocks import Block, Code, Fold, Prose, Section, Table, Td, plain
from simulations.report.run import Run
from simulations.report.text import counted, duration, value_text, whole

MOST_NOTES = 200


def notes(run: Run) -> Section | None:
    """Crashes, partitions and the like, with the cell and the simulated time."""
    noted: Counter[str] = Counter()
    rows = []
    for cell in run.cells:
        noted.update(cell.noted)
        for note in cell.notes:
            words = [Td(text, words=True) for text in (note.what, note.text, cell.name)]
            rows.append((duration(note.at_s), tuple(words)))
    if not rows:
        return None
    counts = Table(
        ("what", "times"), tuple((what, plain([whole(n)])) for what, n in noted.most_common())
    )
    table = Table(("at", "what", "text", "cell"), tuple(rows[:MOST_NOTES]))
    shown = min(len(rows), MOST_NOTES)
    fold = Fold(f"{shown:,} of {noted.total():,} notes", (table,))
    text = "What happened to nodes and links, in simulated time."
    return Section("notes", "Notes", text, (counts, fold))


def setting(run: Run) -> Section:
    """The experiment's file as it was given, versions, and what is missing."""
    blocks: list[Block] = [Fold("experiment.toml", (Code(run.experiment.toml),))]
    if run.experiment.changes:
        changes = run.experiment.changes.items()
        rows = tuple((key, (Td(value_text(value), words=True),)) for key, value in changes)
        blocks.append(Table(("set on the command line", "to"), rows))
    if versions := _versions(run):
        rows = tuple((name, (Td(version, words=True),)) for name, version in versions.items())
        blocks.append(Table(("version of", ""), rows))
    if run.failed:
        rows = tuple((name, (Td(why, words=True),)) for name, why in run.failed)
        failed = Table(("cell", "why"), rows)
        blocks.append(Fold(f"{counted(len(run.failed), 'cell')} failed", (failed,)))
    if run.missing:
        names = Code("\n".join(run.missing))
        blocks.append(Fold(f"{counted(len(run.missing), 'cell')} not finished", (names,)))
    if run.unknown:
        kinds = ", ".join(f"{kind} ({count:,})" for kind, count in sorted(run.unknown.items()))
        blocks.append(Prose(f"Records of kinds that this report does not show: {kinds}."))
    text = "What made these figures: the same file with the same seeds gives the same result."
    return Section("configuration", "Configuration", text, tuple(blocks))


def _versions(run: Run) -> dict[str, str]:
    """What the experiment names, and what its cells were made with where that is something else."""
    found: dict[str, dict[str, None]] = {}
    for versions in (run.experiment.versions, *(cell.versions for cell in run.cells)):
        for name, version in versions.items():
            found.setdefault(name, {})[version] = None
    return {name: ", ".join(versions) for name, versions in found.items()}
