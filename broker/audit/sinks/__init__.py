"""Where records go. The file is the one that counts: nothing leaves before it is on the disk."""
