"""Predictions of large archives into a data set of Parquet files, on one machine or on many."""
