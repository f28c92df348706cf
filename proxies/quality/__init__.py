"""How good each document of a pool is, and the pool cut into levels by it."""
