"""The jobs: config, plan, the Ray graph of a leg, select, export, verify, status, command line."""
