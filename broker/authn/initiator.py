"""The broker as a Kerberos client: to a directory, with the encryption that comes with that (SASL GSSAPI, RFC 4752), and by HTTP.

It uses the keys that it accepts tickets with, so there is no second secret to keep. Asking the KDC happens in a thread of its
own: Kerberos cannot be told when to give up on a KDC that stands still.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, cast

import gssapi
from gssapi import raw

from broker.authn.keytab import AcceptorKeys, Key
from broker.core.errors import DirectoryUnavailable
from broker.core.visible import visible
from broker.remote.failure import Unreachable

_T = TypeVar("_T")

KRB5 = gssapi.OID.from_int_seq("1.2.840.113554.1.2.2")
_SPNEGO = gssapi.OID.from_int_seq("1.3.6.1.5.5.2")

# RFC 4752 section 3.1: no layer; integrity with confidentiality.
_NO_LAYER, _PRIVACY = 1, 4
_OFFER_OCTETS = 4
_numbers = itertools.count()
# The largest encrypted piece that we take, in octets.
PIECE_MAX = 0xFF_FFFF


class Layer:
    """What encrypts a connection that has no TLS: pieces, each behind its length in four octets (RFC 4422 section 3.7)."""

    def __init__(self, context: gssapi.SecurityContext, *, piece_max: int) -> None:
        """Take a finished context, and the size of the largest piece that the server takes."""
        self._context = context
        self._room = raw.wrap_size_limit(context, piece_max, confidential=True)

    def wrapped(self, data: bytes) -> bytes:
        """As it goes over the wire."""
        return b"".join(self._piece(data[start : start + self._room]) for start in range(0, len(data), self._room))

    def unwrapped(self, piece: bytes) -> bytes:
        """What a piece, without its length, holds.

        Raises:
            gssapi.raw.GSSError: It was altered.
        """
        result = raw.unwrap(self._context, piece)
        if not result.encrypted:
            raise DirectoryUnavailable("the server stopped encrypting", reason="directory_in_the_clear")
        return result.message

    def _piece(self, data: bytes) -> bytes:
        sealed = raw.wrap(self._context, data, confidential=True).message
        return len(sealed).to_bytes(4) + sealed


class Handshake:
    """One authentication under way, the server's to us included."""

    def __init__(
        self, target: raw.Name, credentials: raw.Creds, *, is_private: bool, binding: raw.ChannelBindings | None
    ) -> None:
        self._target = target
        self._credentials = credentials
        self._is_private = is_private
        self._binding = binding
        self._context: gssapi.SecurityContext | None = None
        self.is_complete = False
        self.layer: Layer | None = None

    def step(self, token: bytes | None) -> bytes:
        """The next token for the server.

        Raises:
            gssapi.raw.GSSError: No ticket for it, or it is not the server it should be.
        """
        flags = [gssapi.RequirementFlag.mutual_authentication]
        if not self._is_private:
            # Under TLS they stay out: Active Directory refuses two encryptions, one in the other (MS-ADTS section 5.1.1.1.2).
            flags += [gssapi.RequirementFlag.integrity, gssapi.RequirementFlag.confidentiality]
        result = raw.init_sec_context(
            self._target,
            creds=self._credentials,
            context=self._context,
            mech=KRB5,
            flags=flags,
            channel_bindings=self._binding,
            input_token=token,
        )
        # python-gssapi's raw functions declare the high-level class, and give and take the raw one.
        self._context = cast("gssapi.SecurityContext", result.context)
        self.is_complete = not result.more_steps
        return result.token or b""

    def choose(self, offer: bytes) -> bytes:
        """Answer the server's offer of layers; ``layer`` holds from the next octet on.

        Raises:
            gssapi.raw.GSSError: The offer was altered.
            DirectoryUnavailable: It cannot keep the connection private.
        """
        context = self._context
        layers = raw.unwrap(context, offer).message if context is not None else b""
        wanted = _NO_LAYER if self._is_private else _PRIVACY
        if context is None or len(layers) != _OFFER_OCTETS or not layers[0] & wanted:
            raise DirectoryUnavailable("the server offers no encryption", reason="directory_in_the_clear")
        if not self._is_private:
            self.layer = Layer(context, piece_max=int.from_bytes(layers[1:]))
        ours = bytes([wanted]) + (0 if self._is_private else PIECE_MAX).to_bytes(3)
        return raw.wrap(context, ours, confidential=False).message


