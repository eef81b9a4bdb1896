"""The TLS 1.2 suites that may be configured, by IANA's name, as OpenSSL calls them.

All have forward secrecy and authenticated encryption (RFC 9325 section 4.2). TLS 1.3's suites all do, and OpenSSL keeps
them on whatever is configured here.
"""

from __future__ import annotations

from broker.config.fault import fault

OPENSSL_NAMES = {
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
}


def known_suite(name: str) -> str:
    """The name itself, if it is in the table."""
    if name not in OPENSSL_NAMES:
        fix = "leave TLS 1.3 suites out (they are always on); choose from " + ", ".join(OPENSSL_NAMES)
        raise fault("is not a TLS 1.2 cipher suite of this broker", fix, shown=name)
    return name
