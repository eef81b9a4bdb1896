"""The standards as tables: which controls of each the broker has evidence for, and which it cannot have any for.

Numbers are the standards'; the words are ours, short, for finding one's way: the standards' own text counts. What stands here is
what a credential broker can show; the rest of each standard is the organisation's, and the report says so on its first page.

Sources: AICPA Trust Services Criteria 2017 (points of focus revised 2022); PCI DSS 4.0.1; 45 CFR part 164 (HIPAA Security and
Breach Notification Rules); Regulation (EU) 2016/679; NIST SP 800-53 Rev. 5 as FedRAMP's moderate baseline selects it.
"""

from __future__ import annotations

from dataclasses import dataclass

from broker.reports import checks
from broker.reports.checks import Check


@dataclass(frozen=True, slots=True)
class Control:
    """A control: by what it is shown, all of which must hold, and what of it nothing here can show (``beyond``)."""

    number: str
    title: str
    checks: tuple[Check, ...] = ()
    beyond: str | None = None


@dataclass(frozen=True, slots=True)
class Standard:
    """A standard by its own name, and its controls in its order."""

    title: str
    controls: tuple[Control, ...]


_SOC2 = Standard(
    "SOC 2 (Trust Services Criteria)",
    (
        Control(
            "CC6.1",
            "Logical access to protected assets",
            (checks.named_users, checks.encrypted_at_rest, checks.key_ages),
        ),
        Control(
            "CC6.2",
            "Access is given and withdrawn with the person",
            (checks.revocable,),
            "Who joins and leaves is decided at the KDC.",
        ),
        Control("CC6.3", "Roles, least privilege, segregation of duties", (checks.least_privilege, checks.approvals)),
        Control("CC6.4", "Physical access", beyond="The broker sees no doors."),
        Control(
            "CC6.6",
            "Protection against threats from outside",
            (checks.stronger_than_a_password, checks.replay, checks.brute_force),
        ),
        Control("CC6.7", "Data on the way", (checks.encrypted_in_transit, checks.short_lived)),
        Control("CC6.8", "Unauthorised software", beyond="What runs on the broker's host is yours to control."),
        Control("CC7.1", "Changes that open doors are found", (checks.changes, checks.nothing_alarming)),
        Control("CC7.2", "Anomalies are monitored", (checks.recorded, checks.untampered, checks.watched)),
        Control("CC7.3", "Events are evaluated", (checks.nothing_alarming, checks.told)),
        Control("CC7.4", "Incidents are answered", (checks.revocable, checks.told)),
        Control("CC7.5", "Recovery from incidents", (checks.restorable,)),
        Control("CC8.1", "Change management", (checks.changes,), "Approval of a change before it is made is yours."),
        Control("A1.2", "Backup", (checks.copied_elsewhere,)),
        Control("A1.3", "Recovery is tested", (checks.restorable, checks.secrets_restorable)),
        Control(
            "C1.1", "Confidential information is protected", (checks.encrypted_at_rest, checks.encrypted_in_transit)
        ),
        Control(
            "CC1-CC5", "Control environment, communication, risk, monitoring", beyond="Questions to the organisation."
        ),
    ),
)

