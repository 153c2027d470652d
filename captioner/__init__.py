"""AutoCap: from a clip's sound, title and visual caption to one English sentence.

captioner = load_captioner()
captioner.caption([wave], metadata=[Metadata(title="My dog at the lake")])   # [Captioned("a dog barks", -0.4)]
"""

from captioner.load import Captioned, Captioner, Metadata, load_captioner

__all__ = ["Captioned", "Captioner", "Metadata", "load_captioner"]
