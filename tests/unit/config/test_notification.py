"""`security.breach_notification`: the guide's YAML as it is printed, the defaults, and what would tell nobody or everybody."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.config.model import Settings
from broker.config.notification import BreachNotification
from tests.unit.config.conftest import MINIMAL, Host

GUIDE = """\
security:
  breach_notification:
    enabled: true
    channels:
      - email:
          recipients:
            - security@example.com
      - slack:
          webhook_url: https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX
      - pagerduty:
          integration_key: XXXXXXXXXXXXXXXXXXXXXXXX
"""


def notification(settings: Settings) -> BreachNotification:
    assert settings.security is not None
    assert settings.security.breach_notification is not None
    return settings.security.breach_notification


def channel(text: str) -> str:
    return MINIMAL + "security: {breach_notification: {channels: [" + text + "]}}\n"


def test_the_guides_yaml_works_as_it_is_printed(host: Host) -> None:
    found = notification(host.load(MINIMAL + GUIDE))
    assert found.enabled
    email, slack, pagerduty = found.channels
    assert [entry.kind for entry in found.channels] == ["email", "slack", "pagerduty"]
    assert email.email is not None
    assert email.email.recipients == ("security@example.com",)
    assert (email.email.smtp.host, email.email.smtp.port_number, email.email.smtp.tls) == ("localhost", 25, "none")
    assert slack.slack is not None
    assert slack.slack.webhook_url.reveal().endswith("/XXXXXXXXXXXXXXXXXXXXXXXX")
    assert pagerduty.pagerduty is not None
    assert pagerduty.pagerduty.url.reveal() == "https://events.pagerduty.com/v2/enqueue"
    assert {entry.min_severity for entry in (email.email, slack.slack, pagerduty.pagerduty)} == {"low"}


def test_no_secret_of_a_channel_shows_in_the_settings(host: Host) -> None:
    text = GUIDE.replace("XXXXXXXXXXXXXXXXXXXXXXXX", "canary")
    assert "canary" not in repr(host.load(MINIMAL + text))


def test_secrets_and_templates_come_from_files(host: Host) -> None:
    url, key = host.file("u", "https://hooks.example.com/canary\n"), host.file("k", "0" * 32)
    template = host.file("t", "{{ happened }}\nline\n")
    slack = f"{{slack: {{webhook_url_file: {url}, template_file: {template}}}}}"
    found = notification(host.load(channel(f"{slack}, {{pagerduty: {{integration_key_file: {key}}}}}")))
    assert found.channels[0].slack is not None
    assert found.channels[0].slack.webhook_url.reveal() == "https://hooks.example.com/canary"
    assert found.channels[0].slack.template == "{{ happened }}\nline"
    assert found.channels[1].pagerduty is not None
    assert found.channels[1].pagerduty.integration_key.reveal() == "0" * 32


def test_the_channels_come_from_the_environment(host: Host) -> None:
    text = "[{webhook: {url: 'https://example.com/x?sig=canary', min_severity: high}}]"
    found = notification(host.load(MINIMAL, ZEROTRUST_SECURITY_BREACH_NOTIFICATION_CHANNELS=text))
    assert found.channels[0].webhook is not None
    assert found.channels[0].webhook.url.reveal() == "https://example.com/x?sig=canary"


@pytest.mark.parametrize(
    ("smtp", "port", "tls"),
    [
        ("{host: mail.example.com}", 587, "starttls"),
        ("{host: mail.example.com, tls: implicit}", 465, "implicit"),
        ("{tls: starttls}", 587, "starttls"),
        ("{port: 2525}", 2525, "none"),
        ('{port: "2525"}', 2525, "none"),
    ],
)
def test_mail_beyond_this_host_is_encrypted(host: Host, smtp: str, port: int, tls: str) -> None:
    found = notification(host.load(channel(f"{{email: {{recipients: [a@b.c], smtp: {smtp}}}}}")))
    assert found.channels[0].email is not None
    server = found.channels[0].email.smtp
    assert (server.port_number, server.tls) == (port, tls)


_CHANNELS = "security.breach_notification.channels"


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("{slack: {webhook_url: 'http://hooks.example.com/canary'}}", "[0].slack.webhook_url: is not https"),
        ("{slack: {webhook_url: 'canary'}}", "[0].slack.webhook_url: is not a URL"),
        ("{slack: {webhook_url: 'https://u:canary@example.com/'}}", "[0].slack.webhook_url: has a user"),
        ('{slack: {webhook_url: "https://example.com/\\ncanary"}}', "[0].slack.webhook_url: is not a URL"),
        ("{pagerduty: {integration_key: 'two canary words'}}", "[0].pagerduty.integration_key: is not one word"),
        ("{pagerduty: {integration_key: k, url: 'ftp://canary/'}}", "[0].pagerduty.url: is not a URL"),
        ("{webhook: {url: 'https://e.com', secret: canary}}", "[0].webhook.secret: is not a secret of a webhook"),
        ("{email: {recipients: []}}", "[0].email.recipients: is empty"),
        ('{email: {recipients: ["a@b.c\\nBcc: x@y.z"]}}', "[0].email.recipients[0]: "),
        ("{email: {recipients: [nobody]}}", "[0].email.recipients[0]: 'nobody' is not a mail address"),
        ("{email: {recipients: [a@b.c], from: x}}", "[0].email.from: 'x' is not a mail address"),
        (
            "{email: {recipients: [a@b.c], smtp: {port: 99999}}}",
            "[0].email.smtp.port: is not a port — fix: write a number from 1 to 65535",
        ),
        ("{email: {recipients: [a@b.c], smtp: {port: true}}}", "[0].email.smtp.port: is not a port"),
        ("{email: {recipients: [a@b.c], smtp: {tls: none}}}", "[0].email.smtp.tls: is none of the possible values"),
        ("{email: {recipients: [a@b.c], smtp: {username: u}}}", "[0].email.smtp.username: stands alone"),
        ("{email: {recipients: [a@b.c], smtp: {password: canary}}}", "[0].email.smtp.username: stands alone"),
        ("{email: {recipients: [a@b.c], min_severity: worst}}", "[0].email.min_severity: is none"),
        ("{}", "[0]: is not one channel"),
        ("{slack: {webhook_url: 'https://e.com'}, pagerduty: {integration_key: k}}", "[0]: is not one channel"),
        ("{sms: {number: 1}}", "[0].sms: is not a known key"),
    ],
)
def test_what_cannot_be_a_channel_is_refused_without_its_secret(host: Host, entry: str, problem: str) -> None:
    found = host.problems(channel(entry))
    assert any(problem in line for line in found), found
    assert "canary" not in "".join(found)


def test_a_notification_that_would_tell_nobody_is_refused_and_one_that_is_off_is_not(host: Host) -> None:
    [problem] = host.problems(MINIMAL + "security: {breach_notification: {}}\n")
    assert "security.breach_notification.enabled: is true, and nobody would be told — fix: add channels" in problem
    assert not notification(host.load(MINIMAL + "security: {breach_notification: {enabled: false}}\n")).enabled


def test_what_the_page_on_notifications_shows_is_accepted(host: Host) -> None:
    page = (Path(__file__).parents[3] / "docs" / "notifications.md").read_text()
    blocks = [part.partition("```")[0] for part in page.split("```yaml\n")[1:]]
    assert len(blocks) == 2
    for name in ("slack_webhook", "pagerduty_key", "smtp_password"):
        host.file(name, "https://hooks.example.com/x" if name == "slack_webhook" else "0" * 32)
    whole, entry = (text.replace("/etc/zerotrust/secrets", str(host.folder)) for text in blocks)
    assert len(notification(host.load(MINIMAL + whole)).channels) == 3
    indented = "".join(f"      {line}\n" for line in entry.splitlines())
    nested = f"security:\n  breach_notification:\n    channels:\n{indented}"
    assert len(notification(host.load(MINIMAL + nested)).channels) == 1