_PCI_DSS = Standard(
    "PCI DSS 4.0.1",
    (
        Control("2.2.7", "Administrative access is encrypted", (checks.encrypted_in_transit,)),
        Control("3.6.1", "Keys are protected", (checks.encrypted_at_rest,)),
        Control("3.7.4", "Keys change at the end of their cryptoperiod", (checks.key_ages,)),
        Control("4.2.1", "Strong cryptography on open networks", (checks.encrypted_in_transit,)),
        Control("7.2.1", "Access by need", (checks.least_privilege, checks.accounts_limited)),
        Control(
            "7.2.4",
            "Access is reviewed every six months",
            (checks.named_users,),
            "The list of who was given what is in this report; reviewing it is yours.",
        ),
        Control("8.2.1", "Every user has an identity of their own", (checks.named_users,)),
        Control("8.2.5", "Access of those who left is withdrawn at once", (checks.revocable,)),
        Control(
            "8.2.8",
            "Idle sessions end",
            (checks.sessions_end,),
            "Sessions end at a fixed time, not after 15 idle minutes.",
        ),
        Control("8.3.4", "Guessing is limited", (checks.brute_force,), "Passwords are checked by the KDC."),
        Control("8.4.2", "More than one factor", (checks.stronger_than_a_password,)),
        Control("8.5.1", "Authentication withstands replay", (checks.replay,)),
        Control("8.6.1", "System accounts", beyond="Which principals are machines is known at the KDC."),
        Control("10.2.1", "Audit logs are active", (checks.recorded,)),
        Control("10.2.1.2", "Actions of administrators", (checks.recorded, checks.strong_operators)),
        Control("10.2.1.4", "Invalid access attempts", (checks.denials,)),
        Control("10.2.2", "What a log entry says", (checks.record_contents,)),
        Control("10.3.2", "Logs cannot be altered", (checks.untampered,)),
        Control("10.3.3", "Logs are backed up elsewhere", (checks.copied_elsewhere,)),
        Control("10.3.4", "Changes of logs are found", (checks.untampered,)),
        Control("10.4.1.1", "Logs are reviewed by machine", (checks.watched,)),
        Control("10.5.1", "Logs of twelve months", (checks.kept,)),
        Control("10.6.1", "Clocks are synchronised", (checks.clocks,)),
        Control("10.7.2", "Failure of a control is answered", (checks.told,)),
        Control("12.10.1", "Incidents are answered", (checks.revocable, checks.told), "The plan itself is yours."),
        Control(
            "1, 5, 6, 9, 11", "Networks, malware, software, doors, testing", beyond="Questions to the organisation."
        ),
    ),
)

_HIPAA = Standard(
    "HIPAA Security and Breach Notification Rules (45 CFR 164)",
    (
        Control("164.308(a)(1)(ii)(D)", "Activity is reviewed", (checks.recorded, checks.watched)),
        Control("164.308(a)(3)(ii)(C)", "Access ends with employment", (checks.revocable,)),
        Control("164.308(a)(4)", "Access is authorised", (checks.least_privilege,)),
        Control("164.308(a)(5)(ii)(C)", "Log-ins are monitored", (checks.denials,)),
        Control("164.308(a)(6)(ii)", "Incidents are answered and documented", (checks.told, checks.revocable)),
        Control("164.308(a)(7)(ii)(A)", "Backup", (checks.copied_elsewhere,)),
        Control("164.308(a)(7)(ii)(D)", "Recovery is tested", (checks.restorable, checks.secrets_restorable)),
        Control("164.310", "Physical safeguards", beyond="The broker sees no doors."),
        Control("164.312(a)(2)(i)", "Every user has an identity of their own", (checks.named_users,)),
        Control("164.312(a)(2)(ii)", "Emergency access", (checks.emergency_access,)),
        Control("164.312(a)(2)(iii)", "Automatic logoff", (checks.sessions_end, checks.short_lived)),
        Control("164.312(a)(2)(iv)", "Encryption at rest", (checks.encrypted_at_rest,)),
        Control("164.312(b)", "Audit controls", (checks.recorded, checks.record_contents)),
        Control("164.312(c)(1)", "Integrity", (checks.untampered,)),
        Control("164.312(d)", "Who somebody is, is proven", (checks.named_users, checks.replay)),
        Control("164.312(e)(1)", "Security on the way", (checks.encrypted_in_transit,)),
        Control("164.316(b)(2)(i)", "Documents are kept six years", beyond="The archive of this log is yours."),
        Control(
            "164.410", "Notification of a breach", (checks.told,), "Whether something is a breach is decided by people."
        ),
    ),
)

_GDPR = Standard(
    "GDPR (Regulation (EU) 2016/679)",
    (
        Control(
            "5(1)(c)",
            "Data minimisation",
            beyond="Records name principals and addresses: whether all of it is needed is yours to say.",
        ),
        Control(
            "5(1)(e)",
            "Storage limitation",
            beyond="Records are never deleted by the broker: how long the archive lasts is yours.",
        ),
        Control(
            "5(1)(f)",
            "Integrity and confidentiality",
            (checks.encrypted_in_transit, checks.encrypted_at_rest, checks.untampered),
        ),
        Control("5(2)", "Accountability", (checks.recorded, checks.record_contents)),
        Control("25", "Protection by design and by default", (checks.least_privilege, checks.short_lived)),
        Control("28, 30", "Processors, record of processing", beyond="Questions to the organisation."),
        Control("32(1)(a)", "Encryption", (checks.encrypted_at_rest, checks.encrypted_in_transit, checks.key_ages)),
        Control("32(1)(b)", "Lasting confidentiality, integrity, availability", (checks.untampered, checks.revocable)),
        Control("32(1)(c)", "Access is restored after an incident", (checks.restorable,)),
        Control("32(1)(d)", "Measures are tested", (checks.nothing_alarming, checks.restorable)),
        Control("32(4)", "Access on instruction only", (checks.least_privilege, checks.approvals)),
        Control(
            "33(1)",
            "A breach is notified within 72 hours",
            (checks.watched, checks.told),
            "The authority is told by people.",
        ),
        Control("33(5)", "Breaches are documented", (checks.recorded,)),
    ),
)

