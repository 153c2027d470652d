"""What happens to a clip: one verb a file. Plain Python; Ray never enters here.

`base.py` says what a stage is; `registry.py` maps a recipe's short names to classes.
"""
