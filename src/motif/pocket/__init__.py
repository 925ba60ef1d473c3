"""pocket: the small Stable-Diffusion-shaped base that ships with motif, its world and its recipe."""
