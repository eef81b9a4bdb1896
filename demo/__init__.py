"""`make demo`: the whole way on real parts, on one machine, and nothing of it left behind but a folder to look at."""
