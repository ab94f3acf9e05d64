# mypy: disable-error-code=type-arg
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EnrolRequest(_message.Message):
    __slots__ = ("token", "request", "mac")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    MAC_FIELD_NUMBER: _ClassVar[int]
    token: bytes
    request: bytes
    mac: bytes
    def __init__(self, token: _Optional[bytes] = ..., request: _Optional[bytes] = ..., mac: _Optional[bytes] = ...) -> None: ...

class EnrolReply(_message.Message):
    __slots__ = ("waiting", "retry_ms", "network", "path", "layout", "link", "authority", "addresses", "peers", "doors")
    WAITING_FIELD_NUMBER: _ClassVar[int]
    RETRY_MS_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    LAYOUT_FIELD_NUMBER: _ClassVar[int]
    LINK_FIELD_NUMBER: _ClassVar[int]
    AUTHORITY_FIELD_NUMBER: _ClassVar[int]
    ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    PEERS_FIELD_NUMBER: _ClassVar[int]
    DOORS_FIELD_NUMBER: _ClassVar[int]
    waiting: bool
    retry_ms: int
    network: bytes
    path: _containers.RepeatedScalarFieldContainer[bytes]
    layout: str
    link: bytes
    authority: bytes
    addresses: _containers.RepeatedScalarFieldContainer[str]
    peers: _containers.RepeatedScalarFieldContainer[str]
    doors: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, waiting: _Optional[bool] = ..., retry_ms: _Optional[int] = ..., network: _Optional[bytes] = ..., path: _Optional[_Iterable[bytes]] = ..., layout: _Optional[str] = ..., link: _Optional[bytes] = ..., authority: _Optional[bytes] = ..., addresses: _Optional[_Iterable[str]] = ..., peers: _Optional[_Iterable[str]] = ..., doors: _Optional[_Iterable[str]] = ...) -> None: ...

class RenewRequest(_message.Message):
    __slots__ = ("renewal",)
    RENEWAL_FIELD_NUMBER: _ClassVar[int]
    renewal: bytes
    def __init__(self, renewal: _Optional[bytes] = ...) -> None: ...

class RenewReply(_message.Message):
    __slots__ = ("path", "link", "authority", "addresses", "peers", "doors")
    PATH_FIELD_NUMBER: _ClassVar[int]
    LINK_FIELD_NUMBER: _ClassVar[int]
    AUTHORITY_FIELD_NUMBER: _ClassVar[int]
    ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    PEERS_FIELD_NUMBER: _ClassVar[int]
    DOORS_FIELD_NUMBER: _ClassVar[int]
    path: _containers.RepeatedScalarFieldContainer[bytes]
    link: bytes
    authority: bytes
    addresses: _containers.RepeatedScalarFieldContainer[str]
    peers: _containers.RepeatedScalarFieldContainer[str]
    doors: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, path: _Optional[_Iterable[bytes]] = ..., link: _Optional[bytes] = ..., authority: _Optional[bytes] = ..., addresses: _Optional[_Iterable[str]] = ..., peers: _Optional[_Iterable[str]] = ..., doors: _Optional[_Iterable[str]] = ...) -> None: ...

class AuthorityRequest(_message.Message):
    __slots__ = ("nonce",)
    NONCE_FIELD_NUMBER: _ClassVar[int]
    nonce: bytes
    def __init__(self, nonce: _Optional[bytes] = ...) -> None: ...

class AuthorityReply(_message.Message):
    __slots__ = ("authority",)
    AUTHORITY_FIELD_NUMBER: _ClassVar[int]
    authority: bytes
    def __init__(self, authority: _Optional[bytes] = ...) -> None: ...

class StatusRequest(_message.Message):
    __slots__ = ("nonce",)
    NONCE_FIELD_NUMBER: _ClassVar[int]
    nonce: bytes
    def __init__(self, nonce: _Optional[bytes] = ...) -> None: ...

class Signed(_message.Message):
    __slots__ = ("statement", "certificate")
    STATEMENT_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    statement: bytes
    certificate: bytes
    def __init__(self, statement: _Optional[bytes] = ..., certificate: _Optional[bytes] = ...) -> None: ...

class StatusReply(_message.Message):
    __slots__ = ("status",)
    STATUS_FIELD_NUMBER: _ClassVar[int]
    status: Signed
    def __init__(self, status: _Optional[_Union[Signed, _Mapping]] = ...) -> None: ...

class ReportRequest(_message.Message):
    __slots__ = ("statuses", "addresses", "swarm_port", "circle")
    STATUSES_FIELD_NUMBER: _ClassVar[int]
    ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    SWARM_PORT_FIELD_NUMBER: _ClassVar[int]
    CIRCLE_FIELD_NUMBER: _ClassVar[int]
    statuses: _containers.RepeatedCompositeFieldContainer[Signed]
    addresses: _containers.RepeatedScalarFieldContainer[str]
    swarm_port: int
    circle: int
    def __init__(self, statuses: _Optional[_Iterable[_Union[Signed, _Mapping]]] = ..., addresses: _Optional[_Iterable[str]] = ..., swarm_port: _Optional[int] = ..., circle: _Optional[int] = ...) -> None: ...

