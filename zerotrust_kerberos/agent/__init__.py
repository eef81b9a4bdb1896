"""Credentials kept ready on a machine: beside one command (``exec``), for one person (``serve``), for all users (``agent``).

Whoever asks is known before anything is read from them: by the kernel's word for the other end of a socket. Credentials are in
memory only and belong to one principal; each use looks anew whose ticket there is, so nobody gets what somebody else was given.
"""
