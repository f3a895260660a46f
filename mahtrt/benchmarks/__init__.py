"""Sessions to numbers to a report: accuracy, timing, and the table that holds both."""
