"""The doors: every route with what stands behind it, and the connections that come to them."""

from __future__ import annotations

from aiohttp import web

from broker.assembly.check import Checked
from broker.assembly.elevation import Elevating
from broker.assembly.entrance import Entry
from broker.assembly.keys import Keys
from broker.assembly.operators import operators_door
from broker.assembly.roll import Notes
from broker.config.model import Settings
from broker.core.clock import Clock
from broker.issuing.alerts import Alerts
from broker.issuing.deny import Denies
from broker.issuing.explain import Explainer
from broker.issuing.issue import Issuer
from broker.issuing.keys import KeyDesk
from broker.issuing.notify import NotificationTest
from broker.issuing.overview import Overviews
from broker.issuing.passes import PassOffice
from broker.issuing.revoke import Revocations
from broker.issuing.secrets import SecretDesk
from broker.issuing.standing import Desk
from broker.revocation.epochs import Epochs
from broker.revocation.holds import Holds
from broker.watch.breach import Notifier
from broker.watch.metrics import Metrics
from broker.web.app import Answered, build
from broker.web.connections import Connections, places
from broker.web.health import Health


def application(
    settings: Settings,
    checked: Checked,
    *,
    keys: Keys,
    entry: Entry,
    notes: Notes,
    issuer: Issuer,
    elevation: Elevating,
    epochs: Epochs,
    holds: Holds,
    denies: Denies,
    notifier: Notifier | None,
    secret_desk: SecretDesk,
    health: Health,
    answered: Answered,
    clock: Clock,
) -> web.Application:
    """What users and operators ask, and the rooms that answer."""
    entrance, policies = entry.entrance, checked.policies
    operators = operators_door(settings.admin, entry=entry, policies=policies, keys=checked.signing_keys, clock=clock)
    desk = Desk(
        entrance=entrance,
        sessions=entry.sessions,
        passes=entry.passes,
        epochs=epochs,
        policies=policies,
        roll=notes.roll,
        uses=notes.uses,
        clock=clock,
    )
    explainer = Explainer(
        entrance=entrance, policies=policies, boxes=elevation.boxes, epochs=epochs, holds=holds, clock=clock
    )
    return build(
        issuer=issuer,
        desk=desk,
        overviews=Overviews(
            entrance=entrance,
            desk=desk,
            explainer=explainer,
            policies=policies,
            boxes=elevation.boxes,
            holds=holds,
            clock=clock,
        ),
        explainer=explainer,
        office=PassOffice(
            entrance=entrance, passes=entry.passes, policies=policies, holds=holds, roll=notes.roll, clock=clock
        ),
        operators=operators,
        revocations=Revocations(
            operators=operators,
            epochs=epochs,
            denies=denies,
            policies=policies,
            realms=settings.kerberos.realms,
            clock=clock,
        ),
        notification_test=NotificationTest(operators=operators, notifier=notifier),
        elevation=elevation.desk,
        reviews=elevation.reviews,
        alerts=Alerts(operators=operators, holds=holds),
        secret_desk=secret_desk,
        key_desk=KeyDesk(operators=operators, replica=keys.replica, duties=keys.duties),
        health=health,
        answered=answered,
        hostnames=settings.server.hostnames or sorted(checked.keys.hosts),
        admission=lambda: policies.admission,
        limit=entry.limits.address,
        tls=checked.tls,
        clock=clock,
    )


def connections_of(metrics: Metrics) -> Connections:
    """An empty house with so many places as the process may have descriptors."""
    connections = Connections(places=places())
    metrics.gauge("broker_connections", "Open client connections", lambda: float(connections.number))
    metrics.gauge(
        "broker_requests_in_flight",
        "Client connections that the broker is working for",
        lambda: float(connections.busy),
    )
    metrics.counter(
        "broker_connections_hung_up_on",
        "Connections that were closed because their time had passed or to make room",
        lambda: float(connections.hung_up_on),
    )
    metrics.counter(
        "broker_connections_turned_away",
        "Connections that found no room",
        lambda: float(connections.turned_away),
    )
    return connections
