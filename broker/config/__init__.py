"""The configuration: a model of every key, and the loader that names all faults at once or gives a whole ``Settings``."""
