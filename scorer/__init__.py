"""CLAP: how well a caption fits a sound. Load a scorer, embed audio and text, score."""
