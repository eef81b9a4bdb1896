"""What is given out: packages for Debian and RPM, a wheel, a source archive, one file for users, a bill of materials, checksums.

``make dist`` writes them into ``dist/``. The same commit gives the same bytes, whenever and wherever it is built, with the same
compiler and the same tools: every time in them is the commit's (``SOURCE_DATE_EPOCH``), and nothing tells the folder.
"""
