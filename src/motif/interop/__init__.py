"""Concepts that travel: one file per foreign format, each a pair of pure functions between a concept and named tensors.

    written(concept, base) -> [Foreign, ...]   the files of a format; base where it holds whole weights
    read(foreign, base)    -> Piece            the tokens and changes of one foreign file

Nothing outside this package knows a foreign key name. `outgoing.write_files` and `incoming.read_files` do whole jobs.
"""

FORMATS = {
    "diffusers": "learned_embeds, a LoRA, and the Custom Diffusion example's weights",
    "lora": "a LoRA in PEFT's keys, and learned_embeds",
    "kohya": "a LoRA in kohya's keys, and an embedding",
    "a1111": "the same in the folders of A1111's web UI",
    "adobe": "the official Custom Diffusion delta",
}
"""What is written, by its name on the command line."""
