"""AutoCap: from a clip's sound, title and visual caption to one English sentence."""
