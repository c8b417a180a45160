"""What became of rows: counts by step, rows left out, a row's way back to its source, and labels by people."""
