"""Who belongs, and by whose signature: networks, certificates, requests, bundles, keys for links.

Guarantees: no private key leaves its folder; a certificate is signed only for a request that
proves its key and breaks no rule of ``protocol.Membership``; a bundle is verified before it is
written.

Knows nothing of rounds, models or how a bundle travels.

Others use ``enrolment`` (``init_network``, ``make_request``, ``enrol``, ``certify``, ``join``,
``revoke``), ``transport_keys`` and ``tls`` (``TlsFiles``).
"""
