"""Notes of what happened, and the configuration and versions that made the run."""

from __future__ import annotations

from collections import Counter

from simulations.report.blocks import Block, Fold, Section, Table, Text, plain, words
from simulations.report.run import RunSummary
from simulations.report.text import counted, duration, value_text, whole

MOST_NOTES = 200


def notes(run: RunSummary) -> Section | None:
    """Tabulate crashes, partitions and the like, with the cell and the simulated time."""
    counts: Counter[str] = Counter()
    rows = []
    for cell in run.cells:
        counts.update(cell.note_counts)
        for note in cell.notes:
            rows.append((duration(note.at_s), words([note.what, note.text, cell.name])))
    if not rows:
        return None
    times = tuple((what, plain([whole(count)])) for what, count in counts.most_common())
    table = Table(("at", "what", "text", "cell"), tuple(rows[:MOST_NOTES]))
    fold = Fold(f"{len(table.rows):,} of {counts.total():,} notes", (table,))
    text = "What happened to nodes and links, in simulated time."
    return Section("notes", "Notes", text, (Table(("what", "times"), times), fold))


def configuration(run: RunSummary) -> Section:
    """Show the experiment's file as it was given, the versions, and what is missing."""
    experiment = run.experiment
    blocks: list[Block] = [Fold("experiment.toml", (Text(run.toml, code=True),))]
    for head, values in (
        (
            ("set on the command line", "to"),
            {k: value_text(v) for k, v in experiment.set.items()},
        ),
        (("version of", ""), _versions(run)),
    ):
        if values:
            rows = [(name, words([value])) for name, value in values.items()]
            blocks.append(Table(head, tuple(rows)))
    if run.failures:
        reasons = Table(("cell", "why"), tuple((f.name, words([f.sentence])) for f in run.failures))
        blocks.append(Fold(f"{counted(len(run.failures), 'cell')} failed", (reasons,)))
    if run.missing:
        names = Text("\n".join(run.missing), code=True)
        blocks.append(Fold(f"{counted(len(run.missing), 'cell')} not finished", (names,)))
    text = "What made these figures: the same file with the same seeds gives the same result."
    return Section("configuration", "Configuration", text, tuple(blocks))


def _versions(run: RunSummary) -> dict[str, str]:
    """The experiment's versions, and those of its cells where they differ."""
    seen: dict[str, dict[str, None]] = {}
    for versions in (run.experiment.versions, *(cell.versions for cell in run.cells)):
        for name, version in versions.items():
            seen.setdefault(name, {})[version] = None
    return {name: ", ".join(versions) for name, versions in seen.items()}
