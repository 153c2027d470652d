"""Training, whatever the model: the loop, optimisers, averaged weights, several workers, checkpoints, curves."""
