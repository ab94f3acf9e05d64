"""What every node of the demo imports, imported once.

The demo forks its nodes from one process that has these modules: loading torch, transformers and
flwr anew for nineteen processes would cost two minutes of two cores. Nothing is computed here; no
thread may exist before the fork, and nothing of gRPC: importing it makes neither.
"""

from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: F401
from transformers.models.llama import LlamaForCausalLM  # noqa: F401

# What a daemon imports only where it needs it.
import nodes.flower.apps
import nodes.flower.downlink
import nodes.flower.members
import nodes.flower.uplink
import nodes.parent.parent  # noqa: F401
import simulations.demo.hostile
import simulations.demo.intruder  # noqa: F401
