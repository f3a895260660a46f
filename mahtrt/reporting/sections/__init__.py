"""The sections of a page, one file each: JSON in, blocks out."""
