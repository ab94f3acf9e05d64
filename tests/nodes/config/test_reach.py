"""Claims about where a node is reached, and what a child remembers of its parent."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from nodes.config import reach
from nodes.config.files import load_config, write_config
from nodes.config.reach import (
    ParentAddresses,
    certificate_names,
    give_address,
    listening_port,
    present_addresses,
)
from nodes.config.sections import NodeConfig
from nodes.errors import NodeError
from nodes.state.home import ENDPOINT_FILE, Home
from protocol import Role


@dataclass
class _Certificate:
    name: str = "tier"
    role: Role = Role.INTERIOR


@dataclass
class _Home:
    """As much of a home as addresses need."""

    folder: Path
    certificate: _Certificate
    is_device: bool = False
    scope: str = "/"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return cast(Home, _Home(tmp_path, _Certificate()))


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with one address of each kind."""
    addresses = {False: ("10.0.0.7",), True: ("10.0.0.7", "fd00::7")}
    monkeypatch.setattr(reach, "own_addresses", lambda *, ipv6: addresses[ipv6])
    monkeypatch.setattr(reach, "own_name", lambda: "tier-machine")


def configured(**downlink: Any) -> NodeConfig:
    return NodeConfig.model_validate({"model": {"base": "base"}, "downlink": downlink})


def test_a_wildcard_is_never_handed_out(home: Home) -> None:
    config = configured(host="0.0.0.0", port=9941)
    assert present_addresses(home, config) == ("10.0.0.7:9941",)
    config = configured(host="::", port=9941)
    assert present_addresses(home, config) == ("10.0.0.7:9941", "[fd00::7]:9941")


def test_a_child_on_the_same_machine_needs_no_network(home: Home) -> None:
    local = present_addresses(home, configured(host="0.0.0.0", port=9941), local=True)
    assert local == ("127.0.0.1:9941", "10.0.0.7:9941")


def test_a_machine_without_a_network_says_so(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "own_addresses", lambda *, ipv6: ())
    with pytest.raises(NodeError, match=r"no-address: .*names, or give --address"):
        present_addresses(home, configured(host="0.0.0.0", port=9941))


def test_names_are_handed_out_with_their_own_port_or_the_nodes(home: Home) -> None:
    config = configured(host="0.0.0.0", port=9941, names=["gateway.example:443", "[fd00::9]"])
    assert present_addresses(home, config) == ("gateway.example:443", "[fd00::9]:9941")


def test_the_certificate_holds_what_is_handed_out_and_what_is_detected(home: Home) -> None:
    give_address(home, "vpn.example:1")
    config = configured(host="0.0.0.0", port=9941, names=["gateway.example:443"])
    assert set(certificate_names(home, config)) == {
        "gateway.example",
        "vpn.example",
        "10.0.0.7",
        "tier-machine",
    }
    assert set(certificate_names(home, configured(host="127.0.0.2"))) == {
        "127.0.0.2",
        "vpn.example",
    }


def test_an_address_that_was_given_stays_among_those_handed_out(home: Home) -> None:
    give_address(home, "vpn.example:1")
    give_address(home, "VPN.example:1")
    config = configured(host="127.0.0.2", port=9941)
    assert present_addresses(home, config) == ("127.0.0.2:9941", "vpn.example:1")
    with pytest.raises(NodeError, match="bad-address"):
        give_address(home, "0.0.0.0:1")


def test_a_port_of_the_first_run_is_kept(home: Home) -> None:
    config = configured(host="127.0.0.1", port=0)
    assert listening_port(home, config) == 0
    with pytest.raises(NodeError, match="no-address"):
        present_addresses(home, config)
    endpoint = {"address": "127.0.0.1:40123", "pid": 1}
    (home.folder / ENDPOINT_FILE).write_text(json.dumps(endpoint))
    assert listening_port(home, config) == 40123
    assert present_addresses(home, config) == ("127.0.0.1:40123",)
    assert listening_port(home, configured(port=9941)) == 9941


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"address": 1}', '{"address": "0"}'])
def test_a_damaged_endpoint_file_is_none(home: Home, content: str) -> None:
    (home.folder / ENDPOINT_FILE).write_text(content)
    assert listening_port(home, configured()) == 0


def test_a_new_node_gets_a_port_that_is_kept(home: Home) -> None:
    first = load_config(write_config(home, base=Path("base"), host="::", names=["gateway"]))
    assert first.downlink is not None
    assert (first.downlink.host, first.downlink.names) == ("::", ("gateway",))
    assert first.downlink.port > 0


def test_nothing_is_written_for_an_address_that_leads_nowhere(home: Home) -> None:
    for settings in ({"uplink": ["0.0.0.0:1"]}, {"names": ["a:b"]}, {"host": "no host"}):
        with pytest.raises(NodeError, match="bad-address"):
            write_config(home, base=Path("base"), **cast(Any, settings))
    assert list(home.folder.iterdir()) == []


def test_an_uplink_of_an_earlier_version_names_one_address() -> None:
    config = NodeConfig.model_validate(
        {"model": {"base": "base"}, "uplink": {"address": "127.0.0.1:9092"}}
    )
    assert config.uplink is not None
    assert config.uplink.addresses == ("127.0.0.1:9092",)


@pytest.mark.parametrize(
    "section",
    [
        {"uplink": {}},
        {"uplink": {"addresses": []}},
        {"uplink": {"addresses": ["0.0.0.0:1"]}},
        {"uplink": {"addresses": ["a:1"], "address": "a:1"}},
        {"downlink": {"host": "a b"}},
        {"downlink": {"names": ["https://a"]}},
    ],
)
def test_addresses_in_a_configuration_are_checked(section: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(section))):
        NodeConfig.model_validate({"model": {"base": "base"}, **section})


def test_the_address_that_worked_last_is_tried_first_also_after_a_restart(home: Home) -> None:
    known = ParentAddresses(home, ["a:1", "b:1"])
    assert known.in_turn == ("a:1", "b:1")
    known.worked("b:1")
    assert ParentAddresses(home, ["a:1", "b:1"]).in_turn == ("b:1", "a:1")


def test_a_parent_that_moves_is_tried_where_it_said_before_where_it_was(home: Home) -> None:
    known = ParentAddresses(home, ["a:1"])
    known.worked("a:1")
    assert known.tell(["c:1", "d:1"])
    assert not known.tell(["c:1", "d:1"])
    again = ParentAddresses(home, ["a:1"])
    assert again.in_turn == ("a:1", "c:1", "d:1")
    with pytest.raises(NodeError, match="bad-address"):
        again.tell(["0.0.0.0:1"])
    again.worked("d:1")
    assert ParentAddresses(home, ["a:1"]).in_turn == ("d:1", "c:1", "a:1")
