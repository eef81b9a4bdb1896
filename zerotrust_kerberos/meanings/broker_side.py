"""Codes that the broker says. What exactly was wrong stands in its audit log, under the request id that the line names."""

from __future__ import annotations

from zerotrust_kerberos.meanings.meaning import Meaning

_ID = "Tell the broker's administrator the request id of the line: `zerotrust-admin audit trace ID` finds the reason."
_AGAIN = "Try again in a moment: it goes by itself as a rule."

MEANINGS = {
    "bad_request": Meaning(
        "The broker did not understand what was asked, or not in this state of things.",
        why=(
            "A role, scope, duration or id is written in a way that cannot be.",
            "What was asked for is over, or was done already: the line says so.",
            "This program is much older or newer than the broker.",
        ),
        do=(
            "Follow the words in quotation marks: they are the broker's.",
            "See the names there are: `zerotrust roles`.",
        ),
    ),
    "auth_required": Meaning(
        "The broker saw no ticket in the request.",
        why=("A proxy in between took the header Authorization away.", "A session has ended."),
        do=(
            "Sign in: `zerotrust login`.",
            "Go past the proxy: the broker has to be reached as it is named in `broker_url`.",
        ),
    ),
    "auth_failed": Meaning(
        "The broker looked at your ticket and did not accept it. It does not say why: that is in its audit log.",
        why=(
            "The ticket is for a key that the broker no longer has: its keytab was made anew.",
            "The clocks differ by more than five minutes.",
            "Your account is of a kind that never gets in, or the ticket was made in your name by a service.",
            "Your sessions were ended by an operator.",
        ),
        do=("Get a fresh ticket: `zerotrust login`.", _ID),
    ),
    "signature_refused": Meaning(
        "Operators' requests have to be signed at this broker, and this signature was not accepted.",
        why=(
            "No signing key is named, or its public half is not registered for you.",
            "The clock is wrong by more than a minute.",
        ),
        do=("Name your key: `export ZEROTRUST_ADMIN_SIGNING_KEY=/path/to/key.pem`.", _ID),
    ),
    "access_denied": Meaning(
        "The broker knows you, and no rule gives you this.",
        why=(
            "You may not have the role, or there is none of this name: the broker answers both alike.",
            "You are not in the group that the rule names; new groups count from the next ticket on.",
            "The rule is for other networks than the one you come from.",
            "You asked for a job pass (`--pass`), and your rule allows none (`job_passes`): the role itself you may have.",
            "You approved or reviewed what is your own.",
        ),
        do=(
            "See what you may have: `zerotrust roles`.",
            "Ask what stands in between: `zerotrust explain ROLE`.",
            "Were you added to a group lately: `zerotrust login`.",
            _ID,
        ),
    ),
    "step_up_required": Meaning(
        "You may have this, but not with this ticket: the rule asks for a stronger or fresher sign-in.",
        why=(
            "The rule asks for a smart card or certificate (pkinit), a one-time password (otp), or FAST (hardened).",
            "The rule asks for a sign-in that is minutes old, and yours is hours old; renewing does not make it younger.",
            "Something unusual was seen, and a ticket from after that is wanted.",
        ),
        do=(
            "Sign in as the role asks: `zerotrust login --step-up ROLE`.",
            "See what that is: `zerotrust explain ROLE`.",
        ),
    ),
    "approval_required": Meaning(
        "You may have this once you have said why, or once others have agreed.",
        why=(
            "The rule asks for a reason, of a certain form as it may be (INC-1234).",
            "The rule asks for others' approval, and no time box is open for you, or it has ended.",
            "Something unusual was seen, and an operator has to look at it first.",
        ),
        do=(
            "Ask what is needed: `zerotrust explain ROLE`.",
            "Say why: `zerotrust credential-process --role ROLE --reason 'INC-1234: disk full'`, or set ZEROTRUST_REASON.",
            "Ask others: `zerotrust request --role ROLE --reason TEXT`, and send its id to one of them.",
        ),
    ),
    "revoked": Meaning(
        "Your access has been taken away. Asking again changes nothing.",
        why=("An operator revoked it, because an account was lost, a laptop was, or somebody left.",),
        do=("Ask the broker's administrator; they can restore it: `zerotrust-admin restore --user NAME@REALM`.",),
    ),
    "cross_site_blocked": Meaning(
        "The request looked as if another web page had sent it, so the broker did not even ask who you are.",
        why=(
            "A proxy in between removed the header X-Zerotrust-Request.",
            "A program of your own sends POST, PUT or DELETE without it.",
        ),
        do=("Send `X-Zerotrust-Request: 1`; this program always does.", "Go past the proxy."),
    ),
    "not_found": Meaning(
        "There is nothing of this name for you.",
        why=(
            "An id is mistyped, has ended, or is somebody else's: the broker answers all three alike.",
            "The broker is older than this program and has no such address.",
        ),
        do=("See what there is: `zerotrust requests`, `zerotrust roles`.",),
    ),
    "method_not_allowed": Meaning(
        "The address exists, but does not take this kind of request.",
        why=("The broker is much older or newer than this program.", "Something else answers at this address."),
        do=("Compare versions: `zerotrust version`, `zerotrust-broker version`.",),
    ),
    "too_large": Meaning(
        "The broker reads no request of this size.",
        why=("A reason, a list of networks or a secret is longer than it may be.",),
        do=("Send less: the line says how much may be sent.",),
    ),
    "unsupported_media_type": Meaning(
        "The body of the request was not JSON when it arrived.",
        why=("A proxy in between changed Content-Type, or compressed the body.",),
        do=("Go past the proxy: `curl -v https://broker.example.com:8443/healthz` shows what is in between.",),
    ),
    "host_not_allowed": Meaning(
        "The broker is not called what `broker_url` calls it.",
        why=("The setting `broker_url` has an alias, an address or a name that is not in its server.hostnames.",),
        do=(
            "Write the broker's own name into `broker_url`.",
            "Or let its administrator add this one to server.hostnames.",
        ),
    ),
    "rate_limited": Meaning(
        "You, or your address, asked more often than the broker allows.",
        why=(
            "Something asks in a loop: a program that does not keep its credentials, a script without a pause.",
            "Many programs start at the same time, and each asks for itself.",
        ),
        do=("Wait as long as the line says.", "Let programs share one answer instead of each asking anew."),
    ),
    "headers_too_large": Meaning(
        "Your ticket is larger than the broker reads.",
        why=(
            "You are in very many groups, and the ticket lists them.",
            "The ticket carries a delegated one inside it.",
        ),
        do=("See the ticket: `klist -ef`; a forwarded or delegated one is larger.", _ID),
    ),
    "internal_error": Meaning(
        "The broker failed at something that it did not expect. Nothing was handed out.",
        why=("It is a fault of the broker, not yours.",),
        do=(_AGAIN, _ID),
    ),
    "sts_rejected": Meaning(
        "AWS refused to hand out the role to the broker, or its answer could not be right.",
        why=(
            "The role's trust policy does not name the broker's role, or asks for another external ID.",
            "The role does not exist, or the account is suspended.",
            "A scope or tag of the role is one that AWS does not take.",
        ),
        do=("Try another role: `zerotrust roles`.", _ID),
    ),
    "sts_unavailable": Meaning(
        "AWS does not serve the broker at the moment.",
        why=("AWS throttles, or has an outage in its region.", "The broker has no way out to AWS."),
        do=(_AGAIN, "Credentials that you already have stay good until they end."),
    ),
    "sts_timeout": Meaning(
        "AWS did not answer the broker in time.",
        why=("The network between the broker and AWS is slow or broken.",),
        do=(_AGAIN,),
    ),
    "audit_unavailable": Meaning(
        "The broker cannot write its audit log, and hands out nothing that is not on record.",
        why=("Its disk is full or broken.", "Those who have to hold the records first do not answer."),
        do=("Tell the broker's administrator: `zerotrust-admin doctor` on its host says what is wrong.",),
    ),
    "replay_guard_unavailable": Meaning(
        "The broker cannot check whether a ticket was used before, and takes none until it can.",
        why=("Redis, where its instances share that, does not answer.",),
        do=(_AGAIN, "Tell the broker's administrator if it lasts."),
    ),
    "passes_unavailable": Meaning(
        "The broker cannot check whether a job pass was cancelled, and takes none until it can.",
        why=("Redis, where its instances share that, does not answer.",),
        do=(_AGAIN, "With a ticket, ask without the pass."),
    ),
    "secret_not_found": Meaning(
        "There is no such secret, or none that you may know of.",
        why=("The path or the field is mistyped.", "It was deleted, or no rule gives it to you."),
        do=("Compare the path with what its owner says; `#FIELD` names one of its fields.", _ID),
    ),
    "version_conflict": Meaning(
        "The secret was changed by somebody else since you read it. Nothing was written.",
        why=("Two people, or two jobs, change it at the same time.",),
        do=("Read it again, and decide anew.",),
    ),
    "secrets_unavailable": Meaning(
        "The vault behind the broker does not answer.",
        why=("The vault is down, sealed, or not reachable from the broker.",),
        do=(_AGAIN, "Tell the broker's administrator if it lasts."),
    ),
    "secrets_rejected": Meaning(
        "The vault behind the broker refused the broker's own login, or what it asked for.",
        why=("The broker's account in the vault has ended, or may not read this path.",),
        do=(_ID,),
    ),
    "keys_unavailable": Meaning(
        "The broker's own keys cannot be used now, so nothing can be opened or sealed.",
        why=("The HSM, or the service that holds the master key, does not answer.",),
        do=("Tell the broker's administrator: `zerotrust-admin keys status` says which key it is.",),
    ),
    "revocations_unavailable": Meaning(
        "The broker cannot write a revocation down. Do not rely on it yet.",
        why=("The disk of its state is full or broken.",),
        do=("Repeat it until it succeeds.", "Tell the broker's administrator."),
    ),
    "directory_unavailable": Meaning(
        "The broker cannot ask the directory which groups you are in, and a rule for a group decides here.",
        why=("The directory (LDAP) does not answer the broker.",),
        do=(_AGAIN, "Tell the broker's administrator if it lasts."),
    ),
    "approvals_unavailable": Meaning(
        "The broker cannot look up which time boxes are open, and opens nothing on a guess.",
        why=("Redis, where its instances share that, does not answer.",),
        do=(
            _AGAIN,
            "In an emergency, where a rule provides for it: `zerotrust request --role ROLE --break-glass --reason TEXT`.",
        ),
    ),
    "overloaded": Meaning(
        "The broker has as much to do as it takes on, and answers some later rather than all late.",
        why=("Many ask at the same time.",),
        do=("Wait as long as the line says, then try again.",),
    ),
    "draining": Meaning(
        "The broker is going down, for an update as a rule, and takes nothing new.",
        why=("Somebody restarts or stops it.",),
        do=(_AGAIN, "Where there are several instances, another one answers the next time."),
    ),
}
