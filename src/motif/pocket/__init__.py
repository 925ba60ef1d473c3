"""pocket: the small Stable-Diffusion-shaped base that ships with motif, its world, its recipe and its held-out objects."""
