"""Floor 2: the networks, their weights, and the table of known models.

Shapes: B images, N prompts, P points a prompt, T prompt tokens, M masks a prompt, C channels of the
embedding, H W the model's input in pixels, h w its embedding's cells.
"""
