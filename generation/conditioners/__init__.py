"""What a generator is told beside the noise: texts as vectors, data sets as numbers, and when both are left out.

conditioner = Cached(load_conditioner(["clap:laion/clap-htsat-unfused", "t5:google/flan-t5-large"]), folder)
conditioner.embed(["a dog barks", ""])        # (2, 512 + 1024); the last is what "no prompt" looks like
"""
