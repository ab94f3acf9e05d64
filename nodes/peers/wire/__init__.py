"""gRPC between peers: listeners, channels, and what both keep to.

Nothing here knows what a call means. Handlers are given to a ``PeerServer``; a ``PeerChannel`` asks
another node's. gRPC's own logs go nowhere: it writes a line for every stranger's handshake, and a
traceback for everybody who hangs up during an answer.
"""

import logging
import os

os.environ.setdefault("GRPC_VERBOSITY", "NONE")
os.environ.setdefault("GRPC_DNS_RESOLVER", "native")  # the machine's own, as everything else
logging.getLogger("grpc").propagate = False
logging.getLogger("grpc").addHandler(logging.NullHandler())