_FEDRAMP = Standard(
    "FedRAMP (NIST SP 800-53 Rev. 5, moderate)",
    (
        Control("AC-2", "Accounts", (checks.named_users,), "Accounts are made and closed at the KDC."),
        Control("AC-2(13)", "Accounts of those who are a risk are disabled", (checks.revocable,)),
        Control("AC-3", "Access is enforced", (checks.least_privilege, checks.recorded)),
        Control("AC-5", "Separation of duties", (checks.approvals,)),
        Control("AC-6", "Least privilege", (checks.least_privilege, checks.accounts_limited)),
        Control("AC-6(9)", "Use of privileges is logged", (checks.recorded,)),
        Control("AC-7", "Failed attempts", (checks.denials, checks.brute_force)),
        Control("AC-12", "Sessions end", (checks.sessions_end, checks.short_lived)),
        Control("AC-17(2)", "Remote access is encrypted", (checks.encrypted_in_transit,)),
        Control("AU-2", "Events are logged", (checks.recorded, checks.denials)),
        Control("AU-3", "What a record says", (checks.record_contents,)),
        Control("AU-5", "Failure of logging is answered", (checks.recorded, checks.told)),
        Control("AU-6", "Records are reviewed", (checks.watched,)),
        Control("AU-8", "Time stamps", (checks.clocks,)),
        Control("AU-9", "Records are protected", (checks.untampered,)),
        Control("AU-9(2)", "Records are stored elsewhere", (checks.copied_elsewhere,)),
        Control("AU-9(3)", "Records are protected by cryptography", (checks.untampered,)),
        Control("AU-10", "Nobody can deny", (checks.named_users, checks.untampered)),
        Control("AU-11", "Records are kept", (checks.kept,)),
        Control(
            "CM-3", "Changes are controlled", (checks.changes,), "Approval of a change before it is made is yours."
        ),
        Control("CP-4", "Recovery is tested", (checks.restorable, checks.secrets_restorable)),
        Control("CP-9", "Backup", (checks.copied_elsewhere,)),
        Control("IA-2(1)", "More than one factor", (checks.stronger_than_a_password, checks.strong_operators)),
        Control("IA-2(8)", "Authentication withstands replay", (checks.replay,)),
        Control("IA-5", "Authenticators", (checks.no_keys_at_rest, checks.key_ages)),
        Control("IR-4", "Incidents are handled", (checks.revocable,)),
        Control("IR-6", "Incidents are reported", (checks.told,)),
        Control("SC-7", "Boundary", (checks.boundary,)),
        Control("SC-8(1)", "Encryption on the way", (checks.encrypted_in_transit,)),
        Control("SC-12", "Keys are managed", (checks.key_ages,)),
        Control(
            "SC-13",
            "Validated cryptography",
            beyond="The library in use is OpenSSL as Python ships it: no FIPS 140 validation is claimed.",
        ),
        Control("SC-23", "Sessions are authentic", (checks.replay,)),
        Control("SC-28(1)", "Encryption at rest", (checks.encrypted_at_rest,)),
        Control("SI-4", "The system is monitored", (checks.watched, checks.nothing_alarming)),
        Control(
            "AT, CA, MA, MP, PE, PL, PS, RA, SA",
            "Families about people, places and plans",
            beyond="Questions to the organisation.",
        ),
    ),
)

STANDARDS = {"soc2": _SOC2, "pci-dss": _PCI_DSS, "hipaa": _HIPAA, "gdpr": _GDPR, "fedramp": _FEDRAMP}
