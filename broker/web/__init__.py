"""The HTTP door: decodes, makes one call, encodes."""
