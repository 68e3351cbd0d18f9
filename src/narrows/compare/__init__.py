"""Which latent? Several recipes, the same data and budget, several seeds, one page."""
