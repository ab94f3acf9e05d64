"""Who belongs, and by whose signature: networks, certificates, requests, bundles, keys for links.

Guarantees: no private key leaves its folder; a certificate is signed only for a request that
proves its key, with every field parsed, and that breaks no rule of ``protocol.Membership``; when
one is refused, nothing is stored; a bundle and a renewal are verified before they are written.

Knows nothing of rounds, models or how a bundle or a renewal travels.

Others use ``network`` (``init_network``, ``found_network``), ``enrolment`` (``make_request``,
``enrol``, ``certify``, ``join``, ``enrol_folder``, ``suspend``, ``resume``, ``revoke``),
``renewal`` (``answer_renewal``, ``ask_renewal``, ``install_renewed``), ``link_certificates``,
``standing`` (how a node stands at its parent, and what it is told), ``bundle`` (its largest size),
``transport_keys`` and ``tls`` (``TlsFiles``, ``make_tls``, ``authority_pem``).
"""
