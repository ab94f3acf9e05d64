"""What a node gives of its store: releases' adapters, the basis, the base, and nothing else."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nodes.parent.withdrawal import withdraw
from nodes.peers.artefacts.manifest import Manifest, sha256_of
from nodes.peers.artefacts.shelf import MAX_OFFERED, DescribedBase, Shelf
from nodes.releases.public import public_adapters, public_release
from nodes.state.artefacts import ArtefactError
from nodes.state.event_codec import events_of
from nodes.state.events import Released, UpdateAccepted
from protocol import Role, digest_of
from tests.nodes.toy import Member, Tree, tree


@pytest.fixture(scope="module")
def family(
    tmp_path_factory: pytest.TempPathFactory, base: Path
) -> Iterator[tuple[Tree, Member, list[Member], Member]]:
    """A root, two devices and a domain below it that released, a round left open."""
    with tree(tmp_path_factory.mktemp("family"), base) as made:
        root = made.root()
        rng = np.random.default_rng(1)
        devices = []
        for name in ("one", "two"):
            target = rng.standard_normal(root.node.size).astype(np.float32)
            devices.append(made.child(root, name, "/", target))
        root.toy.target = np.mean([d.toy.target for d in devices], axis=0)
        root.rounds()
        root.rounds()
        tier = made.child(root, "en", "/en", root.toy.target, role=Role.INTERIOR)
        root.rounds()
        root.close_round()
        made.ready(tier)
        tier.toy.target = rng.standard_normal(root.node.size).astype(np.float32)
        for name in ("three", "four"):  # two: the release is neither's delta
            noise = 0.1 * rng.standard_normal(root.node.size).astype(np.float32)
            made.child(tier, name, "/en", tier.toy.target + noise)
        tier.rounds()
        root.rounds()
        withdraw(root.node, devices[1].node.home.id)
        yield made, root, devices, tier


def shelf_of(member: Member, base: Path, *, own: bool = True) -> Shelf:
    return Shelf(member.node, DescribedBase.of(member.node, base), own=own)


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("who", ["root", "tier", "device"])
def test_of_a_whole_store_only_adapters_of_releases_are_given(
    family: tuple[Tree, Member, list[Member], Member], base: Path, who: str, own: bool
) -> None:
    _, root, devices, tier = family
    member = {"root": root, "tier": tier, "device": devices[0]}[who]
    node = member.node
    # By the ledgers of those who released them, not by the rule that is tested.
    by_root = {e.held.adapter for e in events_of(root.node.ledger, Released)}  # type: ignore[attr-defined]
    by_node = {e.held.adapter for e in events_of(node.ledger, Released)}  # type: ignore[attr-defined]
    allowed = (by_root if member is not root else set()) | (by_node if own else set())
    store = set(node.artefacts.digests())
    given = {digest for digest in store if shelf_of(member, base, own=own).find(digest)}
    assert given <= allowed
    if who == "root" and own:
        assert given == allowed & store
        assert given
    if who == "tier":
        assert given & by_root
        assert bool(given & (by_node - by_root)) == own
    payloads = {e.seat.payload for e in events_of(node.ledger, UpdateAccepted)}  # type: ignore[attr-defined]
    assert not payloads & given
    if who != "device":
        assert payloads & store  # there was something not to give


def test_children_are_sent_by_the_same_rule(
    family: tuple[Tree, Member, list[Member], Member],
) -> None:
    _, root, _, tier = family
    assert root.parent is not None
    for digest in root.node.artefacts.digests():
        enclosed = root.parent._desk._public(digest)
        assert bool(enclosed) == (digest in public_adapters(root.node.state))
    released = [held.release for held in root.node.state.own.releases.values()]
    assert all(public_release(root.node.state, digest) for digest in released)
    assert public_release(tier.node.state, tier.node.state.above.links[0].release)


def test_the_basis_the_base_and_its_list_are_given_and_read_in_parts(
    family: tuple[Tree, Member, list[Member], Member], base: Path
) -> None:
    _, root, _, _ = family
    shelf = shelf_of(root, base, own=False)
    manifest = Manifest.of_folder(base)
    assert shelf.manifest == manifest.digest
    wanted = {
        manifest.digest: manifest.encode(),
        root.node.home.network.basis: root.node.home.basis_file.read_bytes(),
        **{file.sha256: (base / file.name).read_bytes() for file in manifest.files},
    }
    for digest, data in wanted.items():
        found = shelf.find(digest)
        assert found is not None
        assert found.length == len(data)
        assert b"".join(found.read(at, 999) for at in range(0, len(data), 999)) == data
    for file in ("identity.pem", "transport.pem", "network.env", "node.toml", "ledger.sqlite"):
        assert shelf.find(sha256_of(root.node.home.folder / file)) is None
    assert shelf.find(digest_of((base / ".banyan-digest.json").read_bytes())) is None


def test_what_is_damaged_is_not_given(
    family: tuple[Tree, Member, list[Member], Member], base: Path
) -> None:
    _, root, _, _ = family
    latest = root.node.state.own.latest
    assert latest is not None
    whole = root.node.artefacts.get(latest.adapter)
    path = root.node.home.folder / "artefacts" / latest.adapter[:2] / latest.adapter
    path.write_bytes(bytes(len(whole)))
    found = shelf_of(root, base).find(latest.adapter)
    assert found is not None
    with pytest.raises(ArtefactError, match="corrupt"):
        found.read(0, 10)
    root.node.artefacts.heal(latest.adapter, whole)
    assert found.read(0, 10) == whole[:10]


def test_a_base_is_digested_once_and_anew_when_it_changed(tmp_path: Path, base: Path) -> None:
    folder, memory = tmp_path / "base", tmp_path / "memory.json"
    folder.mkdir()
    for path in base.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    described = DescribedBase(folder, memory)
    manifest = described.manifest
    assert manifest is not None
    config = manifest.file("config.json")
    assert config is not None
    # What is remembered is believed, so nothing is digested again.
    known = json.loads(memory.read_bytes())
    known["config.json"][-1] = other = digest_of(b"other")
    memory.write_text(json.dumps(known))
    again = DescribedBase(folder, memory)
    assert again.find(other)
    assert again.find(config.sha256) is None
    changed = json.loads((folder / "config.json").read_text()) | {"x": 1}
    (folder / "config.json").write_text(json.dumps(changed))
    os.utime(folder / "config.json", ns=(1, 1))
    assert again.find(other) is None
    assert again.find(sha256_of(folder / "config.json"))
    found = described.find(config.sha256)
    assert found is None
    for damaged in ("", "[]", '{"config.json": 3}'):
        memory.write_text(damaged)
        assert DescribedBase(folder, memory).find(sha256_of(folder / "config.json"))


def test_a_file_that_changes_while_it_is_given_is_not_given_on(tmp_path: Path, base: Path) -> None:
    folder = tmp_path / "base"
    folder.mkdir()
    for path in base.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    described = DescribedBase(folder, tmp_path / "memory.json")
    found = described.find(sha256_of(folder / "config.json"))
    assert found
    (folder / "config.json").write_text("{}")
    with pytest.raises(ArtefactError):
        found.read(0, 10)
    assert DescribedBase(tmp_path / "none", tmp_path / "memory.json").manifest is None


def test_small_things_can_be_offered(
    family: tuple[Tree, Member, list[Member], Member], base: Path
) -> None:
    _, root, _, _ = family
    shelf = shelf_of(root, base)
    offered = [shelf.offer(bytes([i])) for i in range(MAX_OFFERED + 1)]
    assert shelf.find(offered[0]) is None
    found = shelf.find(offered[-1])
    assert found is not None
    assert found.read(0, 10) == bytes([MAX_OFFERED])
