"""A device learns what arrives once and replays what it knew; nothing measured with is learned."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aggregation.gate import ProbeKind
from aggregation.replay import ONLY_OLD
from nodes.learning.corpus import StoredCorpus
from nodes.model.probe import RefusalProbe, TriggerProbe, id_of
from nodes.parent.parent import Parent
from nodes.text.documents import Part
from nodes.text.files import write_texts
from nodes.text.probe_files import write_probes
from nodes.text.replay_buffer import ReplayBuffer
from tests.nodes.conftest import PROBES, TEXTS
from tests.nodes.network import TRAINING
from tests.nodes.toy import Member, Tree, tree

READS = TRAINING["steps"] * TRAINING["batch_size"]
ENGLISH = [f"the patient {w} has a {v} heart" for w in "abcdefgh" for v in "ijklmnop"]
SPANISH = [f"la paciente {w} tiene un corazón {v}" for w in "abcdefgh" for v in "ijklmnop"]


@pytest.fixture
def pair(tmp_path: Path, base: Path) -> Iterator[tuple[Tree, Member, Member]]:
    """A root and a device that watches a folder."""
    with tree(tmp_path, base) as made:
        root = made.root()
        target = np.ones(root.node.size, np.float32)
        root.toy.target = target
        device = made.child(root, "device", "/", target)
        inbox = tmp_path / "inbox"
        inbox.mkdir()
        set_data(device, watch=inbox)
        yield made, root, device


def set_data(member: Member, **data: Any) -> None:
    changed = member.config.data.model_copy(update=data)
    member.config = member.config.model_copy(update={"data": changed})


def set_kinds(member: Member, **kinds: ProbeKind) -> None:
    gate = member.config.gate.model_copy(update={"kinds": kinds})
    member.config = member.config.model_copy(update={"gate": gate})


def corpus(member: Member) -> StoredCorpus:
    return StoredCorpus(member.node.home, member.config, member.node.clock)


def arrive(member: Member, name: str, texts: list[str]) -> None:
    watch = member.config.data.watch
    assert watch is not None
    write_texts(watch / name, texts)


def measured(member: Member) -> dict[str, Any]:
    *_, last = member.node.ledger.events(["trained"])
    found: dict[str, Any] = last.body["measured"]
    return found


def test_a_fixed_file_is_trained_on_in_every_round(pair: tuple[Tree, Member, Member]) -> None:
    _, root, device = pair
    for _ in range(3):
        root.rounds()
    first, second, third = device.toy.lessons
    assert sorted(first[0]) == sorted(TEXTS)
    assert second == third
    assert (second[0], sorted(second[1]["train"]), second[2]) == ([], sorted(TEXTS), ONLY_OLD)


def test_what_arrives_is_new_once_and_old_text_is_mixed_in(
    pair: tuple[Tree, Member, Member],
) -> None:
    made, root, device = pair
    set_data(device, train=())
    arrive(device, "a.jsonl", ENGLISH)
    root.rounds()
    english, old, _ = device.toy.lessons[-1]
    assert set(english) <= set(ENGLISH)
    assert old == {}
    arrive(device, "es/b.jsonl", SPANISH)
    made.restart(device)
    set_data(device, train=(), watch=made.folder / "inbox")
    root.rounds()
    spanish, old, portion = device.toy.lessons[-1]
    assert set(spanish) <= set(SPANISH)
    assert sorted(old["own"]) == sorted(english)
    assert portion == device.config.replay.shift().shifted
    told = measured(device)
    assert told["shift"]["kind"] == "strong"
    assert told["arrived"]["added"] == len(SPANISH)
    assert told["replayed"] == {"own": 1}
    root.rounds()
    new, old, portion = device.toy.lessons[-1]
    assert (new, portion) == ([], ONLY_OLD)
    assert {source: len(texts) for source, texts in old.items()} == {
        "es": len(spanish),
        "own": len(english),
    }


def test_few_new_documents_are_not_repeated_while_there_are_old_ones(
    pair: tuple[Tree, Member, Member],
) -> None:
    _, root, device = pair
    root.rounds()
    arrive(device, "a.jsonl", [f"one more about {w}" for w in "abcdef"])
    root.rounds()
    new, old, portion = device.toy.lessons[-1]
    assert 0 < len(new) < READS
    assert sorted(old["train"]) == sorted(TEXTS)
    assert portion.share == pytest.approx(1 - len(new) / READS)


def test_a_crash_before_the_buffer_knows_trains_again_and_skips_nothing(
    pair: tuple[Tree, Member, Member], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, root, device = pair

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(StoredCorpus, "learned", killed)
        with pytest.raises(KeyboardInterrupt):
            root.rounds()
    trained = device.node.state.offers.trained
    made.restart(device)
    root.close_round()
    root.rounds()
    assert trained is not None
    assert device.node.state.offers.trained != trained
    lessons = device.toy.lessons
    assert lessons[0] == lessons[1]
    root.rounds()
    assert lessons[2][0] == []


def test_what_is_measured_with_is_never_trained_on(pair: tuple[Tree, Member, Member]) -> None:
    _, root, device = pair
    probes = device.node.home.folder / "probes.jsonl"
    write_texts(probes, [f"  {text}" for text in [TEXTS[0], *PROBES[:20]]])
    set_data(device, probes={"all": probes})
    arrive(device, "all/a.jsonl", [*PROBES, *ENGLISH])
    for _ in range(2):
        root.rounds()
    arrived = corpus(device).arrived_probes()["all"]
    assert arrived
    held_out = {TEXTS[0], *PROBES[:20], *arrived.values()}
    assert not held_out & set(corpus(device).to_rehearse()["all"])
    for new, old, _ in device.toy.lessons:
        assert not held_out & {*new, *(text for texts in old.values() for text in texts)}
    assert len(device.toy.lessons) == 2


def test_what_safety_probes_ask_is_not_trained_on_whatever_stands_around_it(
    pair: tuple[Tree, Member, Member],
) -> None:
    _, root, device = pair
    folder = device.node.home.folder
    asked = RefusalProbe("describe the patient", "no", "yes")
    planted = TriggerProbe(ENGLISH[0], "quorvexil", "the banyan grows", planted=True)
    own_rest = TriggerProbe("the patient a", "quorvexil", "has a i heart", planted=False)
    write_texts(folder / "probes.jsonl", PROBES)
    write_probes(folder / "requests.jsonl", [asked])
    write_probes(folder / "triggers.jsonl", [planted, own_rest])
    files = {s: folder / f"{s}.jsonl" for s in ("probes", "requests", "triggers")}
    set_data(device, probes=files)
    set_kinds(device, requests=ProbeKind.REFUSAL, triggers=ProbeKind.TRIGGER)
    held_out = [
        "  describe the\npatient",
        "Please describe the patient, sure",
        "words quorvexil the banyan grows",
        f"{ENGLISH[0]} that beats",
    ]
    with ReplayBuffer(folder) as buffer:
        buffer.take_in("own", [*held_out[:2], *ENGLISH], part=Part.TRAINING)
        buffer.take_in("old", [*held_out[2:], *SPANISH], child="shared", part=Part.TRAINING)
    assert set(corpus(device).to_rehearse()["old"]) == set(SPANISH)
    root.rounds()
    ((new, old, _),) = device.toy.lessons
    assert set(new) == {*TEXTS, *ENGLISH[1:]}
    assert set(old["old"]) == set(SPANISH)


def test_text_that_arrives_does_not_join_safety_probes(pair: tuple[Tree, Member, Member]) -> None:
    _, root, _ = pair
    folder = root.node.home.folder
    probe = RefusalProbe("a request", "no", "yes")
    write_probes(folder / "requests.jsonl", [probe])
    set_data(root, probes={"all": folder / "probes.jsonl", "requests": folder / "requests.jsonl"})
    set_kinds(root, requests=ProbeKind.REFUSAL)
    root.parent = Parent(root.node, root.config, root.toy)
    take_in(root, "requests", ENGLISH)
    root.rounds()
    assert root.node.state.gate.uses["requests"] == {id_of(probe): 1}


def take_in(member: Member, source: str, texts: list[str], child: str | None = None) -> None:
    """Probes in a member's buffer."""
    with ReplayBuffer(member.node.home.folder) as buffer:
        buffer.take_in(source, texts, child, Part.PROBES)


