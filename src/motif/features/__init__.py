"""What CLIP and DINO see in pictures and read in words: the encoders that metrics and retrieval share."""
