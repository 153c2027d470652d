"""Ground floor: samples. Decode (seeking), resample, encode, loudness, voice activity. No Ray, no models of ours."""