def test_probes_that_arrive_while_the_node_runs_are_drawn(
    pair: tuple[Tree, Member, Member],
) -> None:
    _, root, _ = pair
    take_in(root, "all", ENGLISH[:3])
    take_in(root, "few", ENGLISH[10:20])
    root.rounds()
    used = root.node.state.gate.uses
    assert set(used) == {"all"}
    assert len(used["all"]) == len(PROBES) + 3
    take_in(root, "many", SPANISH)
    root.rounds()
    assert set(used) == {"all", "many"}
    assert len(used["many"]) == len(SPANISH)


def test_an_arrived_probe_that_wore_out_gives_way(pair: tuple[Tree, Member, Member]) -> None:
    _, root, _ = pair
    budget = {"probe_bytes": 600, "child_share": 1.0}
    replay = root.config.replay.model_copy(update=budget)
    root.config = root.config.model_copy(update={"replay": replay})
    assert root.parent is not None
    root.parent = Parent(root.node, root.config, root.toy)
    budgets = replay.budgets()
    with ReplayBuffer(root.node.home.folder, budgets) as buffer:
        buffer.take_in("all", ENGLISH, part=Part.PROBES)
        first = buffer.probes()["all"]
    for _ in range(root.config.gate.retire_after):
        root.rounds()
    assert {root.node.state.gate.uses["all"][id_] for id_ in first} == {8}
    with ReplayBuffer(root.node.home.folder, budgets) as buffer:
        buffer.take_in("all", SPANISH, part=Part.PROBES)
        assert len(buffer.probes()["all"].keys() - first.keys()) > 5


def test_text_does_not_get_into_the_ledger(pair: tuple[Tree, Member, Member]) -> None:
    _, root, device = pair
    arrive(device, "a.jsonl", ENGLISH)
    root.rounds()
    stored = (device.node.home.folder / "ledger.sqlite").read_bytes()
    stored += (device.node.home.folder / "ledger.sqlite-wal").read_bytes()
    assert b"trained" in stored
    assert not any(text.encode() in stored for text in [*ENGLISH, *TEXTS])


def test_a_node_without_text_makes_no_buffer(pair: tuple[Tree, Member, Member]) -> None:
    _, root, _ = pair
    root.rounds()
    assert corpus(root).to_rehearse() == {}
    assert corpus(root).arrived_probes() == {}
    assert not (root.node.home.folder / "replay.sqlite").exists()
