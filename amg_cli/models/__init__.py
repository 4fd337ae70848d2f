"""Floor 2: the networks.

Shapes: B images, N prompts, M1 points a prompt, T prompt tokens, M masks a prompt, K masks that are
drawn, C channels of the embedding; H W are the model's input in pixels, H'' W'' (inside a network
also h w) the embedding's cells, H' W' low-resolution masks.
"""
