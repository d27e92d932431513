"""What the scenarios stand on: samples as in tests/data/generations, and files for the working folders.

Small samples are files; what is large, or has to be recent, is made here, the
same every time but for its date.
"""

from __future__ import annotations

import base64
import json
import random
import re
import string
import struct
import zlib
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple

from openrouter_server import make_metadata

HERE = Path(__file__).resolve().parent
FOLDERS = (HERE / "data", HERE.parent / "data" / "generations")

Sample = dict[str, Any]
"""{"id", "metadata": {"status", "body"}, "content": {"status", "body"}}"""


class Model(NamedTuple):
    """Prices in billionths of a dollar a token; `write` is what writing the cache costs on top."""

    name: str
    provider: str
    native_stop: str
    prompt: int
    cached: int
    write: int
    completion: int


SONNET = Model("anthropic/claude-4.5-sonnet-20250929", "Anthropic", "end_turn", 3000, 300, 750, 15000)
MINI = Model("openai/gpt-5-mini-2025-08-07", "OpenAI", "completed", 250, 25, 0, 2000)
FLASH = Model("google/gemini-2.5-flash", "Google AI Studio", "STOP", 300, 30, 0, 2500)
MODELS = {model.name: model for model in (SONNET, MINI, FLASH)}

NOTHING_STORED: dict[str, Any] = {
    "input": {"messages": []},
    "output": {"completion": None, "reasoning": None},
    "error": None,
}


class Made(NamedTuple):
    """`absent` are IDs that a file names and the server does not know."""

    samples: list[Sample]
    files: dict[str, str]
    absent: tuple[str, ...] = ()


# One record


def tail(chance: random.Random) -> str:
    return "".join(chance.choices(string.ascii_letters + string.digits, k=20))


def price(model: Model, prompt: int, completion: int, cached: int = 0, written: int = 0) -> tuple[float, float | None]:
    """Cost and cache discount in dollars; the cost contains the discount."""
    discount = cached * (model.prompt - model.cached) - written * model.write
    cost = prompt * model.prompt + completion * model.completion - discount
    return cost / 1e9, discount / 1e9 if discount else None


def sample(
    seconds: int,
    chance: random.Random,
    model: Model,
    prompt: int,
    completion: int,
    *,
    cached: int = 0,
    written: int = 0,
    failed: Iterable[tuple[str, int, int]] = (),
    content: dict[str, Any] = NOTHING_STORED,
    **changes: Any,
) -> Sample:
    """A generation. `failed` are attempts before the one that answered: provider, status, milliseconds."""
    generation_id = f"gen-{seconds}-{tail(chance)}"
    cost, discount = price(model, prompt, completion, cached, written)
    own = chance.randrange(500, 1500) + (prompt - cached) // 25
    latency = own + sum(took for _, _, took in failed) + chance.randrange(5, 30)
    data = make_metadata(generation_id)
    attempts = [
        {"endpoint_id": f"ep_{chance.getrandbits(32):08x}", "is_byok": False, "latency": took, "status": status}
        | {"model_permaslug": model.name, "provider_name": provider}
        for provider, status, took in (*failed, (model.provider, 200, own))
    ]
    attempts[-1]["id"] = data["upstream_id"]
    data |= {
        "model": model.name,
        "provider_name": model.provider,
        "provider_responses": attempts,
        "native_finish_reason": model.native_stop,
        "native_tokens_prompt": prompt,
        "native_tokens_completion": completion,
        "native_tokens_cached": cached,
        "tokens_prompt": round(prompt * 0.97),
        "tokens_completion": round(completion * 0.98),
        "latency": latency,
        "generation_time": latency + completion * 1000 // chance.randrange(45, 110),
        "total_cost": cost,
        "usage": cost,
        "cache_discount": discount,
        **changes,
    }
    return {
        "id": generation_id,
        "metadata": {"status": 200, "body": {"data": data}},
        "content": {"status": 200, "body": {"data": content}},
    }


def data_of(one: Sample) -> dict[str, Any]:
    found = one["metadata"]["body"]["data"]
    assert isinstance(found, dict)
    return found


def _made_to_fail(one: Sample, status: int, took: int) -> Sample:
    """A failure before the first token: nothing produced, nothing charged, no total times."""
    data = data_of(one)
    attempt = {key: value for key, value in data["provider_responses"][-1].items() if key != "id"}
    data |= dict.fromkeys(("tokens_completion", "native_tokens_completion", "native_tokens_cached"), 0)
    data |= {"total_cost": 0, "usage": 0, "cache_discount": None, "latency": None, "generation_time": None}
    data |= {"finish_reason": "error", "native_finish_reason": None, "upstream_id": None}
    data["provider_responses"] = [attempt | {"status": status, "latency": took}]
    return one


