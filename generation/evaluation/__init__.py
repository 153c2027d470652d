"""How good generated sounds are: distances between sets, classes heard, agreement with captions. Knows no generator."""