class Initiator:
    """Begins handshakes, one at a time. Tickets are kept in this process's memory and renewed by Kerberos itself."""

    def __init__(self, *, keys: AcceptorKeys, realm: str) -> None:
        """Be the first ``HTTP/HOST`` of a realm that there is a key for; of another realm where this one has none."""
        self._keys = keys
        self._realm = realm
        # The process's own memory knows caches by name, for as long as it lives.
        self._tickets = f"MEMORY:zerotrust-{next(_numbers)}".encode()
        self._asking: threading.Thread | None = None

    async def begin(self, service: str, *, is_private: bool, binding: bytes | None) -> tuple[Handshake, bytes]:
        """A handshake with a service of the realm, and its first token.

        Args:
            service: ``ldap/HOST``, exactly: no name is looked up in DNS for it.
            is_private: The connection is encrypted already.
            binding: What its TLS endpoint is known by (RFC 5929).

        Raises:
            gssapi.raw.GSSError: The KDC knows one of the two not, or does not answer.
            DirectoryUnavailable: It has not answered the one before yet.
        """
        if self._asking is not None and self._asking.is_alive():
            raise DirectoryUnavailable("the KDC does not answer", reason="directory_kdc")
        return await self._asked(partial(self._begin, service, is_private=is_private, binding=binding))

    async def negotiate(self, service: str) -> bytes:
        """A token for one HTTP request to a service of the realm (RFC 4559), which is not asked who it is: TLS says that.

        Raises:
            Unreachable: The KDC knows one of the two not, or does not answer.
        """
        if self._asking is not None and self._asking.is_alive():
            raise Unreachable("the KDC does not answer", reason="no_ticket")
        try:
            return await self._asked(partial(self._negotiate, service))
        except raw.GSSError as error:
            said = visible(str(error))
            raise Unreachable(f"no ticket for {service}@{self._realm}: {said}", reason="no_ticket") from error

    async def _asked(self, job: Callable[[], _T]) -> _T:
        asked: asyncio.Future[_T] = asyncio.get_running_loop().create_future()
        # A daemon: the end of the broker does not wait for a KDC.
        self._asking = threading.Thread(target=_ask, args=(asked, job), name="kerberos-initiator", daemon=True)
        self._asking.start()
        return await asked

    def _begin(self, service: str, *, is_private: bool, binding: bytes | None) -> tuple[Handshake, bytes]:
        bindings = raw.ChannelBindings(application_data=binding) if binding else None
        handshake = Handshake(self._target(service), self._credentials(), is_private=is_private, binding=bindings)
        return handshake, handshake.step(None)

    def _negotiate(self, service: str) -> bytes:
        credentials = self._credentials()
        return raw.init_sec_context(self._target(service), creds=credentials, mech=_SPNEGO, flags=[]).token or b""

    def _credentials(self) -> raw.Creds:
        # Octets, not text: python-gssapi 1.12 frees what it encodes itself before GSS-API reads it.
        store: dict[bytes | str, bytes | str] = {b"client_keytab": self._keys.name.encode(), b"ccache": self._tickets}
        ours = _name("/".join(self._key.components) + "@" + self._key.realm)
        return raw.acquire_cred_from(store, name=ours, usage="initiate").creds

    def _target(self, service: str) -> raw.Name:
        return _name(f"{service}@{self._realm}")

    @property
    def _key(self) -> Key:
        keys = self._keys.keys
        return next((key for key in keys if key.realm == self._realm), keys[0])


def _name(printed: str) -> raw.Name:
    return raw.import_name(printed.encode(), gssapi.NameType.kerberos_principal)


def _ask(asked: asyncio.Future[_T], job: Callable[[], _T]) -> None:
    """In the thread: do it, and tell the coroutine that waits."""
    try:
        deliver = partial(_deliver, asked.set_result, job())
    except Exception as error:  # noqa: BLE001  # whatever it is: it is the waiting coroutine's
        deliver = partial(_deliver, asked.set_exception, error)
    with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
        asked.get_loop().call_soon_threadsafe(deliver, asked)


def _deliver(word: Callable[[Any], None], outcome: object, asked: asyncio.Future[Any]) -> None:
    if not asked.done():  # else whoever waited has given up
        word(outcome)
