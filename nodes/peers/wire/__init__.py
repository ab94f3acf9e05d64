"""gRPC between peers: listeners, channels, and what both keep to.

Nothing here knows what a call means. Handlers are given to a ``PeerServer``; a ``PeerChannel`` asks
another node's. gRPC's own log goes nowhere: it writes a line for every stranger's handshake.
"""

import os

os.environ.setdefault("GRPC_VERBOSITY", "NONE")
os.environ.setdefault("GRPC_DNS_RESOLVER", "native")  # the machine's own, as everything else
