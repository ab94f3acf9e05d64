"""An update that says what its task asks for: what a forger signs, as it is or with a lie in it."""

from __future__ import annotations

from protocol import NodeId, Task, Update, digest_of


def answer_to(
    task: Task,
    node: NodeId,
    payload: bytes,
    *,
    now_ms: int,
    samples: int,
    lifetime_ms: int,
    cumulative: bool,
) -> Update:
    """The update with which ``node`` would answer, right in everything that the task says."""
    return Update(
        network=task.network,
        node=node,
        parent=task.parent,
        scope=task.scope,
        round=task.round,
        task=task.task,
        attempt=task.attempt,
        nonce=task.nonce,
        base=task.base,
        basis=task.basis,
        tokenizer=task.tokenizer,
        layout=task.layout,
        mask_rank=task.mask_rank,
        version=task.version,
        payload=digest_of(payload),
        length=len(payload),
        payload_format=task.payload_format,
        samples=samples,
        contributors=1,
        cumulative=cumulative,
        issued_ms=now_ms,
        expires_ms=now_ms + lifetime_ms,
        key_epoch=1,
    )
