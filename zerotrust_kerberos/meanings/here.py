"""Codes of what is found out on the user's side."""

from __future__ import annotations

from zerotrust_kerberos.meanings.meaning import Meaning

MEANINGS = {
    "usage": Meaning(
        "The command line was not understood, so nothing was asked of anybody.",
        why=(
            "A command, an option or a name is misspelt, or a word is missing: the line says which.",
            "A word with blanks or with characters of the shell stands without quotes.",
        ),
        do=("Read `zerotrust help COMMAND`: it lists the options and has examples.",),
    ),
    "configuration": Meaning(
        "The settings do not say where the broker is, or say it in a way that cannot be right. The broker was not asked.",
        why=(
            "The setting `broker_url` is not set anywhere: no --broker, no ZEROTRUST_BROKER_URL, no file.",
            "A file has a key that does not exist, or a value of another kind: the line names file and key.",
            "The scheme `http://` is written for a broker on another machine: credentials would cross the network in the clear.",
        ),
        do=(
            "Say where the broker is: `export ZEROTRUST_BROKER_URL=https://broker.example.com:8443`.",
            "For good, write `broker_url` into ~/.config/zerotrust/config.toml; for everybody, into /etc/zerotrust/client.toml.",
        ),
    ),
    "kerberos_missing": Meaning(
        "This machine has no GSS-API library, so no ticket can be used.",
        why=("The system's Kerberos is not installed (libgssapi_krb5.so.2).",),
        do=("Install it: `apt-get install krb5-user`, or `dnf install krb5-workstation`.",),
    ),
    "no_ticket": Meaning(
        "There is no Kerberos ticket where one is looked for.",
        why=(
            "You have not signed in since this machine started, or the ticket was destroyed.",
            "The program runs as another user, or with another KRB5CCNAME: sudo, cron, a container, a service.",
        ),
        do=(
            "Look what is there: `klist`.",
            "Sign in: `zerotrust login`.",
            "A job without anybody at the keyboard needs a keytab or a job pass.",
        ),
    ),
    "ticket_expired": Meaning(
        "The Kerberos ticket has ended.",
        why=(
            "Tickets live some hours, ten as a rule.",
            "The machine slept over the ticket's end.",
        ),
        do=(
            "See when it ended: `klist`.",
            "Sign in again: `zerotrust login`. Where tickets are renewable, `kinit -R` does before they end.",
        ),
    ),
    "login_failed": Meaning(
        "The KDC gave no ticket. What it said stands in the line before, as kinit has it.",
        why=(
            "The password or the code was wrong, or the code was used before.",
            "Principal or realm is misspelt, or the account is locked or has ended.",
            "For a one-time password there was no armor: no ticket of your own, no anonymous one, no keytab.",
            "The certificate was not found, or its authority is not known to the KDC or to this machine.",
        ),
        do=(
            "See the whole exchange: `KRB5_TRACE=/dev/stderr zerotrust login`.",
            "For a one-time password, get a ticket by password first, or name a keytab with --armor-keytab.",
        ),
    ),
    "login_weaker": Meaning(
        "A ticket came, but the KDC was content with another proof than the one you asked for.",
        why=(
            "Your account has no certificate or token at the KDC.",
            "The certificate was not found: krb5.conf names none (pkinit_identities), and --identity was not given.",
        ),
        do=("See how it was got: `klist -C` (pa_type 16 is a certificate, 141 a code, the others are passwords).",),
    ),
    "logout_failed": Meaning(
        "The tickets could not be destroyed.",
        why=("The cache belongs to somebody else, or its file or service is gone wrong.",),
        do=("See where it is: `klist`.", "Destroy all that there are: `kdestroy -A`."),
    ),
    "kdc_unreachable": Meaning(
        "No KDC of the realm answered in time, so there is no ticket for the broker. The broker was not asked.",
        why=(
            "The network is away, or a VPN is.",
            "The file krb5.conf names no KDC of this realm, or old ones, and DNS names none.",
            "A firewall drops port 88 (UDP or TCP).",
        ),
        do=(
            "See whom the library asks: `KRB5_TRACE=/dev/stderr zerotrust login`.",
            "Compare the `[realms]` of /etc/krb5.conf with what your Kerberos administrator says.",
        ),
    ),
    "service_unknown": Meaning(
        "The KDC knows no service of the name that was asked for. For the host of `broker_url` that is HTTP/HOST.",
        why=(
            "The setting `broker_url` has an alias, an address or a short name instead of the broker's own name.",
            "The host belongs to another realm, and `[domain_realm]` of krb5.conf does not say so.",
            "The broker's principal was never made.",
        ),
        do=(
            "Write the full name of the broker into `broker_url`; it has to be one of its server.hostnames.",
            "Ask the KDC yourself: `kvno HTTP/broker.example.com`.",
        ),
    ),
    "clock_skew": Meaning(
        "This machine's clock and the KDC's or the broker's differ by more than five minutes. Kerberos takes no such ticket.",
        why=(
            "This machine keeps no time: no NTP, a suspended virtual machine, an empty battery.",
            "More rarely it is the broker's clock that is wrong: then everybody fails.",
        ),
        do=(
            "See what this machine thinks: `timedatectl`.",
            "Let it keep time: `sudo timedatectl set-ntp true`, then `zerotrust login`.",
        ),
    ),
    "kerberos_failed": Meaning(
        "The Kerberos library gave no ticket for the broker. The reason has no code here; the line has the library's words.",
        why=(
            "The ticket cache cannot be read or written.",
            "The realms do not trust each other, or not in this direction.",
            "The KDC's policy gives this user no ticket for the service.",
        ),
        do=("Watch the library: `KRB5_TRACE=/dev/stderr kvno HTTP/broker.example.com`.",),
    ),
    "mutual_auth_failed": Meaning(
        "Whoever answered did not prove to be the broker, so the answer was thrown away. Nothing of it was used.",
        why=(
            "A proxy or a load balancer answered in the broker's place, or took the header WWW-Authenticate away.",
            "Two brokers behind one name have different keytabs.",
            "Somebody pretends to be the broker.",
        ),
        do=(
            "Look at what answers: `curl -v --negotiate -u : https://broker.example.com:8443/v1/whoami`.",
            "If that is no proxy of yours, tell the broker's administrator before you try again.",
        ),
    ),
    "broker_unreachable": Meaning(
        "There is no connection to the broker.",
        why=(
            "The network or a VPN is away, or a firewall is in between.",
            "The setting `broker_url` has another host or port than the broker.",
            "The broker does not run, or the socket of unix: is not there.",
        ),
        do=(
            "Try it without a ticket: `curl https://broker.example.com:8443/healthz`.",
            "See what is set: `env | grep ZEROTRUST_`, and the files that `zerotrust help` names.",
        ),
    ),
    "tls_untrusted": Meaning(
        "The certificate at the broker's address is not one that this machine trusts. No ticket was sent.",
        why=(
            "The broker's certificate comes from your organisation's own authority, which this machine does not know.",
            "The certificate has ended, or is for another name than that of `broker_url`.",
            "Somebody sits in between.",
        ),
        do=(
            "Name the authority's certificate: `export ZEROTRUST_CA_FILE=/path/to/ca.pem`, or ca_file in a settings file.",
            "Look at the certificate: `openssl s_client -connect broker.example.com:8443 </dev/null`.",
        ),
    ),
    "tls_failed": Meaning(
        "A connection was made, but no TLS came of it.",
        why=(
            "Something else than a broker listens at that port, or it speaks plain HTTP.",
            "The two sides have no version or cipher in common.",
            "The connection was cut.",
        ),
        do=("Look closer: `openssl s_client -connect broker.example.com:8443 </dev/null`.",),
    ),
    "broker_timeout": Meaning(
        "A connection was made, but the broker did not answer in time (ten seconds at most, or --timeout).",
        why=(
            "The broker, or AWS behind it, is slow.",
            "A proxy on the way holds the answer back.",
        ),
        do=(
            "See whether it lives: `curl https://broker.example.com:8443/readyz`, which names what it waits for.",
            "Try again.",
        ),
    ),
    "unexpected_answer": Meaning(
        "An answer came, but not one that a broker gives. Nothing of it was used.",
        why=(
            "Something else answers at this address: a proxy's page, another service.",
            "The broker is much older or newer than this program.",
        ),
        do=(
            "Look at it: `curl -v https://broker.example.com:8443/healthz`.",
            "Compare versions: `zerotrust version`, `zerotrust-broker version`.",
        ),
    ),
    "output_failed": Meaning(
        "What was asked for could not be written: stdout is closed, or what it leads to is full or gone.",
        why=("A pipe's other end has ended.", "The disk is full, or the file cannot be written."),
        do=("Run it on a terminal to see it, or check where it goes: `df .`.",),
    ),
    "no_browser": Meaning(
        "There is no browser to be started here, or the one that was started never came for the page.",
        why=(
            "This is a session without a screen: ssh, a container.",
            "The variable BROWSER names a program that is not there, or the desktop has none to open pages with.",
            "The browser belongs to another user; nobody but you is given the page.",
        ),
        do=(
            "Print the URL and open it where the browser is: `zerotrust console ROLE --print`. It is as good as a password.",
        ),
    ),
    "interrupted": Meaning(
        "You ended it with Ctrl-C.",
        why=("The command was waiting: for a KDC, a name or the broker.",),
        do=("Run it again. `--timeout 3` makes it give up earlier by itself.",),
    ),
}
