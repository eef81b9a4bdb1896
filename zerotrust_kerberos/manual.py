"""What the commands do, in words, for help, completion and manual pages."""

from __future__ import annotations

from zerotrust_kerberos import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from zerotrust_kerberos.commands import Call

USAGE = """\
usage: zerotrust COMMAND [OPTIONS]

  credential-process --role R [--scope S] [--reason TEXT]
                                print credentials for R, limited to S, for credential_process of ~/.aws/config
  request --role R --reason TEXT [--scope S] [--duration 30m] [--json]
                                ask others to approve a time box for R
  roles [--json]                print the roles you may have, one a line
  whoami [--json]               print who you are to the broker
  exec --secret NAME=PATH[#FIELD] ... [--mask RUNNER] -- COMMAND [WORDS]
                                become COMMAND, with secrets in its environment and nowhere else
  fetch --to DIR [--renew 5m] [--disk] [--mask RUNNER] [NAME=]PATH[#FIELD] ...
                                write secrets to files in DIR, which must be in memory (or --disk); --renew: stay and do it again
  version                       print the version
  help                          print this

options of the first six:
  --broker URL     https://HOST[:PORT], http://HOST[:PORT] (this machine only) or unix:/PATH
  --ca-file FILE   certificates to trust instead of the system's
  --timeout S      seconds for everything together, at most 10
  --mask RUNNER    github, gitlab or azure: first tell the pipeline's log which values to hide

Settings come from options, then from ZEROTRUST_BROKER_URL, ZEROTRUST_CA_FILE, ZEROTRUST_ROLE, ZEROTRUST_TIMEOUT,
ZEROTRUST_HOST, ZEROTRUST_SPN and (in no file) ZEROTRUST_REASON, then from $XDG_CONFIG_HOME/zerotrust/config.toml, then from
/etc/zerotrust/client.toml.

exit status: 0 done, 1 other, 2 usage or settings, 3 no or expired ticket, 4 denied, 5 broker unreachable or TLS,
6 AWS refused, 7 approval or step-up needed, 8 throttled, 9 clock skew, 130 interrupted
"""


def version(_call: Call) -> str:
    """``zerotrust 0.1.0``."""
    return f"zerotrust {__version__}"


def help_command(_call: Call) -> str:
    """Everything about everything."""
    return USAGE.rstrip("\n")
