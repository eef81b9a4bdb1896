"""What is unusual about somebody: pure folds, a file for each detector. No clock, no I/O: a replay repeats them."""
