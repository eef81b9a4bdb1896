"""The product measured against its peers, as ratios of one run; docs/performance.md says how and why so."""
