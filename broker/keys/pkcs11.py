"""An HSM behind a PKCS #11 module, and its keys that sign and never leave it.

One session, on the one thread that speaks PKCS #11. python-pkcs11 initialises modules as PKCS #11 (section 5.4) allows only for
applications that call from one thread, and several sessions on several threads corrupt the heap; a call that hangs holds up
nobody but those who wait for the HSM, and these not for long. After a call that failed the module is initialised anew, once: a
token that was taken away and put back is used again without a restart, and one that is away costs one attempt a call.

Whoever needs another kind of key of the same token adds a job to ``Token.do()``: a process initialises a module once, and a
second session beside this one would end with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib
import logging
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from broker.core.secret import Secret
from broker.core.workers import Workers
from broker.keys.es256 import Es256PublicKey, der_signature, jwt_input, jwt_of
from broker.keys.signing import BadSignature

if TYPE_CHECKING:
    import pkcs11

# Signing takes a tenth of a millisecond in SoftHSM and a few in hardware. With the disk's own deadline it has to fit into the two
# seconds that are left for the log's closing words when a broker stops; who needs longer signs the next checkpoint.
PATIENCE = timedelta(seconds=1)

_HANGS = "the HSM does not answer"
# Of the process, not of a token: PKCS #11 is initialised for a process, and python-pkcs11 allows calls from one thread only.
_THREAD = Workers(name="hsm", number=1)

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class HsmUnavailable(Exception):
    """The HSM does not do what it was asked to; the message says why. Nothing of ours waits for it."""


class HsmRefused(HsmUnavailable):
    """It refuses the PIN: asking again brings the same answer, and a few times more a token that is locked for good."""


class HsmNotInstalled(Exception):
    """The package python-pkcs11 is missing: it comes with the extra ``hsm``."""


class Token:
    """One token and its one session, opened when it is first needed."""

    def __init__(self, *, module: Path, label: str | None, pin: Secret, makes_nonces: bool = False) -> None:
        """Take where it is.

        Args:
            module: The shared library.
            label: The token's; None for the only one that the module shows.
            pin: Of the token's user.
            makes_nonces: Whether its AES-GCM takes no nonce but makes its own, as AWS CloudHSM's does.

        Raises:
            HsmNotInstalled: It can never be spoken to.
        """
        library()
        self._module = str(module)
        self.label = label
        self._pin = pin
        self.makes_nonces = makes_nonces
        self._session: pkcs11.Session | None = None
        self._turn = asyncio.Lock()
        self._under_way: asyncio.Future[Any] | None = None
        # What was given up for taking too long, and has yet to be answered.
        self._owed: asyncio.Future[Any] | None = None
        # A refused PIN is not tried again: a few more of these lock the token for good.
        self._is_locked_out = False
        self.generation = 0

    async def do(self, job: Callable[[pkcs11.Session], _T], *, patience: timedelta | None = None) -> _T:
        """What ``job`` makes of the session, on the token's own thread; once more on a new session where it fails.

        One job at a time: the next waits for its turn, except behind one that was given up.

        Raises:
            HsmUnavailable: It failed twice, or did not answer within ``patience`` (``PATIENCE``), or owes an earlier answer.
        """
        try:
            async with asyncio.timeout((patience or PATIENCE).total_seconds()), self._turn:
                return await self._answer(job)
        except TimeoutError as error:
            self._owed = self._under_way
            raise HsmUnavailable(_HANGS) from error

    async def _answer(self, job: Callable[[pkcs11.Session], _T]) -> _T:
        if self._owed is not None and not self._owed.done():
            raise HsmUnavailable(_HANGS)
        answer = self._under_way = _THREAD.do(lambda: self._attended(job))
        # Nobody may be left who takes what comes late.
        answer.add_done_callback(lambda late: late.cancelled() or late.exception())
        return await asyncio.shield(answer)

    def is_opened_with(self, pin: Secret) -> bool:
        """Whether this is the PIN that it was made with."""
        return self._pin == pin

    def close(self) -> None:
        """Let the session go, as soon as the token has answered."""
        with contextlib.suppress(RuntimeError):  # no loop is running: the process ends, and the session with it
            _THREAD.do(self._drop)

    # --- on the token's thread ---

    def _attended(self, job: Callable[[pkcs11.Session], _T]) -> _T:
        # PKCS11Error is a RuntimeError, and so is what the package raises where a module is not initialised.
        try:
            if self._session is not None:
                try:
                    return job(self._session)
                # A search in a token that went finds nothing, with no error, and so it does when the token is back.
                except (RuntimeError, HsmUnavailable) as error:
                    _log.warning("hsm: %s; trying once more on a new session", _said(error))
            return job(self._opened())
        except (RuntimeError, OSError) as error:
            self._drop()
            raise HsmUnavailable(f"the HSM or its module fails: {_said(error)}") from error

    def _opened(self) -> pkcs11.Session:
        lib = library()
        if self._is_locked_out:
            raise HsmRefused("the HSM refused the PIN; set the right one and restart the broker")
        self._drop()
        module = lib.lib(self._module)
        # A module remembers the tokens that were there when it was initialised.
        module.reinitialize()
        token = self._found(module)
        if lib.TokenFlag.USER_PIN_FINAL_TRY in token.flags:
            raise HsmRefused(
                "one more wrong PIN locks the token; log in by hand with the right one, which resets the count"
            )
        try:
            # CloudHSM has no other sessions than those that may write, and a new version of a key is written.
            self._session = token.open(rw=True, user_pin=self._pin.reveal())
        except (lib.PinIncorrect, lib.PinLocked, lib.PinLenRange, lib.PinInvalid, lib.PinExpired) as error:
            self._is_locked_out = True
            raise HsmRefused(f"the HSM refused the PIN: {_said(error)}") from error
        self.generation += 1
        return self._session

    def _found(self, module: Any) -> pkcs11.Token:
        if self.label is not None:
            named: pkcs11.Token = module.get_token(token_label=self.label)
            return named
        there: list[pkcs11.Token] = [slot.get_token() for slot in module.get_slots(token_present=True)]
        ready = [token for token in there if library().TokenFlag.TOKEN_INITIALIZED in token.flags]
        if len(ready) != 1:
            raise HsmUnavailable(f"the module shows {len(ready)} tokens, not one; name the right one in token_label")
        return ready[0]

    def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            with contextlib.suppress(RuntimeError):
                session.close()


class HsmKey:
    """One ES256 key pair of a token, found by its label, whose private half the token gives to nobody."""

    def __init__(self, *, token: Token, label: str) -> None:
        self._token = token
        self._label = label
        self._handle: pkcs11.Key | None = None
        self._handle_of = 0
        # Known once the HSM has been there, and from then on: a token that comes back with another key is refused.
        self.public: Es256PublicKey | None = None
        # None while it signs, else why it does not.
        self.failure: str | None = "the HSM was not asked yet"

    async def sign(self, message: bytes) -> bytes:
        """An ECDSA signature with SHA-256, in DER; checked before it is believed.

        Raises:
            HsmUnavailable: There is none.
        """
        try:
            signature = await self._token.do(lambda session: self._signed(session, message))
        except HsmUnavailable as error:
            if self.failure != str(error):
                _log.error("hsm: no signature: %s", error)
            self.failure = str(error)
            raise
        self.failure = None
        return signature

    async def find(self) -> Es256PublicKey:
        """The public half; asks the HSM to sign something, so that what is published is what signs.

        Raises:
            HsmUnavailable: Not there, or not fit to sign.
        """
        await self.sign(b"zerotrust/hsm-is-there/v1")
        if self.public is None:
            raise HsmUnavailable("the HSM has no public key")
        return self.public

    async def sign_jwt(self, claims: dict[str, object]) -> str:
        """See ``JwtSigner``. Raises like ``sign``."""
        public = self.public or await self.find()
        signed = jwt_input(claims, kid=public.kid)
        return jwt_of(signed, await self.sign(signed))

    def jwk(self) -> dict[str, str] | None:
        """See ``JwtSigner``."""
        return self.public.jwk() if self.public else None

    def close(self) -> None:
        """Let the token go."""
        self._token.close()

    async def ping(self) -> str | None:
        """None while the HSM signs, else why not; asks again where it did not the last time."""
        if self.failure is not None:
            with contextlib.suppress(HsmUnavailable):
                await self.find()
        return self.failure

    # --- on the token's thread ---

    def _signed(self, session: pkcs11.Session, message: bytes) -> bytes:
        lib = library()
        if self._handle is None or self._handle_of != self._token.generation:
            self._handle, public = self._found(session)
            if self.public is not None and public.kid != self.public.kid:
                raise HsmUnavailable(
                    f"the key {self._label!r} is not the one it was; restart the broker if that is meant"
                )
            self._handle_of, self.public = self._token.generation, public
        assert self.public is not None  # noqa: S101  # set with the handle
        # CKM_ECDSA takes the hash; CKM_ECDSA_SHA256 is not in every module.
        raw = self._handle.sign(  # type: ignore[attr-defined]  # what a key can do is mixed in when it is found
            hashlib.sha256(message).digest(), mechanism=lib.Mechanism.ECDSA
        )
        try:
            signature = der_signature(raw)
            self.public.verify(signature, message)
        except (ValueError, BadSignature) as error:
            raise HsmUnavailable(f"what the key {self._label!r} signs does not verify: {error}") from error
        return signature

    def _found(self, session: pkcs11.Session) -> tuple[pkcs11.Key, Es256PublicKey]:
        lib = library()
        private = self._only(session, lib.ObjectClass.PRIVATE_KEY)
        try:
            point = Es256PublicKey.of_spki(
                lib.util.ec.encode_ec_public_key(self._only(session, lib.ObjectClass.PUBLIC_KEY))
            )
        except (ValueError, lib.AttributeTypeInvalid) as error:
            raise HsmUnavailable(f"the key {self._label!r} is not of P-256") from error
        if private[lib.Attribute.EXTRACTABLE] or not private[lib.Attribute.SENSITIVE]:
            raise HsmUnavailable(f"the key {self._label!r} can be taken out of the token; make one that cannot")
        return private, point

    def _only(self, session: pkcs11.Session, kind: object) -> pkcs11.Key:
        # Not get_key(): where it finds two, its search is ended by whichever thread collects the garbage.
        lib = library()
        found = list(session.get_objects({lib.Attribute.CLASS: kind, lib.Attribute.LABEL: self._label}))
        if len(found) != 1:
            raise HsmUnavailable(f"the token has not exactly one key pair {self._label!r}")
        return found[0]  # type: ignore[return-value]  # an object of this class is a key


def library() -> Any:
    """The package of an extra, present or not; imported where an HSM is configured, and nowhere else."""
    try:
        return importlib.import_module("pkcs11")
    except ImportError as error:
        raise HsmNotInstalled("the package python-pkcs11 is missing") from error


def _said(error: Exception) -> str:
    """PKCS #11 errors have no text but their class."""
    if isinstance(error, HsmUnavailable):
        return str(error)
    return f"{type(error).__name__} {error}".strip()
