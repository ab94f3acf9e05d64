# mypy: disable-error-code=type-arg
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Role(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROLE_UNSPECIFIED: _ClassVar[Role]
    ROLE_DEVICE: _ClassVar[Role]
    ROLE_INTERIOR: _ClassVar[Role]
    ROLE_ROOT: _ClassVar[Role]

class PayloadFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PAYLOAD_FORMAT_UNSPECIFIED: _ClassVar[PayloadFormat]
    PAYLOAD_FORMAT_INT8: _ClassVar[PayloadFormat]
    PAYLOAD_FORMAT_FLOAT32: _ClassVar[PayloadFormat]

class VerdictKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERDICT_KIND_UNSPECIFIED: _ClassVar[VerdictKind]
    VERDICT_KIND_ACCEPTED: _ClassVar[VerdictKind]
    VERDICT_KIND_OUTVOTED: _ClassVar[VerdictKind]
    VERDICT_KIND_REFUSED: _ClassVar[VerdictKind]
    VERDICT_KIND_STAND_IN: _ClassVar[VerdictKind]

class ReleaseKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RELEASE_KIND_UNSPECIFIED: _ClassVar[ReleaseKind]
    RELEASE_KIND_INITIAL: _ClassVar[ReleaseKind]
    RELEASE_KIND_ROUND: _ClassVar[ReleaseKind]
    RELEASE_KIND_REBASE: _ClassVar[ReleaseKind]
    RELEASE_KIND_ROLLBACK: _ClassVar[ReleaseKind]
    RELEASE_KIND_WITHDRAWAL: _ClassVar[ReleaseKind]
    RELEASE_KIND_BY_HAND: _ClassVar[ReleaseKind]
ROLE_UNSPECIFIED: Role
ROLE_DEVICE: Role
ROLE_INTERIOR: Role
ROLE_ROOT: Role
PAYLOAD_FORMAT_UNSPECIFIED: PayloadFormat
PAYLOAD_FORMAT_INT8: PayloadFormat
PAYLOAD_FORMAT_FLOAT32: PayloadFormat
VERDICT_KIND_UNSPECIFIED: VerdictKind
VERDICT_KIND_ACCEPTED: VerdictKind
VERDICT_KIND_OUTVOTED: VerdictKind
VERDICT_KIND_REFUSED: VerdictKind
VERDICT_KIND_STAND_IN: VerdictKind
RELEASE_KIND_UNSPECIFIED: ReleaseKind
RELEASE_KIND_INITIAL: ReleaseKind
RELEASE_KIND_ROUND: ReleaseKind
RELEASE_KIND_REBASE: ReleaseKind
RELEASE_KIND_ROLLBACK: ReleaseKind
RELEASE_KIND_WITHDRAWAL: ReleaseKind
RELEASE_KIND_BY_HAND: ReleaseKind

class Envelope(_message.Message):
    __slots__ = ("payload", "payload_type", "signatures")
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_TYPE_FIELD_NUMBER: _ClassVar[int]
    SIGNATURES_FIELD_NUMBER: _ClassVar[int]
    payload: bytes
    payload_type: str
    signatures: _containers.RepeatedCompositeFieldContainer[Signature]
    def __init__(self, payload: _Optional[bytes] = ..., payload_type: _Optional[str] = ..., signatures: _Optional[_Iterable[_Union[Signature, _Mapping]]] = ...) -> None: ...

class Signature(_message.Message):
    __slots__ = ("keyid", "sig")
    KEYID_FIELD_NUMBER: _ClassVar[int]
    SIG_FIELD_NUMBER: _ClassVar[int]
    keyid: bytes
    sig: bytes
    def __init__(self, keyid: _Optional[bytes] = ..., sig: _Optional[bytes] = ...) -> None: ...

class Network(_message.Message):
    __slots__ = ("name", "network", "base", "tokenizer", "basis", "layout", "rank", "targets", "root", "root_key", "created_ms")
    NAME_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    BASE_FIELD_NUMBER: _ClassVar[int]
    TOKENIZER_FIELD_NUMBER: _ClassVar[int]
    BASIS_FIELD_NUMBER: _ClassVar[int]
    LAYOUT_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    ROOT_KEY_FIELD_NUMBER: _ClassVar[int]
    CREATED_MS_FIELD_NUMBER: _ClassVar[int]
    name: str
    network: bytes
    base: bytes
    tokenizer: bytes
    basis: bytes
    layout: bytes
    rank: int
    targets: _containers.RepeatedScalarFieldContainer[str]
    root: bytes
    root_key: bytes
    created_ms: int
    def __init__(self, name: _Optional[str] = ..., network: _Optional[bytes] = ..., base: _Optional[bytes] = ..., tokenizer: _Optional[bytes] = ..., basis: _Optional[bytes] = ..., layout: _Optional[bytes] = ..., rank: _Optional[int] = ..., targets: _Optional[_Iterable[str]] = ..., root: _Optional[bytes] = ..., root_key: _Optional[bytes] = ..., created_ms: _Optional[int] = ...) -> None: ...

class Certificate(_message.Message):
    __slots__ = ("network", "node", "public_key", "key_epoch", "scope", "role", "parent", "parent_scope", "mask_rank", "quota", "transport_key", "valid_from_ms", "valid_until_ms", "name")
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    KEY_EPOCH_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PARENT_SCOPE_FIELD_NUMBER: _ClassVar[int]
    MASK_RANK_FIELD_NUMBER: _ClassVar[int]
    QUOTA_FIELD_NUMBER: _ClassVar[int]
    TRANSPORT_KEY_FIELD_NUMBER: _ClassVar[int]
    VALID_FROM_MS_FIELD_NUMBER: _ClassVar[int]
    VALID_UNTIL_MS_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    network: bytes
    node: bytes
    public_key: bytes
    key_epoch: int
    scope: str
    role: Role
    parent: bytes
    parent_scope: str
    mask_rank: int
    quota: float
    transport_key: bytes
    valid_from_ms: int
    valid_until_ms: int
    name: str
    def __init__(self, network: _Optional[bytes] = ..., node: _Optional[bytes] = ..., public_key: _Optional[bytes] = ..., key_epoch: _Optional[int] = ..., scope: _Optional[str] = ..., role: _Optional[_Union[Role, str]] = ..., parent: _Optional[bytes] = ..., parent_scope: _Optional[str] = ..., mask_rank: _Optional[int] = ..., quota: _Optional[float] = ..., transport_key: _Optional[bytes] = ..., valid_from_ms: _Optional[int] = ..., valid_until_ms: _Optional[int] = ..., name: _Optional[str] = ...) -> None: ...

class LinkAuthority(_message.Message):
    __slots__ = ("network", "node", "nonce", "authority", "issued_ms")
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    AUTHORITY_FIELD_NUMBER: _ClassVar[int]
    ISSUED_MS_FIELD_NUMBER: _ClassVar[int]
    network: bytes
    node: bytes
    nonce: bytes
    authority: bytes
    issued_ms: int
    def __init__(self, network: _Optional[bytes] = ..., node: _Optional[bytes] = ..., nonce: _Optional[bytes] = ..., authority: _Optional[bytes] = ..., issued_ms: _Optional[int] = ...) -> None: ...

class Task(_message.Message):
    __slots__ = ("network", "parent", "child", "scope", "round", "task", "attempt", "nonce", "issued_ms", "deadline_ms", "snapshot", "version", "base", "basis", "tokenizer", "layout", "mask_rank", "payload_format", "judged")
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    CHILD_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    ISSUED_MS_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    BASE_FIELD_NUMBER: _ClassVar[int]
    BASIS_FIELD_NUMBER: _ClassVar[int]
    TOKENIZER_FIELD_NUMBER: _ClassVar[int]
    LAYOUT_FIELD_NUMBER: _ClassVar[int]
    MASK_RANK_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FORMAT_FIELD_NUMBER: _ClassVar[int]
    JUDGED_FIELD_NUMBER: _ClassVar[int]
    network: bytes
    parent: bytes
    child: bytes
    scope: str
    round: int
    task: str
    attempt: int
    nonce: bytes
    issued_ms: int
    deadline_ms: int
    snapshot: bytes
    version: int
    base: bytes
    basis: bytes
    tokenizer: bytes
    layout: bytes
    mask_rank: int
    payload_format: PayloadFormat
    judged: int
    def __init__(self, network: _Optional[bytes] = ..., parent: _Optional[bytes] = ..., child: _Optional[bytes] = ..., scope: _Optional[str] = ..., round: _Optional[int] = ..., task: _Optional[str] = ..., attempt: _Optional[int] = ..., nonce: _Optional[bytes] = ..., issued_ms: _Optional[int] = ..., deadline_ms: _Optional[int] = ..., snapshot: _Optional[bytes] = ..., version: _Optional[int] = ..., base: _Optional[bytes] = ..., basis: _Optional[bytes] = ..., tokenizer: _Optional[bytes] = ..., layout: _Optional[bytes] = ..., mask_rank: _Optional[int] = ..., payload_format: _Optional[_Union[PayloadFormat, str]] = ..., judged: _Optional[int] = ...) -> None: ...

class Update(_message.Message):
    __slots__ = ("network", "node", "parent", "scope", "round", "task", "attempt", "nonce", "base", "basis", "tokenizer", "layout", "mask_rank", "version", "payload", "length", "payload_format", "samples", "contributors", "issued_ms", "expires_ms", "key_epoch", "cumulative")
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    BASE_FIELD_NUMBER: _ClassVar[int]
    BASIS_FIELD_NUMBER: _ClassVar[int]
    TOKENIZER_FIELD_NUMBER: _ClassVar[int]
    LAYOUT_FIELD_NUMBER: _ClassVar[int]
    MASK_RANK_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FORMAT_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTORS_FIELD_NUMBER: _ClassVar[int]
    ISSUED_MS_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_MS_FIELD_NUMBER: _ClassVar[int]
    KEY_EPOCH_FIELD_NUMBER: _ClassVar[int]
    CUMULATIVE_FIELD_NUMBER: _ClassVar[int]
    network: bytes
    node: bytes
    parent: bytes
    scope: str
    round: int
    task: str
    attempt: int
    nonce: bytes
    base: bytes
    basis: bytes
    tokenizer: bytes
    layout: bytes
    mask_rank: int
    version: int
    payload: bytes
    length: int
    payload_format: PayloadFormat
    samples: int
    contributors: int
    issued_ms: int
    expires_ms: int
    key_epoch: int
    cumulative: bool
    def __init__(self, network: _Optional[bytes] = ..., node: _Optional[bytes] = ..., parent: _Optional[bytes] = ..., scope: _Optional[str] = ..., round: _Optional[int] = ..., task: _Optional[str] = ..., attempt: _Optional[int] = ..., nonce: _Optional[bytes] = ..., base: _Optional[bytes] = ..., basis: _Optional[bytes] = ..., tokenizer: _Optional[bytes] = ..., layout: _Optional[bytes] = ..., mask_rank: _Optional[int] = ..., version: _Optional[int] = ..., payload: _Optional[bytes] = ..., length: _Optional[int] = ..., payload_format: _Optional[_Union[PayloadFormat, str]] = ..., samples: _Optional[int] = ..., contributors: _Optional[int] = ..., issued_ms: _Optional[int] = ..., expires_ms: _Optional[int] = ..., key_epoch: _Optional[int] = ..., cumulative: _Optional[bool] = ...) -> None: ...

class Abstention(_message.Message):
    __slots__ = ("network", "node", "parent", "scope", "round", "task", "attempt", "nonce", "reason", "retry", "missing", "issued_ms")
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RETRY_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    ISSUED_MS_FIELD_NUMBER: _ClassVar[int]
    network: bytes
    node: bytes
    parent: bytes
    scope: str
    round: int
    task: str
    attempt: int
    nonce: bytes
    reason: str
    retry: bool
    missing: _containers.RepeatedScalarFieldContainer[bytes]
    issued_ms: int
    def __init__(self, network: _Optional[bytes] = ..., node: _Optional[bytes] = ..., parent: _Optional[bytes] = ..., scope: _Optional[str] = ..., round: _Optional[int] = ..., task: _Optional[str] = ..., attempt: _Optional[int] = ..., nonce: _Optional[bytes] = ..., reason: _Optional[str] = ..., retry: _Optional[bool] = ..., missing: _Optional[_Iterable[bytes]] = ..., issued_ms: _Optional[int] = ...) -> None: ...

class Verdict(_message.Message):
    __slots__ = ("node", "update", "verdict", "code", "share")
    NODE_FIELD_NUMBER: _ClassVar[int]
    UPDATE_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    node: bytes
    update: bytes
    verdict: VerdictKind
    code: str
    share: float
    def __init__(self, node: _Optional[bytes] = ..., update: _Optional[bytes] = ..., verdict: _Optional[_Union[VerdictKind, str]] = ..., code: _Optional[str] = ..., share: _Optional[float] = ...) -> None: ...

class ProbeLoss(_message.Message):
    __slots__ = ("source", "before", "after", "count")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    source: str
    before: float
    after: float
    count: int
    def __init__(self, source: _Optional[str] = ..., before: _Optional[float] = ..., after: _Optional[float] = ..., count: _Optional[int] = ...) -> None: ...

class Span(_message.Message):
    __slots__ = ("after", "until")
    AFTER_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    after: int
    until: int
    def __init__(self, after: _Optional[int] = ..., until: _Optional[int] = ...) -> None: ...

class Release(_message.Message):
    __slots__ = ("network", "node", "scope", "version", "adapter", "length", "dtype", "ancestors", "previous", "kind", "round", "step", "verdicts", "losses", "issued_ms", "undone", "rehearsal")
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    ANCESTORS_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    VERDICTS_FIELD_NUMBER: _ClassVar[int]
    LOSSES_FIELD_NUMBER: _ClassVar[int]
    ISSUED_MS_FIELD_NUMBER: _ClassVar[int]
    UNDONE_FIELD_NUMBER: _ClassVar[int]
    REHEARSAL_FIELD_NUMBER: _ClassVar[int]
    network: bytes
    node: bytes
    scope: str
    version: int
    adapter: bytes
    length: int
    dtype: str
    ancestors: bytes
    previous: bytes
    kind: ReleaseKind
    round: int
    step: float
    verdicts: _containers.RepeatedCompositeFieldContainer[Verdict]
    losses: _containers.RepeatedCompositeFieldContainer[ProbeLoss]
    issued_ms: int
    undone: _containers.RepeatedCompositeFieldContainer[Span]
    rehearsal: bytes
    def __init__(self, network: _Optional[bytes] = ..., node: _Optional[bytes] = ..., scope: _Optional[str] = ..., version: _Optional[int] = ..., adapter: _Optional[bytes] = ..., length: _Optional[int] = ..., dtype: _Optional[str] = ..., ancestors: _Optional[bytes] = ..., previous: _Optional[bytes] = ..., kind: _Optional[_Union[ReleaseKind, str]] = ..., round: _Optional[int] = ..., step: _Optional[float] = ..., verdicts: _Optional[_Iterable[_Union[Verdict, _Mapping]]] = ..., losses: _Optional[_Iterable[_Union[ProbeLoss, _Mapping]]] = ..., issued_ms: _Optional[int] = ..., undone: _Optional[_Iterable[_Union[Span, _Mapping]]] = ..., rehearsal: _Optional[bytes] = ...) -> None: ...

class ChainEntry(_message.Message):
    __slots__ = ("scope", "node", "version", "release", "adapter", "length")
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    scope: str
    node: bytes
    version: int
    release: bytes
    adapter: bytes
    length: int
    def __init__(self, scope: _Optional[str] = ..., node: _Optional[bytes] = ..., version: _Optional[int] = ..., release: _Optional[bytes] = ..., adapter: _Optional[bytes] = ..., length: _Optional[int] = ...) -> None: ...

class Snapshot(_message.Message):
    __slots__ = ("network", "node", "sequence", "chain", "revoked", "issued_ms", "expires_ms")
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    CHAIN_FIELD_NUMBER: _ClassVar[int]
    REVOKED_FIELD_NUMBER: _ClassVar[int]
    ISSUED_MS_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_MS_FIELD_NUMBER: _ClassVar[int]
    network: bytes
    node: bytes
    sequence: int
    chain: _containers.RepeatedCompositeFieldContainer[ChainEntry]
    revoked: _containers.RepeatedScalarFieldContainer[bytes]
    issued_ms: int
    expires_ms: int
    def __init__(self, network: _Optional[bytes] = ..., node: _Optional[bytes] = ..., sequence: _Optional[int] = ..., chain: _Optional[_Iterable[_Union[ChainEntry, _Mapping]]] = ..., revoked: _Optional[_Iterable[bytes]] = ..., issued_ms: _Optional[int] = ..., expires_ms: _Optional[int] = ...) -> None: ...
