"""results/run.html: what belongs to a run, and to no artifact: its commit, times, money, where proofs are from."""
