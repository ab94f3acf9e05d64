"""``banyan demo``: a whole network on one machine, with a real attacker, in one command."""
