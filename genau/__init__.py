"""GenAU: text to audio. A mel VAE, the FIT denoiser on its latents, a vocoder; trained from exported shards."""
