"""The demo's intruder: not a member, with the transport key that an accomplice gave it.

It knocks at doors that must be closed, connects with a key of its own, then uses the stolen
connection to replay an update that was sent before and to forge one in the accomplice's name with
another signing key. Everything it does is real traffic to the real node; none of it may count.
"""

from __future__ import annotations

import json
import socket
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import httpx
from flwr.app import Message

from nodes.flower.environment import prepare_environment
from nodes.flower.internals import FleetClient
from nodes.flower.messages import pack, unpack
from nodes.state.home import Home, open_home
from nodes.trust.transport_keys import generate_transport_key
from protocol import Envelope, PublicKey, SigningKey, Task, open_envelope, seal
from simulations.attacks.forgery import answer_to

CLOSED_DOORS = (
    "/v1/control/list-nodes",
    "/v1/runtime/pull-messages",
    "/docs",
    "/openapi.json",
    "/v1/fleet/../control/list-nodes",
    "/v1/fleet/%2e%2e/control/list-nodes",
    "//v1/control/list-nodes",
)
PATIENCE_S = 600


@dataclass
class Haul:
    """What came of it, as the intruder sees it: HTTP statuses, and messages it got delivered."""

    doors: dict[str, int]
    own_key: str = ""
    replayed: int = 0
    forged: int = 0


def wait_for_door(address: str) -> None:
    """Wait until somebody listens there."""
    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except OSError:
            time.sleep(0.5)
        else:
            return


def knock(address: str, authority: Path) -> dict[str, int]:
    """Try every path that must not be reachable; returns the HTTP status of each."""
    with httpx.Client(verify=str(authority), timeout=10) as client:
        return {
            path: client.post(f"https://{address}{path}", content=b"").status_code
            for path in CLOSED_DOORS
        }


def connect_with_own_key(address: str, authority: bytes) -> str:
    """Try to join with a transport key that nobody enrolled; returns what happened."""
    client = FleetClient(address, authority, generate_transport_key())
    try:
        client.connect()
    except Exception as error:
        return type(error).__name__
    finally:
        client.close()
    return "connected"


def forge(task: Task, victim: Home, payload: bytes) -> bytes:
    """An update in the victim's name that is right in everything but the key."""
    update = answer_to(
        task,
        victim.id,
        payload,
        now_ms=round(time.time() * 1000),
        samples=10**9,
        lifetime_ms=60_000,
        cumulative=False,
    )
    envelope = seal(update, SigningKey.generate())
    # Claims to be signed by the victim's key; only the signature itself gives it away.
    claimed = replace(envelope.signatures[0], keyid=victim.key.public.keyid)
    return Envelope(envelope.payload_type, envelope.payload, (claimed,)).encode()


def use_stolen_key(address: str, victim: Home, haul: Haul) -> None:
    """With the accomplice's connection: one replayed update, one forged one."""
    loot = victim.folder / "loot"
    deadline = time.monotonic() + PATIENCE_S
    while not (loot / "complete").exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    envelope, payload = (loot / "envelope").read_bytes(), (loot / "payload").read_bytes()
    parent = victim.parent
    if parent is None:
        return
    client = FleetClient(address, victim.parent_ca, victim.transport_pem)
    try:
        client.connect()
        while not (haul.replayed and haul.forged) and time.monotonic() < deadline:
            message = client.pull()
            if message is None:
                time.sleep(0.05)
                continue
            kind, blobs = unpack(message.content)
            if kind != "task":
                continue
            sealed = Envelope.decode(blobs["task"])
            task = open_envelope(sealed, Task, PublicKey.from_raw(parent.public_key))
            if haul.replayed:
                sent, haul.forged = forge(task, victim, payload), 1
            else:
                sent, haul.replayed = envelope, 1
            content = pack("update", {"envelope": sent, "payload": payload})
            client.push(Message(content, reply_to=message))
    finally:
        client.close()


def intrude(address: str, accomplice: Path, report: Path) -> None:
    """Run the whole attack and write down what came of it."""
    prepare_environment(report.parent / "flower")
    victim = open_home(accomplice, round(time.time() * 1000))
    authority = accomplice / "parent-ca.pem"
    wait_for_door(address)
    haul = Haul(knock(address, authority))
    haul.own_key = connect_with_own_key(address, authority.read_bytes())
    try:
        use_stolen_key(address, victim, haul)
    finally:
        report.write_text(json.dumps(asdict(haul), indent=2))
