"""What one may have: ``whoami``, ``roles`` and ``explain``; time boxes, asked for and decided on."""
