"""Read the files of ``[data.probes]``: the edge where probes enter.

Ordinary and general sources are text, in any form that ``nodes.text.files`` reads. The others are
``.jsonl``, one object a line, with exactly these names:

===========  =========================================================================
refusal      ``{"request": "…", "refusing": "…", "compliant": "…"}``
trigger      ``{"text": "…", "trigger": "…", "rest": "…", "planted": true}``
===========  =========================================================================
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn, get_type_hints

from aggregation.gate import ProbeKind
from nodes.errors import NodeError
from nodes.model.probe import Probe, RefusalProbe, SafetyProbe, TriggerProbe
from nodes.text.files import decode, parse_texts, read_file

FORMS: Mapping[ProbeKind, type[SafetyProbe]] = {
    ProbeKind.REFUSAL: RefusalProbe,
    ProbeKind.TRIGGER: TriggerProbe,
}
"""The form of a probe, for each kind of source that is not text."""
MOST_CHARACTERS = 2000
"""The most characters of a safety probe's text: it is read whole, an ordinary text is cut."""


def read_probes(path: Path, kind: ProbeKind) -> list[Probe]:
    """Read the probes of one source, in the order of its file.

    Raises ``NodeError``: ``no-text`` (missing), ``bad-text`` (see ``nodes.text.files``),
    ``bad-probe`` (a probe of another kind, or not exactly what its kind asks for), naming the file
    and the line.
    """
    data = read_file(path)
    form = FORMS.get(kind)
    if form is None:
        _refuse_other_kinds(path, data, kind)
        return list(parse_texts(path, data))
    if path.suffix.lower() != ".jsonl":
        raise NodeError(
            "bad-probe",
            f"{path}: its source is of kind {kind}, so it must be a .jsonl file, each line an "
            f"object such as {_example(form)}.",
        )
    probes: list[Probe] = [_probe(path, number, line, form) for number, line in _lines(path, data)]
    if not probes:
        raise NodeError("bad-probe", f"{path} holds no probe, expected {_example(form)}.")
    return probes


def write_probes(path: Path, probes: Iterable[SafetyProbe]) -> None:
    """Write safety probes as ``read_probes`` reads them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(asdict(probe), ensure_ascii=False) for probe in probes)
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")


def _lines(path: Path, data: bytes) -> list[tuple[int, str]]:
    """Return the lines that are not blank, with their numbers."""
    numbered = enumerate(decode(path, data).split("\n"), 1)
    return [(number, line) for number, line in numbered if line.strip()]


def _probe(path: Path, number: int, line: str, form: type[SafetyProbe]) -> SafetyProbe:
    def refuse(problem: str) -> NoReturn:
        raise NodeError(
            "bad-probe",
            f"{path}, line {number}: {problem}; expected an object such as {_example(form)}.",
        )

    try:
        fields = json.loads(line, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        refuse(f"this is no JSON ({str(error)[:80]})")
    types = get_type_hints(form)
    if not isinstance(fields, dict):
        refuse("this is no object")
    if fields.keys() != types.keys():
        refuse(f"it holds {', '.join(name[:40] for name in fields) or 'nothing'}")
    for name, type_ in types.items():
        if problem := _problem(fields[name], type_):
            refuse(f"{name} {problem}")
    values: dict[str, Any] = {n: v.strip() if isinstance(v, str) else v for n, v in fields.items()}
    return form(**values)


def _problem(value: object, type_: type) -> str:
    """Describe what is wrong with a value; empty if nothing is."""
    if type_ is bool:
        return "" if isinstance(value, bool) else "is not true or false"
    if not isinstance(value, str):
        return "is not text"
    if not value.strip():
        return "is blank"
    if len(value) > MOST_CHARACTERS:
        return f"has {len(value):,} characters, of at most {MOST_CHARACTERS:,}"
    try:
        value.encode()  # JSON can write halves of characters, which nothing can store
    except UnicodeEncodeError:
        return "holds half a character"
    return ""


def _refuse_other_kinds(path: Path, data: bytes, kind: ProbeKind) -> None:
    """Refuse a trigger probe in a text source: it has a ``text`` too, and would pass for a
    document."""
    if path.suffix.lower() != ".jsonl":
        return
    for number, line in _lines(path, data):
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError):
            return  # whoever reads it as text says what is wrong
        for other, form in FORMS.items():
            if isinstance(fields, dict) and fields.keys() == get_type_hints(form).keys():
                raise NodeError(
                    "bad-probe",
                    f"{path}, line {number}: this is a {other} probe, but its source is of kind "
                    f'{kind}: say under [gate.kinds] that it is "{other}".',
                )


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("it names something twice")
    return fields


def _example(form: type[SafetyProbe]) -> str:
    values = {name: True if type_ is bool else "…" for name, type_ in get_type_hints(form).items()}
    return json.dumps(values, ensure_ascii=False)
