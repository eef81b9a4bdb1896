"""What runs on the user's side: the ``zerotrust`` command, and for programs what ``__all__`` names.

Standard library and the system's Kerberos, nothing else, but for ``ConfigLoader``, which needs the extra ``broker``, and for
``boto3_session`` and ``ZeroTrustProvider``, which need boto3. What is not used is not imported: the command pays for each
module with its start.
"""

__version__ = "0.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from zerotrust_kerberos.aio import AsyncBroker
    from zerotrust_kerberos.boto import ZeroTrustProvider, boto3_session
    from zerotrust_kerberos.config_loader import Config, ConfigLoader
    from zerotrust_kerberos.credentials import Credentials
    from zerotrust_kerberos.secret_manager import SecretManager, ZeroTrustError

__all__ = [
    "AsyncBroker",
    "Config",
    "ConfigLoader",
    "Credentials",
    "SecretManager",
    "ZeroTrustError",
    "ZeroTrustProvider",
    "boto3_session",
]

_HOMES = {
    "AsyncBroker": "aio",
    "Config": "config_loader",
    "ConfigLoader": "config_loader",
    "Credentials": "credentials",
    "SecretManager": "secret_manager",
    "ZeroTrustError": "secret_manager",
    "ZeroTrustProvider": "boto",
    "boto3_session": "boto",
}


def __getattr__(name: str) -> object:
    """PEP 562: a class is imported by whoever asks for it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib  # noqa: PLC0415  see above

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
