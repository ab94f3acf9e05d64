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

class Fate(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FATE_UNSPECIFIED: _ClassVar[Fate]
    FATE_WAITING: _ClassVar[Fate]
    FATE_COUNTED: _ClassVar[Fate]
    FATE_OUTVOTED: _ClassVar[Fate]
    FATE_REFUSED: _ClassVar[Fate]
    FATE_LEFT_OUT: _ClassVar[Fate]
    FATE_WITHDRAWN: _ClassVar[Fate]
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
FATE_UNSPECIFIED: Fate
FATE_WAITING: Fate
FATE_COUNTED: Fate
FATE_OUTVOTED: Fate
FATE_REFUSED: Fate
FATE_LEFT_OUT: Fate
FATE_WITHDRAWN: Fate

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

class CircleMember(_message.Message):
    __slots__ = ("node", "name", "role", "transport", "addresses", "swarm_port")
    NODE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    TRANSPORT_FIELD_NUMBER: _ClassVar[int]
    ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    SWARM_PORT_FIELD_NUMBER: _ClassVar[int]
    node: bytes
    name: str
    role: Role
    transport: bytes
    addresses: _containers.RepeatedScalarFieldContainer[str]
    swarm_port: int
    def __init__(self, node: _Optional[bytes] = ..., name: _Optional[str] = ..., role: _Optional[_Union[Role, str]] = ..., transport: _Optional[bytes] = ..., addresses: _Optional[_Iterable[str]] = ..., swarm_port: _Optional[int] = ...) -> None: ...

class Circle(_message.Message):
    __slots__ = ("network", "node", "sequence", "members", "manifest", "issued_ms", "expires_ms", "swarm_port")
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    ISSUED_MS_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_MS_FIELD_NUMBER: _ClassVar[int]
    SWARM_PORT_FIELD_NUMBER: _ClassVar[int]
    network: bytes
    node: bytes
    sequence: int
    members: _containers.RepeatedCompositeFieldContainer[CircleMember]
    manifest: bytes
    issued_ms: int
    expires_ms: int
    swarm_port: int
    def __init__(self, network: _Optional[bytes] = ..., node: _Optional[bytes] = ..., sequence: _Optional[int] = ..., members: _Optional[_Iterable[_Union[CircleMember, _Mapping]]] = ..., manifest: _Optional[bytes] = ..., issued_ms: _Optional[int] = ..., expires_ms: _Optional[int] = ..., swarm_port: _Optional[int] = ...) -> None: ...

class Renewal(_message.Message):
    __slots__ = ("network", "node", "key_epoch", "issued_ms")
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    KEY_EPOCH_FIELD_NUMBER: _ClassVar[int]
    ISSUED_MS_FIELD_NUMBER: _ClassVar[int]
    network: bytes
    node: bytes
    key_epoch: int
    issued_ms: int
    def __init__(self, network: _Optional[bytes] = ..., node: _Optional[bytes] = ..., key_epoch: _Optional[int] = ..., issued_ms: _Optional[int] = ...) -> None: ...

class Tally(_message.Message):
    __slots__ = ("code", "count")
    CODE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    code: str
    count: int
    def __init__(self, code: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...

class ChildState(_message.Message):
    __slots__ = ("node", "name", "state", "reason", "since_ms", "seen_ms")
    NODE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    SEEN_MS_FIELD_NUMBER: _ClassVar[int]
    node: bytes
    name: str
    state: str
    reason: str
    since_ms: int
    seen_ms: int
    def __init__(self, node: _Optional[bytes] = ..., name: _Optional[str] = ..., state: _Optional[str] = ..., reason: _Optional[str] = ..., since_ms: _Optional[int] = ..., seen_ms: _Optional[int] = ...) -> None: ...

class Status(_message.Message):
    __slots__ = ("network", "node", "scope", "role", "name", "issued_ms", "started_ms", "software", "version", "chain", "ledger", "events", "round", "round_open", "outcome", "children", "members", "refused", "troubles", "disk_free", "disk_used", "membership_until_ms", "link_until_ms", "way", "confined", "hidden", "nonce")
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ISSUED_MS_FIELD_NUMBER: _ClassVar[int]
    STARTED_MS_FIELD_NUMBER: _ClassVar[int]
    SOFTWARE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CHAIN_FIELD_NUMBER: _ClassVar[int]
    LEDGER_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    ROUND_OPEN_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    CHILDREN_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    TROUBLES_FIELD_NUMBER: _ClassVar[int]
    DISK_FREE_FIELD_NUMBER: _ClassVar[int]
    DISK_USED_FIELD_NUMBER: _ClassVar[int]
    MEMBERSHIP_UNTIL_MS_FIELD_NUMBER: _ClassVar[int]
    LINK_UNTIL_MS_FIELD_NUMBER: _ClassVar[int]
    WAY_FIELD_NUMBER: _ClassVar[int]
    CONFINED_FIELD_NUMBER: _ClassVar[int]
    HIDDEN_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    network: bytes
    node: bytes
    scope: str
    role: Role
    name: str
    issued_ms: int
    started_ms: int
    software: str
    version: int
    chain: bytes
    ledger: bytes
    events: int
    round: int
    round_open: bool
    outcome: str
    children: _containers.RepeatedCompositeFieldContainer[ChildState]
    members: _containers.RepeatedCompositeFieldContainer[Tally]
    refused: _containers.RepeatedCompositeFieldContainer[Tally]
    troubles: _containers.RepeatedCompositeFieldContainer[Tally]
    disk_free: int
    disk_used: int
    membership_until_ms: int
    link_until_ms: int
    way: str
    confined: bool
    hidden: int
    nonce: bytes
    def __init__(self, network: _Optional[bytes] = ..., node: _Optional[bytes] = ..., scope: _Optional[str] = ..., role: _Optional[_Union[Role, str]] = ..., name: _Optional[str] = ..., issued_ms: _Optional[int] = ..., started_ms: _Optional[int] = ..., software: _Optional[str] = ..., version: _Optional[int] = ..., chain: _Optional[bytes] = ..., ledger: _Optional[bytes] = ..., events: _Optional[int] = ..., round: _Optional[int] = ..., round_open: _Optional[bool] = ..., outcome: _Optional[str] = ..., children: _Optional[_Iterable[_Union[ChildState, _Mapping]]] = ..., members: _Optional[_Iterable[_Union[Tally, _Mapping]]] = ..., refused: _Optional[_Iterable[_Union[Tally, _Mapping]]] = ..., troubles: _Optional[_Iterable[_Union[Tally, _Mapping]]] = ..., disk_free: _Optional[int] = ..., disk_used: _Optional[int] = ..., membership_until_ms: _Optional[int] = ..., link_until_ms: _Optional[int] = ..., way: _Optional[str] = ..., confined: _Optional[bool] = ..., hidden: _Optional[int] = ..., nonce: _Optional[bytes] = ...) -> None: ...

class Receipt(_message.Message):
    __slots__ = ("network", "node", "child", "update", "fate", "code", "round", "version", "release", "share", "issued_ms")
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    CHILD_FIELD_NUMBER: _ClassVar[int]
    UPDATE_FIELD_NUMBER: _ClassVar[int]
    FATE_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    ISSUED_MS_FIELD_NUMBER: _ClassVar[int]
    network: bytes
    node: bytes
    child: bytes
    update: bytes
    fate: Fate
    code: str
    round: int
    version: int
    release: bytes
    share: float
    issued_ms: int
    def __init__(self, network: _Optional[bytes] = ..., node: _Optional[bytes] = ..., child: _Optional[bytes] = ..., update: _Optional[bytes] = ..., fate: _Optional[_Union[Fate, str]] = ..., code: _Optional[str] = ..., round: _Optional[int] = ..., version: _Optional[int] = ..., release: _Optional[bytes] = ..., share: _Optional[float] = ..., issued_ms: _Optional[int] = ...) -> None: ...
