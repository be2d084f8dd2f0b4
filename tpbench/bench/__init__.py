"""Tables and verdicts: claims, sweeps, runs, rows, estimates, plots. Knows neither torch nor any theory."""
