"""Which proxy leads to a parent: none on this machine, or where NO_PROXY says so."""

from __future__ import annotations

import importlib.util
import ipaddress
from urllib.request import getproxies, proxy_bypass

from nodes.config.addresses import Address, is_loopback
from nodes.flower.errors import LinkDown


def proxy_for(address: Address) -> str | None:
    """Return the URL of the proxy for an address, from the environment; None: connect directly.

    Raises ``LinkDown`` ``bad-proxy`` for a SOCKS proxy without the package that speaks it.
    """
    proxies = getproxies()
    if is_loopback(address.host) or _bypassed(address, proxies.get("no", "")):
        return None
    proxy = proxies.get("https") or proxies.get("all")
    if not proxy:
        return None
    if "://" not in proxy:
        proxy = f"http://{proxy}"
    if proxy.startswith("socks") and importlib.util.find_spec("socksio") is None:
        raise LinkDown(
            "The environment names a SOCKS proxy, which needs a package: pip install socksio, or "
            "name the parent in NO_PROXY.",
            "bad-proxy",
        )
    return proxy


def _bypassed(address: Address, without: str) -> bool:
    """Return whether NO_PROXY names this host: by name, by suffix, or by a network it is in."""
    if proxy_bypass(address.host) or proxy_bypass(str(address)):
        return True
    try:
        ip = ipaddress.ip_address(address.host)
    except ValueError:
        return False
    for entry in without.split(","):
        try:
            network = ipaddress.ip_network(entry.strip().strip("[]"), strict=False)
        except ValueError:
            continue
        if ip.version == network.version and ip in network:
            return True
    return False
