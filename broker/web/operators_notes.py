"""What the broker's administrator does about each code that the broker answers with. Total over the table of answers.

Beside what ``zerotrust help CODE`` tells the user (``zerotrust_kerberos.meanings``). Both are shown under ``/problems``, which
the member ``type`` of each problem document names, and in ``docs/failures/``. Anybody may read them: they say nothing about
this broker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_TRACE = "Find the record: `zerotrust-admin audit trace REQUEST_ID`; its `reason` is the exact one."
_READY = "See which dependency is ill, and since when: `curl https://BROKER/readyz`."
_DOCTOR = "On the broker's host: `zerotrust-admin doctor --config /etc/zerotrust/config.yaml` tries each part."
_CLIENT = (
    "Nothing is wrong with the broker; one program that does this all the time shows in the records by its `source_ip`."
)
_REDIS = "Redis is the usual cause: `redis-cli ping` with the broker's account, then the log of the broker."

NOTES: Mapping[str, Sequence[str]] = {
    "bad_request": (_TRACE, _CLIENT),
    "auth_required": (
        "Usual as the first half of a sign-in; only where somebody never gets further is it a fault.",
        "A reverse proxy must pass the header Authorization on, and keep the connection's TLS where channel binding is required.",
    ),
    "auth_failed": (
        _TRACE,
        "`ticket_kvno_unknown` or `ticket_altered`: keytab and KDC differ. Compare `klist -ekt KEYTAB` with `kvno HTTP/BROKER`.",
        "`clock_skew`: look at `timedatectl` here and at the KDC. `ticket_replayed`: the same proof came twice.",
        _DOCTOR,
    ),
    "signature_refused": (
        _TRACE,
        "Register the public half in `admin.signing_keys`, and compare the clock of the operator's machine.",
    ),
    "access_denied": (
        _TRACE,
        "Ask the rules offline: `zerotrust-admin policy explain PRINCIPAL ROLE --config FILE`.",
        "A changed file counts from the next reload: `systemctl reload 'zerotrust-broker*.service'`.",
    ),
    "step_up_required": (
        "The rule's `require` asks for it. The ticket's indicators stand in the record; the KDC sets them (`auth_indicator`).",
    ),
    "approval_required": (
        "See what waits: `zerotrust-admin requests`. Open it with `zerotrust-admin approve ID`, or say no with `deny`.",
        "After an alert: `zerotrust-admin alerts list`, then `zerotrust-admin alerts clear`.",
    ),
    "revoked": (
        "See who is, since when and by whom: `zerotrust-admin revocations`. Undo it with `zerotrust-admin restore --user P`.",
    ),
    "cross_site_blocked": (
        _TRACE,
        "Many of them with a foreign `Origin` are somebody's web page that tries to use your users' tickets: nothing was issued.",
    ),
    "not_found": (_CLIENT,),
    "method_not_allowed": (_CLIENT,),
    "secret_not_found": (
        _TRACE,
        "See what is there: `zerotrust-admin secrets list`; what a rule gives: `zerotrust-admin policy explain`.",
    ),
    "version_conflict": ("Two writers; `zerotrust-admin secrets versions PATH` shows what came between.",),
    "too_large": (_CLIENT,),
    "unsupported_media_type": (_CLIENT,),
    "host_not_allowed": (
        "Users reach the broker by a name that is not in `server.hostnames`. Add it there and to the keytab, or correct DNS.",
    ),
    "rate_limited": (
        "`server.rate_limit` is what counts. The metric `broker_http_responses_total` says how many were answered with 429.",
        "Behind a proxy, all users share one address until `server.trusted_proxies` names the proxy.",
    ),
    "headers_too_large": (
        "A ticket lists all groups of its user. Have the KDC leave them out for this service, or turn delegation off for it.",
    ),
    "internal_error": (
        "The log has the trace: `journalctl ZEROTRUST_REQUEST_ID=ID`, or a search for the id.",
        "It is a defect: report it, as SECURITY.md says if it could be used by somebody.",
    ),
    "sts_rejected": (
        _TRACE,
        "The record's `sts` names the hop and what AWS said. Compare with `zerotrust-admin trust-policy ROLE`.",
        "A hop without an account of `aws.allowed_accounts`, or an answer for another role, is refused here as well.",
    ),
    "sts_unavailable": (
        _READY,
        "`sts_budget`: more is asked than `aws.sts_rate` lets through. `no_base_credentials`: the broker's own keys have ended.",
        "Name a second region in `aws.failover`: it is asked when the first one fails.",
    ),
    "sts_timeout": (_READY, "Try the way out: `curl -sS https://sts.REGION.amazonaws.com/` from the broker's host."),
    "secrets_rejected": (_TRACE, "The vault refused the broker's own login or policy: compare with docs/vaults.md."),
    "secrets_unavailable": (_READY, "Is the vault sealed, full, or not reachable?"),
    "keys_unavailable": (
        "See which key, and why: `zerotrust-admin keys status`.",
        "An HSM or a KMS that is away is asked again by itself; what is cached is served until then.",
    ),
    "audit_unavailable": (
        _READY,
        "Disk: `df -h /var/log/zerotrust && df -i /var/log/zerotrust`. Nothing has to be restarted once there is room.",
        "A required sink that does not answer has the same effect: its name stands in /readyz.",
    ),
    "replay_guard_unavailable": (_READY, _REDIS, "Sessions and job passes that were made before go on."),
    "passes_unavailable": (_READY, _REDIS),
    "revocations_unavailable": (
        "The revocation is not on this host's disk: `df -h /var/lib/zerotrust`, and its owner and mode.",
        "Repeat `zerotrust-admin revoke-sessions` until it succeeds.",
    ),
    "approvals_unavailable": (_READY, _REDIS),
    "directory_unavailable": (
        _READY,
        "Try it: `ldapsearch -H ldaps://DIRECTORY -Y GSSAPI -b BASE -s base` as the broker.",
    ),
    "overloaded": (
        "More wait for AWS than may: `aws.sts_rate`, or more instances. docs/scaling.md has the numbers.",
        "After a restart without Redis everybody's credentials are fetched anew; it passes.",
    ),
    "draining": (
        "Somebody stops or restarts it: `systemctl status 'zerotrust-broker*'`. It takes ten seconds at most.",
    ),
}
