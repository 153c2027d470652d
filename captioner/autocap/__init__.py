"""AutoCap as it was published (arXiv 2406.19388): HTS-AT, Q-Former, CLAP token, metadata and BART."""
