"""What a run will cost, before it is started: requests, days, bytes, disk, model hours; afterwards, what it did."""
