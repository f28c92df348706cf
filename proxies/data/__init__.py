"""Raw text in, token shards and mixed rows out."""
