"""Where records go. The file is the one that counts: nothing leaves before it is on the disk.

The others (journald, syslog, HTTP) get what is in the file, by a forwarder each; the file is their spool.
"""