def redated(one: Sample, seconds: int) -> Sample:
    """The same generation at another time."""
    text = json.dumps(one).replace(one["id"][4:14], str(seconds))
    moved: Sample = json.loads(text)
    moment = datetime.fromtimestamp(seconds, timezone.utc) + timedelta(milliseconds=417)
    data_of(moved)["created_at"] = moment.isoformat(timespec="milliseconds")
    return moved


# Many records


def _words(chance: random.Random, pool: tuple[str, ...], characters: int) -> str:
    said: list[str] = []
    while sum(map(len, said)) < characters:
        said.append(chance.choice(pool).format(n=chance.randrange(2, 60), code=chance.randrange(10_000, 99_999)))
    return " ".join(said)


_ASKED = (
    "The rear brake of order {code} squeaks since {n} days ago.",
    "I have tried what you wrote, and it helped for about {n} minutes.",
    "Which spare part do I need, the one for {n} mm or the other one?",
    "The display shows E{n} and the motor stays off on every hill.",
    "My partner has the same bike from {n} weeks earlier, without any trouble.",
    "The shop in town said it would take them {n} days, which is too long for us.",
    "I could not find the number you asked for; is it {code}?",
)
_ANSWERED = (
    "Thank you, I have added this to case {code}.",
    "Please loosen the two bolts of the calliper by a quarter turn and pull the lever {n} times.",
    "Code E{n} means that the speed sensor and its magnet are too far apart: 3 to 5 mm are right.",
    "I can send the part free of charge; it usually arrives within {n} hours of the order.",
    "Would you tell me the number below the bar code? It begins with {n}.",
    "A photo of the place would help me to see what is worn.",
    "If that does not help we exchange the part, and you keep the old one until then.",
)
LAST_MESSAGE = (
    "One last thing: the replacement frame came in moss green again. Can you swap it for graphite before the "
    "3rd of December? We leave for Lisbon that day."
)
LAST_ANSWER = (
    "Yes. I have reserved a graphite frame for you (order 48-2291), and the courier collects the moss green one "
    "on Monday, 30 November, between 8 and 12 o'clock. You do not have to pack it."
)


def picture(octets: int = 2_000_000) -> bytes:
    """A valid PNG of about so many octets: noise, so that it does not compress."""
    width = 1000
    height = octets // (3 * width)
    noise = random.Random(7).randbytes(3 * width * height)
    rows = b"".join(b"\0" + noise[3 * width * y : 3 * width * (y + 1)] for y in range(height))

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b"")


def conversation() -> Made:
    """300 messages with one picture of 2 MB (message 213), the last one the customer's."""
    chance = random.Random("conversation")
    messages: list[dict[str, Any]] = [{"role": "system", "content": "You are the support desk of a bicycle maker."}]
    for place in range(1, 299):
        role, pool = ("user", _ASKED) if place % 2 else ("assistant", _ANSWERED)
        messages.append({"role": role, "content": _words(chance, pool, chance.randrange(80, 560))})
    messages.append({"role": "user", "content": LAST_MESSAGE})
    characters = sum(len(message["content"]) for message in messages)
    url = "data:image/png;base64," + base64.b64encode(picture()).decode()
    text = {"type": "text", "text": messages[213]["content"]}
    messages[213]["content"] = [text, {"type": "image_url", "image_url": {"url": url}}]
    prompt = characters * 10 // 43 + 4 * len(messages) + 1445  # the last is the picture
    made = sample(
        1794838512,
        chance,
        MINI,
        prompt,
        len(LAST_ANSWER) * 10 // 43,
        cached=prompt // 128 * 128 - 1024,
        num_media_prompt=1,
        session_id="support-20411",
        content={
            "input": {"messages": messages},
            "output": {"completion": LAST_ANSWER, "reasoning": None},
            "error": None,
        },
    )
    return Made([made], {})


_RUN_START = 1794510131  # 12 November 2026, 19:02:11 UTC
_RUN_FAILS = {13: (502, 8120), 27: (529, 640), 44: (503, 2210)}
_RUN_TRUNCATED, _RUN_MISSING = 38, 51


