"""What OpenRouter recorded about single generations: fetch it, read it, explain it, keep it."""

__version__ = "1.0.0"
