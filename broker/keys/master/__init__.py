"""The master key, wherever it lies: a file each for what can hold one, behind one port."""
