"""What runs on the user's side: the ``zerotrust`` command, and for programs what ``__all__`` names.

Standard library and the system's Kerberos, nothing else, but for ``ConfigLoader``, which needs the extra ``broker``, and for
``boto3_session`` and ``ZeroTrustProvider``, which need boto3. What is not used is not imported: the command pays for each
module with its start. So at the top lies what each run of the helper loads, with the words that all commands say, and everything
else has a room.
"""

__version__ = "0.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from zerotrust_kerberos.sdk.aio import AsyncBroker
    from zerotrust_kerberos.sdk.boto import ZeroTrustProvider, boto3_session
    from zerotrust_kerberos.sdk.config_loader import Config, ConfigLoader
    from zerotrust_kerberos.sdk.credentials import Credentials
    from zerotrust_kerberos.sdk.secret_manager import SecretManager, ZeroTrustError

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
    "AsyncBroker": "sdk.aio",
    "Config": "sdk.config_loader",
    "ConfigLoader": "sdk.config_loader",
    "Credentials": "sdk.credentials",
    "SecretManager": "sdk.secret_manager",
    "ZeroTrustError": "sdk.secret_manager",
    "ZeroTrustProvider": "sdk.boto",
    "boto3_session": "sdk.boto",
}


def __getattr__(name: str) -> object:
    """PEP 562: a class is imported by whoever asks for it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib  # noqa: PLC0415  see above

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
