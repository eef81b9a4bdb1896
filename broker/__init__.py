"""ZeroTrustKerberosLink's daemon: a Kerberos identity in, short-lived AWS credentials out."""

__version__ = "0.1.0"
