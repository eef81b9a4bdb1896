"""AssumeRoleWithWebIdentity: whose token it is, as IAM judges it with the documents that the token's issuer publishes.

Sources: STS API reference, AssumeRoleWithWebIdentity; IAM User Guide, "Create an OpenID Connect (OIDC) identity provider in
IAM" (discovery document, JWKS, algorithms) and "Pass session tags in AWS STS", "Monitor and control actions taken with assumed
roles" (the two claims of AWS). The documents are fetched anew for each token, so that a key that is gone is gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import jwt

from tests.fakes.sts.parameters import AssumeRole, read_assume_role
from tests.fakes.sts.wire import StsRefusal
from tests.fakes.sts.world import OidcProvider

ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512")
TAGS = "https://aws.amazon.com/tags"
SOURCE_IDENTITY = "https://aws.amazon.com/source_identity"
# The API has neither; botocore refuses to send them.
_NOT_HERE = ("ExternalId", "SourceIdentity", "Tags.member.1.Key", "TransitiveTagKeys.member.1", "ProviderId")
_LONGEST_TOKEN = 20_000
_PATIENCE = aiohttp.ClientTimeout(total=3)


@dataclass(frozen=True, slots=True)
class Shown:
    """A token that its issuer made for AWS, and which is in force."""

    provider: OidcProvider
    subject: str
    audience: str
    source_identity: str | None
    tags: dict[str, str]
    transitive: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Documents:
    """What an issuer publishes."""

    discovery: Mapping[str, Any]
    jwks: Mapping[str, Any]


async def documents_of(provider: OidcProvider) -> Documents:
    """Fetch them.

    Raises:
        StsRefusal: They are not there, or not what OpenID Connect Discovery 1.0, section 4.3, demands.
    """
    try:
        async with aiohttp.ClientSession(timeout=_PATIENCE) as web:
            discovery = await _json(web, f"{provider.documents_at}/.well-known/openid-configuration")
            uri = str(discovery.get("jwks_uri"))
            if discovery.get("issuer") != provider.url or not uri.startswith(f"{provider.url}/"):
                raise StsRefusal("InvalidIdentityToken", "The discovery document is of another issuer.")
            return Documents(discovery, await _json(web, provider.documents_at + uri.removeprefix(provider.url)))
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise StsRefusal("IDPCommunicationError", f"Couldn't reach {provider.url}: {error!r}") from error


async def _json(web: aiohttp.ClientSession, url: str) -> Mapping[str, Any]:
    async with web.get(url, allow_redirects=False) as answer:
        answer.raise_for_status()
        found = await answer.json(content_type=None)
    if answer.status != 200 or not isinstance(found, dict):
        raise ValueError(f"{url}: no document")
    return found


def issuer_of(token: str, providers: tuple[OidcProvider, ...], *, account: str) -> OidcProvider:
    """The provider in the role's account that the token says it is of; nothing of it is believed yet.

    Raises:
        StsRefusal: No token, or of nobody known there.
    """
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except jwt.InvalidTokenError as error:
        raise StsRefusal("InvalidIdentityToken", "The ID Token provided is not a valid JWT.", why=str(error)) from error
    for provider in providers:
        if provider.url == claims.get("iss") and f":{account}:" in provider.arn:
            return provider
    raise StsRefusal("InvalidIdentityToken", "No OpenIDConnect provider found in your account for the issuer.")


def judge(token: str, provider: OidcProvider, documents: Documents) -> Shown:
    """Believe a token.

    Raises:
        StsRefusal: Its key, algorithm, audience, time or claims are wrong.
    """
    try:
        header = jwt.get_unverified_header(token)
        key = jwt.PyJWKSet.from_dict(dict(documents.jwks))[header["kid"]]
        if header.get("alg") not in ALGORITHMS or key.algorithm_name != header["alg"]:
            raise StsRefusal("InvalidIdentityToken", "The token's algorithm is not the key's, or not one of AWS's.")
        claims = jwt.decode(
            token,
            key,
            algorithms=[header["alg"]],
            audience=list(provider.client_ids),
            issuer=provider.url,
            options={"require": ["iss", "sub", "aud", "exp", "iat"], "strict_aud": False},
        )
    except jwt.ExpiredSignatureError as error:
        raise StsRefusal("ExpiredTokenException", "Token expired: the web identity token has ended.") from error
    except (jwt.InvalidTokenError, jwt.PyJWKSetError, KeyError) as error:
        raise StsRefusal("InvalidIdentityToken", "Couldn't verify the token.", why=repr(error)) from error
    tags = claims.get(TAGS, {})
    values = tags.get("principal_tags", {})
    if not all(isinstance(value, list) and len(value) == 1 for value in values.values()):
        raise StsRefusal("IDPRejectedClaim", "Each principal tag must have exactly one value.")
    return Shown(
        provider=provider,
        subject=claims["sub"],
        audience=claims["aud"] if isinstance(claims["aud"], str) else claims["aud"][0],
        source_identity=claims.get(SOURCE_IDENTITY),
        tags={key: value[0] for key, value in values.items()},
        transitive=tuple(tags.get("transitive_tag_keys", ())),
    )


def token_of(form: Mapping[str, str]) -> str:
    """The token that is shown.

    Raises:
        StsRefusal: None, or one that is too long.
    """
    token = form.get("WebIdentityToken", "")
    if not 4 <= len(token) <= _LONGEST_TOKEN:
        raise StsRefusal("ValidationError", f"webIdentityToken must have 4 to {_LONGEST_TOKEN} characters")
    return token


def read_ask(form: Mapping[str, str], shown: Shown) -> AssumeRole:
    """The request as an AssumeRole in which the token says what parameters say there. Raises like ``read_assume_role``."""
    for name in _NOT_HERE:
        if name in form:
            raise StsRefusal("ValidationError", f"{name} is no parameter of AssumeRoleWithWebIdentity")
    said = {name: value for name, value in form.items() if name != "WebIdentityToken"}
    if shown.source_identity is not None:
        said["SourceIdentity"] = shown.source_identity
    for number, (key, value) in enumerate(shown.tags.items(), start=1):
        said |= {f"Tags.member.{number}.Key": key, f"Tags.member.{number}.Value": value}
    said |= {f"TransitiveTagKeys.member.{number}": key for number, key in enumerate(shown.transitive, start=1)}
    return read_assume_role(said)
