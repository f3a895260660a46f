"""Numbers, and nothing else: timing, accuracy, displacement, intervals, limits."""