def _run_samples() -> list[Sample]:
    """60 calls: an agent whose prompt grows in the cache, and two helpers."""
    chance = random.Random("agent-run")
    calls: list[Sample] = []
    now, context, cached = _RUN_START, 14_200, 0
    for number in range(60):
        now += chance.randrange(8, 55)
        if number % 5 == 4:
            one = sample(now, chance, FLASH, chance.randrange(900, 6_000), chance.randrange(20, 160))
        elif number % 10 in {3, 6, 8}:
            one = sample(now, chance, MINI, chance.randrange(3_000, 22_000), chance.randrange(150, 1_500))
        else:
            written, completion = context - cached, chance.randrange(90, 900)
            one = sample(now, chance, SONNET, context, completion, cached=cached, written=written)
            cached, context = context, context + completion + chance.randrange(400, 3_100)
        if number in _RUN_FAILS:
            one = _made_to_fail(one, *_RUN_FAILS[number])
        if number == _RUN_TRUNCATED:
            data_of(one).update(finish_reason="length", native_finish_reason="max_output_tokens")
        calls.append(one)
    return calls


def _run_lines(one: Sample, chance: random.Random) -> Iterable[dict[str, Any]]:
    """A call as a coding agent writes it: two lines with the same ID, then what the tool gave."""
    data = data_of(one)
    usage = {
        "input_tokens": data["native_tokens_prompt"] - data["native_tokens_cached"],
        "cache_read_input_tokens": data["native_tokens_cached"],
        "output_tokens": data["native_tokens_completion"],
    }
    when = data["created_at"]
    tool = f"toolu_{tail(chance)}"
    said = {"type": "text", "text": _words(chance, _ANSWERED, 120)}
    used = {"type": "tool_use", "id": tool, "name": "Read", "input": {"file_path": f"src/part{tool[-3:]}.py"}}
    for part in (said, used):
        message = {"id": one["id"], "type": "message", "role": "assistant", "model": data["model"], "content": [part]}
        yield {"type": "assistant", "timestamp": when, "message": message | {"usage": usage}}
    result = {"type": "tool_result", "tool_use_id": tool, "content": _words(chance, _ASKED, 9_000)}
    yield {"type": "user", "timestamp": when, "message": {"role": "user", "content": [result]}}


def agent_run() -> Made:
    calls = _run_samples()
    chance = random.Random("agent-run-lines")
    lines = [json.dumps(line) for one in calls for line in _run_lines(one, chance)]
    absent = calls.pop(_RUN_MISSING)["id"]
    return Made(calls, {"agent-run.jsonl": "\n".join(lines) + "\n"}, (absent,))


def account(now: int) -> Made:
    """26 calls of the last two and a half hours; the dearest is a large prompt without the cache."""
    chance = random.Random("account")
    shop = {"app_id": 40718, "origin": "https://shop.example", "http_referer": "https://shop.example"}
    calls = []
    for number in range(25):
        when = now - 300 - number * 340
        model = (FLASH, MINI, SONNET)[number % 3]
        calls.append(sample(when, chance, model, chance.randrange(400, 9_000), chance.randrange(40, 900), **shop))
    dear = sample(now - 2400, chance, SONNET, 182_431, 4_212, **shop)
    return Made([*calls, dear], {})


def session() -> Made:
    """Eight calls of one session, and six of another that ran at the same time."""
    chance = random.Random("session")
    start = 1794925231  # 17 November 2026, 14:20:31 UTC
    common = {"app_id": 40718, "origin": "https://shop.example", "http_referer": "https://shop.example"}
    calls, cached = [], 0
    for number in range(8):
        context = 9_400 + 2_310 * number
        calls.append(
            sample(
                start + 83 * number,
                chance,
                SONNET,
                context,
                chance.randrange(150, 1_100),
                cached=cached,
                written=context - cached,
                failed=[("Amazon Bedrock", 504, 45_012)] if number == 5 else (),
                session_id="checkout-fix-91",
                **common,
            )
        )
        cached = context
    for number in range(6):
        when = start + 40 + 110 * number
        calls.append(
            sample(when, chance, MINI, chance.randrange(2_000, 8_000), 400, session_id="nightly-tags-7", **common)
        )
    return Made(calls, {})


def saved() -> Made:
    """An answer of the API that the user has kept in a file; the server knows nothing of it."""
    answer = named("slow-generation")["metadata"]["body"]
    return Made([], {"slow.json": json.dumps(answer)})


# By name


def named(name: str) -> Sample:
    path = next(folder / f"{name}.json" for folder in FOLDERS if (folder / f"{name}.json").is_file())
    loaded: Sample = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def make(name: str, now: int) -> Made:
    """Samples and files by the name that evals.json gives: a file of FOLDERS or a maker of this module."""
    made = {"conversation": conversation, "agent-run": agent_run, "session": session, "saved": saved}
    if name in made:
        return made[name]()
    return account(now) if name == "account" else Made([named(name)], {})


def ids_in(text: str) -> list[str]:
    return list(dict.fromkeys(re.findall(r"gen-\d{10}-\w{20}", text)))
