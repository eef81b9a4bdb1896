"""What runs on the user's side: the ``zerotrust`` command, and ``SecretManager`` and ``ConfigLoader`` for programs.

Standard library and the system's Kerberos, nothing else; ``ConfigLoader`` alone needs the extra ``broker``. What is not used is
not imported: the command pays for each module with its start.
"""

__version__ = "0.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from zerotrust_kerberos.config_loader import Config, ConfigLoader
    from zerotrust_kerberos.credentials import Credentials
    from zerotrust_kerberos.secret_manager import SecretManager, ZeroTrustError

__all__ = ["Config", "ConfigLoader", "Credentials", "SecretManager", "ZeroTrustError"]

_HOMES = {
    "Config": "config_loader",
    "ConfigLoader": "config_loader",
    "Credentials": "credentials",
    "SecretManager": "secret_manager",
    "ZeroTrustError": "secret_manager",
}


def __getattr__(name: str) -> object:
    """PEP 562: a class is imported by whoever asks for it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib  # noqa: PLC0415  see above

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
