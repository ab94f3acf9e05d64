"""The order of tiers."""

from __future__ import annotations

TIERS = ("root", "language", "domain", "subdomain", "device")


def tier_rank(tier: str) -> tuple[int, int, str]:
    """Root first, devices last, ``tierN`` between by number."""
    if tier == "device":
        return 2, 0, tier
    if tier in TIERS:
        return 0, TIERS.index(tier), tier
    digits = tier.removeprefix("tier")
    return 1, int(digits) if digits.isdigit() else 0, tier
