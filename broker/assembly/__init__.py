"""The composition root: settings in, a broker out. The only place that knows every room; a file for each part of the house."""

from broker.assembly.broker import Broker, assemble
from broker.assembly.check import Checked, check
from broker.assembly.keys import hierarchy_of, keys_of
from broker.assembly.reload import Source

__all__ = ["Broker", "Checked", "Source", "assemble", "check", "hierarchy_of", "keys_of"]