class ReportReply(_message.Message):
    __slots__ = ("circle", "addresses", "peers", "doors", "refused", "again_ms")
    CIRCLE_FIELD_NUMBER: _ClassVar[int]
    ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    PEERS_FIELD_NUMBER: _ClassVar[int]
    DOORS_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    AGAIN_MS_FIELD_NUMBER: _ClassVar[int]
    circle: bytes
    addresses: _containers.RepeatedScalarFieldContainer[str]
    peers: _containers.RepeatedScalarFieldContainer[str]
    doors: _containers.RepeatedScalarFieldContainer[str]
    refused: _containers.RepeatedCompositeFieldContainer[Refusal]
    again_ms: int
    def __init__(self, circle: _Optional[bytes] = ..., addresses: _Optional[_Iterable[str]] = ..., peers: _Optional[_Iterable[str]] = ..., doors: _Optional[_Iterable[str]] = ..., refused: _Optional[_Iterable[_Union[Refusal, _Mapping]]] = ..., again_ms: _Optional[int] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("node", "code", "sentence")
    NODE_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_FIELD_NUMBER: _ClassVar[int]
    node: bytes
    code: str
    sentence: str
    def __init__(self, node: _Optional[bytes] = ..., code: _Optional[str] = ..., sentence: _Optional[str] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("scope", "have")
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    HAVE_FIELD_NUMBER: _ClassVar[int]
    scope: str
    have: int
    def __init__(self, scope: _Optional[str] = ..., have: _Optional[int] = ...) -> None: ...

class WatchReply(_message.Message):
    __slots__ = ("snapshot", "releases")
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    RELEASES_FIELD_NUMBER: _ClassVar[int]
    snapshot: bytes
    releases: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, snapshot: _Optional[bytes] = ..., releases: _Optional[_Iterable[bytes]] = ...) -> None: ...

class LocateRequest(_message.Message):
    __slots__ = ("digests",)
    DIGESTS_FIELD_NUMBER: _ClassVar[int]
    digests: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, digests: _Optional[_Iterable[bytes]] = ...) -> None: ...

class LocateReply(_message.Message):
    __slots__ = ("located",)
    LOCATED_FIELD_NUMBER: _ClassVar[int]
    located: _containers.RepeatedCompositeFieldContainer[Located]
    def __init__(self, located: _Optional[_Iterable[_Union[Located, _Mapping]]] = ...) -> None: ...

class Located(_message.Message):
    __slots__ = ("digest", "here", "length", "holders", "torrent")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    HERE_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    HOLDERS_FIELD_NUMBER: _ClassVar[int]
    TORRENT_FIELD_NUMBER: _ClassVar[int]
    digest: bytes
    here: bool
    length: int
    holders: _containers.RepeatedScalarFieldContainer[bytes]
    torrent: bytes
    def __init__(self, digest: _Optional[bytes] = ..., here: _Optional[bool] = ..., length: _Optional[int] = ..., holders: _Optional[_Iterable[bytes]] = ..., torrent: _Optional[bytes] = ...) -> None: ...

class AnnounceRequest(_message.Message):
    __slots__ = ("digests",)
    DIGESTS_FIELD_NUMBER: _ClassVar[int]
    digests: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, digests: _Optional[_Iterable[bytes]] = ...) -> None: ...

class AnnounceReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class FetchRequest(_message.Message):
    __slots__ = ("digest", "offset", "length")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    digest: bytes
    offset: int
    length: int
    def __init__(self, digest: _Optional[bytes] = ..., offset: _Optional[int] = ..., length: _Optional[int] = ...) -> None: ...

class Chunk(_message.Message):
    __slots__ = ("data", "total")
    DATA_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    total: int
    def __init__(self, data: _Optional[bytes] = ..., total: _Optional[int] = ...) -> None: ...

class ReceiptRequest(_message.Message):
    __slots__ = ("update",)
    UPDATE_FIELD_NUMBER: _ClassVar[int]
    update: bytes
    def __init__(self, update: _Optional[bytes] = ...) -> None: ...

class ReceiptReply(_message.Message):
    __slots__ = ("receipt", "release")
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    receipt: bytes
    release: bytes
    def __init__(self, receipt: _Optional[bytes] = ..., release: _Optional[bytes] = ...) -> None: ...

class ChildSays(_message.Message):
    __slots__ = ("ready",)
    READY_FIELD_NUMBER: _ClassVar[int]
    ready: bool
    def __init__(self, ready: _Optional[bool] = ...) -> None: ...

class ParentSays(_message.Message):
    __slots__ = ("snapshot", "circle")
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    CIRCLE_FIELD_NUMBER: _ClassVar[int]
    snapshot: int
    circle: int
    def __init__(self, snapshot: _Optional[int] = ..., circle: _Optional[int] = ...) -> None: ...
