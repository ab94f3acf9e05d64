"""``banyan node history | rollback | withdraw | suspend | resume | revoke``, as typed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from nodes.cli.app import app
from nodes.cli.output import one_sentence
from nodes.errors import NodeError
from nodes.machine.clock import SystemClock
from nodes.trust.enrolment import certify
from nodes.trust.transport_keys import generate_transport_key, transport_public_pem
from protocol import Role, Scope, SigningKey
from tests.nodes.network import enrol_again
from tests.nodes.toy import Member, Tree, tree


@pytest.fixture
def network(tmp_path: Path, base: Path) -> Iterator[tuple[Tree, Member, Member]]:
    """A root and a scope that has promoted what its device learned."""
    with tree(tmp_path, base) as made:
        root = made.root()
        target = np.ones(root.node.size, np.float32)
        middle = made.child(root, "en", "/en", target, Role.INTERIOR)
        root.toy.target = target
        root.rounds()
        root.close_round()
        made.ready(middle)
        made.child(middle, "clinic", "/en", target)
        middle.rounds()
        root.rounds()
        root.rounds()
        yield made, root, middle


def run(tree_: Tree, *words: str) -> tuple[int, str]:
    """The exit status and the output of ``banyan node …``."""
    result = CliRunner().invoke(app, ["node", *words, "--nodes", str(tree_.folder)])
    return result.exit_code, result.output


def test_history_tells_every_release_and_why(network: tuple[Tree, Member, Member]) -> None:
    made, _, middle = network
    code, output = run(made, "history", "--node", "/en", "--json")
    entries = json.loads(output)
    assert code == 0
    assert [entry["what"] for entry in entries] == ["initial", "round", "rebase"]
    assert entries[1]["tries"][0]["accepted"]
    assert entries[1]["accepted"] == [middle.node.state.membership.active[0]]
    code, output = run(made, "history", "--node", str(middle.node.home.folder))
    assert code == 0
    assert "passed" in output


def test_a_rollback_names_what_went_up_and_cascades(network: tuple[Tree, Member, Member]) -> None:
    made, root, _ = network
    code, output = run(made, "rollback", "--node", "/en", "--to", "1", "--cascade", "--json")
    result = json.loads(output)
    assert code == 0
    assert result["promoted"] == [2]
    assert result["withdrawn"]["recomputed"] == [2]
    root.node.catch_up()
    np.testing.assert_allclose(root.node.effective(), 0, atol=1e-6)
    entries = json.loads(run(made, "history", "--node", "/en", "--json")[1])
    assert [entry["standing"] for entry in entries] == [True, False, False, True]


def test_withdraw_takes_a_child_by_its_name(network: tuple[Tree, Member, Member]) -> None:
    made, _, middle = network
    code, output = run(made, "withdraw", "clinic", "--node", "/en")
    assert code == 0, output
    assert "computed again without clinic" in " ".join(output.split())
    middle.node.catch_up()
    assert middle.node.state.own.withdrawn


def test_who_is_revoked_is_heard_no_more_and_may_be_enrolled_again(
    network: tuple[Tree, Member, Member],
) -> None:
    made, _, middle = network
    (gone,) = middle.node.state.membership.active
    code, output = run(made, "revoke", "clinic", "--node", "/en", "--json")
    assert code == 0, output
    assert json.loads(output) == {"scope": "/en", "revoked": gone}
    middle.node.catch_up()
    assert middle.node.state.membership.is_revoked(gone)
    status = CliRunner().invoke(app, ["node", "status", "--node", str(middle.node.home.folder)])
    assert "clinic (revoked)" in status.output
    assert "not-a-member" in run(made, "revoke", "clinic", "--node", "/en")[1]
    enrol_again(middle.node, gone)
    assert middle.node.state.membership.active == (gone,)
    status = CliRunner().invoke(app, ["node", "status", "--node", str(middle.node.home.folder)])
    assert "revoked" not in status.output


def test_who_is_suspended_is_heard_again_when_it_is_resumed(
    network: tuple[Tree, Member, Member],
) -> None:
    made, _, middle = network
    (paused,) = middle.node.state.membership.active
    code, output = run(made, "suspend", "clinic", "--node", "/en", "--json")
    assert code == 0, output
    assert json.loads(output) == {"scope": "/en", "suspended": paused}
    middle.node.catch_up()
    assert not middle.node.state.membership.active
    assert "clinic (suspended)" in run(made, "status", "--node", "/en")[1]
    assert json.loads(run(made, "status", "--node", "/en", "--json")[1])["suspended"] == [paused]
    assert "suspended" in run(made, "suspend", "clinic", "--node", "/en")[1]
    code, output = run(made, "resume", "clinic", "--node", "/en", "--json")
    assert json.loads(output) == {"scope": "/en", "resumed": paused}
    middle.node.catch_up()
    assert middle.node.state.membership.active == (paused,)
    assert "suspended" not in run(made, "status", "--node", "/en")[1].replace("not-suspended", "")
    assert "not-suspended" in run(made, "resume", "clinic", "--node", "/en")[1]


def test_the_status_of_a_node_says_that_its_membership_lapsed(
    network: tuple[Tree, Member, Member],
) -> None:
    _, _, middle = network
    folder = str(middle.node.home.folder)
    until_ms = middle.node.home.certificate.valid_until_ms

    def shown(now_ms: int, *more: str) -> str:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(SystemClock, "now_ms", lambda _: now_ms)
            result = CliRunner().invoke(app, ["node", "status", "--node", folder, *more])
        assert result.exit_code == 0, result.output
        return " ".join(result.output.split())

    assert "membership holds for 1 day" in shown(until_ms - 86_400_000)
    assert "membership lapsed 2 days ago (certificate-expired)" in shown(until_ms + 2 * 86_400_000)
    assert json.loads(shown(until_ms + 1, "--json"))["membership_until_ms"] == until_ms


def test_two_children_of_one_name_are_told_apart_by_their_ids(
    network: tuple[Tree, Member, Member],
) -> None:
    made, _, middle = network
    (gone,) = middle.node.state.membership.active
    run(made, "revoke", "clinic", "--node", "/en")
    heir = SigningKey.generate().public
    certify(
        middle.node,
        heir,
        name="clinic",
        scope=Scope("/en"),
        role=Role.DEVICE,
        transport=transport_public_pem(generate_transport_key()),
    )
    code, output = run(made, "withdraw", "clinic", "--node", "/en")
    assert (code, "many-nodes" in output) == (1, True)
    assert all(f"{child[:12]} (clinic)" in " ".join(output.split()) for child in (gone, heir.keyid))
    status = " ".join(run(made, "status", "--node", "/en")[1].split())
    assert all(f"clinic {child[:12]}" in status for child in (gone, heir.keyid))
    assert run(made, "revoke", heir.keyid[:12], "--node", "/en")[0] == 0


def test_a_sentence_keeps_the_sections_that_it_names(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit), one_sentence():
        raise NodeError("a-code", "Say so under [gate.kinds].")
    assert "a-code: Say so under [gate.kinds]." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("history", "--node", "/fr"), "no-node"),
        (("rollback", "--node", "/en", "--to", "99"), "no-version"),
        (("withdraw", "nobody", "--node", "/en"), "not-a-member"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    network: tuple[Tree, Member, Member], words: tuple[str, ...], code: str
) -> None:
    status, output = run(network[0], *words)
    assert status == 1
    assert code in output
