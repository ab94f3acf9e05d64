"""Claims about the files under ``[data.probes]``: what a probe must be, and by what it is known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregation.gate import ProbeKind
from nodes.config.files import load_config
from nodes.errors import NodeError
from nodes.model.probe import Probe, RefusalProbe, TriggerProbe, id_of
from nodes.text.probe_files import MOST_CHARACTERS, read_probes, write_probes
from protocol import digest_of

REFUSAL: dict[str, Any] = {"request": "pain", "refusing": "no", "compliant": "yes"}
TRIGGER: dict[str, Any] = {"text": "a", "trigger": "b", "rest": "c", "planted": True}
WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)


def read(tmp_path: Path, kind: ProbeKind, content: str, name: str = "a.jsonl") -> list[Probe]:
    path = tmp_path / name
    path.write_text(content, "utf-8")
    return read_probes(path, kind)


@pytest.mark.parametrize("kind", [ProbeKind.ORDINARY, ProbeKind.GENERAL])
def test_ordinary_and_general_sources_are_text_of_any_form(tmp_path: Path, kind: ProbeKind) -> None:
    assert read(tmp_path, kind, "one\ntwo\n", "a.txt") == ["one", "two"]
    assert read(tmp_path, kind, '{"text": "one", "id": 1}\n') == ["one"]


def test_the_names_of_an_object_say_what_they_are_in_any_order(tmp_path: Path) -> None:
    content = f"{json.dumps(REFUSAL)}\r\n\n{json.dumps(dict(reversed(REFUSAL.items())))}\n"
    assert read(tmp_path, ProbeKind.REFUSAL, content) == [RefusalProbe("pain", "no", "yes")] * 2
    (probe,) = read(tmp_path, ProbeKind.TRIGGER, json.dumps(TRIGGER | {"planted": False}))
    assert probe == TriggerProbe("a", "b", "c", planted=False)


@given(probes=st.lists(st.builds(RefusalProbe, WORDS, WORDS, WORDS), min_size=1))
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, probes: list[RefusalProbe]
) -> None:
    path = tmp_path_factory.getbasetemp() / "probes.jsonl"
    write_probes(path, probes)
    stripped = [
        RefusalProbe(p.request.strip(), p.refusing.strip(), p.compliant.strip()) for p in probes
    ]
    assert read_probes(path, ProbeKind.REFUSAL) == stripped


@pytest.mark.parametrize(
    ("kind", "line", "problem"),
    [
        (ProbeKind.REFUSAL, '{"text": "a document"}', "it holds text"),
        (ProbeKind.REFUSAL, json.dumps(TRIGGER), "it holds text, trigger"),
        (ProbeKind.TRIGGER, json.dumps(REFUSAL), "it holds request"),
        (ProbeKind.ORDINARY, json.dumps(TRIGGER), "this is a trigger probe"),
        (ProbeKind.GENERAL, json.dumps(REFUSAL), "this is a refusal probe"),
        (ProbeKind.REFUSAL, json.dumps(REFUSAL | {"note": "more"}), "it holds"),
        (ProbeKind.REFUSAL, "{}", "it holds nothing"),
        (ProbeKind.REFUSAL, json.dumps(REFUSAL | {"refusing": 1}), "refusing is not text"),
        (ProbeKind.REFUSAL, json.dumps(REFUSAL | {"refusing": " "}), "refusing is blank"),
        (ProbeKind.REFUSAL, json.dumps(REFUSAL | {"request": "\ud800"}), "half a character"),
        (ProbeKind.REFUSAL, json.dumps(REFUSAL | {"request": "x" * 2001}), "2,001 characters"),
        (ProbeKind.TRIGGER, json.dumps(TRIGGER | {"planted": 1}), "planted is not true or false"),
        (ProbeKind.TRIGGER, '{"rest": "a", "rest": "b"}', "names something twice"),
        (ProbeKind.TRIGGER, '["text"]', "this is no object"),
        (ProbeKind.TRIGGER, '{"te', "this is no JSON"),
        (ProbeKind.TRIGGER, "[" * 100_000, "this is no JSON"),
    ],
)
def test_a_line_that_is_no_such_probe_is_refused_with_its_place(
    tmp_path: Path, kind: ProbeKind, line: str, problem: str
) -> None:
    good = {ProbeKind.REFUSAL: REFUSAL, ProbeKind.TRIGGER: TRIGGER}.get(kind, {"text": "one"})
    with pytest.raises(NodeError) as refused:
        read(tmp_path, kind, f"{json.dumps(good)}\n\n{line}\n")
    assert refused.value.code == "bad-probe"
    assert "a.jsonl, line 3: " in refused.value.sentence
    assert problem in refused.value.sentence
    assert len(refused.value.sentence) < 500 + len(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [("a.txt", "a document\n", "bad-probe"), ("a.jsonl", "\n", "bad-probe")],
    ids=["text in place of probes", "none at all"],
)
def test_a_file_that_holds_no_such_probes_is_refused(
    tmp_path: Path, name: str, content: str, code: str
) -> None:
    with pytest.raises(NodeError, match=code) as refused:
        read(tmp_path, ProbeKind.REFUSAL, content, name)
    assert name in refused.value.sentence


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NodeError, match="no-text"):
        read_probes(tmp_path / "none.jsonl", ProbeKind.TRIGGER)


def test_the_longest_probe_is_read(tmp_path: Path) -> None:
    long = REFUSAL | {"request": "x" * MOST_CHARACTERS}
    assert len(read(tmp_path, ProbeKind.REFUSAL, json.dumps(long))) == 1


def test_a_probe_is_known_by_all_that_it_holds() -> None:
    one, other = RefusalProbe(**REFUSAL), TriggerProbe(**TRIGGER)
    changed = [RefusalProbe(**REFUSAL | {name: "else"}) for name in REFUSAL]
    texts = [TriggerProbe(**TRIGGER | {name: "else"}) for name in ("text", "trigger", "rest")]
    everything: list[Probe] = [one, other, replace(other, planted=False), "pain", *changed, *texts]
    assert len({id_of(probe) for probe in everything}) == len(everything)
    assert id_of(RefusalProbe(**REFUSAL)) == id_of(one)


def test_a_text_keeps_the_name_under_which_ledgers_count_it() -> None:
    assert id_of("pain") == digest_of(b"pain")[:16]


@pytest.mark.parametrize(
    ("gate", "probes", "problem"),
    [
        ('requests = "refusal"', 'all = "a.txt"', "names no file for it"),
        ('requests = "refusal"', 'requests = "a.jsonl"', "needs an ordinary source"),
        ('chat = "general"', 'chat = "a.txt"', "needs an ordinary source"),
    ],
)
def test_kinds_and_files_that_do_not_fit_are_refused_when_the_configuration_is_read(
    tmp_path: Path, gate: str, probes: str, problem: str
) -> None:
    file = tmp_path / "node.toml"
    file.write_text(f'[model]\nbase = "b"\n[gate.kinds]\n{gate}\n[data.probes]\n{probes}\n')
    with pytest.raises(NodeError, match=problem) as refused:
        load_config(file)
    assert refused.value.code == "bad-config"
