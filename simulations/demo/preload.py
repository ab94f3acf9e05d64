"""What every node of the demo imports, imported once.

The demo forks its nodes from one process that has these modules: loading torch, transformers and
flwr anew for nineteen processes would cost two minutes of two cores. Nothing is computed here; no
thread may exist before the fork.
"""

from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: F401
from transformers.models.llama import LlamaForCausalLM  # noqa: F401

import simulations.demo.hostile
import simulations.demo.intruder  # noqa: F401
