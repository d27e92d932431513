"""What the documentation says about single providers; a provider not named here is simply not known."""

from __future__ import annotations

STOPS_ON_ABORT = frozenset((
    "OpenAI", "Azure", "Anthropic", "Fireworks", "Mancer", "Recursal", "AnyScale", "Lepton",
    "OctoAI", "Novita", "DeepInfra", "Together", "Cohere", "Hyperbolic", "Infermatic", "Avian",
    "xAI", "Cloudflare", "SF Compute", "Nineteen", "Liquid", "Friendli", "Chutes", "DeepSeek",
))  # fmt: skip
"""Providers that stop working, and billing, when a streamed request is aborted (page on streaming)."""

GOES_ON_AFTER_ABORT = frozenset((
    "Amazon Bedrock", "Groq", "Modal", "Google", "Google AI Studio", "Minimax", "HuggingFace",
    "Replicate", "Perplexity", "Mistral", "AI21", "Featherless", "Lynn", "Lambda", "Reflection",
    "SambaNova", "Inflection", "01.AI", "AionLabs", "Alibaba", "Nebius", "Kluster", "Targon",
    "InferenceNet",
))  # fmt: skip
"""Providers that do not (same page)."""

_SAME_NAME = (
    "OpenAI", "Azure", "Anthropic", "Fireworks", "Novita", "DeepInfra", "Together", "Cohere", "xAI",
    "Groq", "Cerebras", "Mistral", "DeepSeek", "Chutes", "Hyperbolic", "Parasail", "Perplexity",
    "Cloudflare", "Friendli", "SambaNova", "GMICloud", "SiliconFlow",
)  # fmt: skip
SLUGS = {name: name.lower() for name in _SAME_NAME} | {
    "Amazon Bedrock": "amazon-bedrock",
    "Google": "google-vertex",
    "Google AI Studio": "google-ai-studio",
    "Moonshot AI": "moonshotai",
}
"""Provider names whose slug for `provider.order` and `provider.ignore` is certain."""
