"""A mix as a folder for others: Parquet, a card, statistics, Croissant metadata and checksums."""
