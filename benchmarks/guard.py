"""A guard with the policy's keys and values computed once, beside the plain forward pass.

    pip install '.[guard]' && python benchmarks/guard.py                # a small Llama, on the CPU
    python benchmarks/guard.py --shape 1b --device cuda --dtype bfloat16

Weights are random: speed does not depend on them. The prompt is that of Llama Guard 3 with all of
its categories, a message has 30 tokens, and the tokenizer is trained on this repository's docs, so
that a word is about a token, as with Llama's own. Three ways to the same probability:

    plain       the whole prompt through the model, logits at every position, as model cards show it
    last only   the whole prompt, but only the last position meets the vocabulary
    prefix      the same, with the keys and values of the policy computed once: what the filter does

Every round times each of them once; ratios are medians of the ratios within a round. The limit is
what the arithmetic alone would take: multiplications of `prefix`, at the speed of a large matrix
product on the same device, measured in the same run. Memory is of a process of its own for each.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "filters"))

import torch  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from tiny_guard import LLAMA_1B, tokenizer  # noqa: E402
from transformers import LlamaConfig, LlamaForCausalLM  # noqa: E402

from moderation.content import Message  # noqa: E402
from moderation.guards import local  # noqa: E402
from moderation.guards.answers import FORMS  # noqa: E402
from moderation.taxonomy import LLAMA_GUARD  # noqa: E402

SHAPES: dict[str, dict[str, int]] = {
    "small": {
        "hidden_size": 512,
        "intermediate_size": 1536,
        "num_hidden_layers": 8,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "vocab_size": 32_000,
    },
    "1b": {  # Llama-3.2-1B, of which Llama-Guard-3-1B is made
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 64,
        "vocab_size": 128_256,
    },
}
SPECIALS = ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
WAYS = ("plain", "last only", "prefix")


def make(folder: Path, shape: str, dtype: torch.dtype) -> None:
    texts = [page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs").glob("*.md"))]
    texts += [LLAMA_1B.replace("\\n", "\n"), " ".join(LLAMA_GUARD.values()), "safe\nunsafe"] * 3
    tokenizer(LLAMA_1B, texts, SPECIALS, vocab_size=8000).save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(**SHAPES[shape], tie_word_embeddings=True, max_position_embeddings=4096)
    LlamaForCausalLM(config).to(dtype).save_pretrained(folder)


def ways(folder: Path, args: argparse.Namespace) -> tuple[dict[str, Callable[[], None]], Any, Any]:
    """Each way as a function that judges all messages, with the guard and its conversations."""
    local.MIN_MASS = 0.0  # random weights answer in no form
    options: dict[str, Any] = {
        "categories": {key: f"{title}." for key, title in LLAMA_GUARD.items()},
        "excluded": (),
        "dtype": args.dtype,
        "device_map": args.device,
        "batch_tokens": args.batch_tokens,
        "decode_from": 2.0,
    }
    form = FORMS["llama_guard"]
    guard = local.LocalGuard(folder, form, **options)
    whole = local.LocalGuard(folder, form, **options, reuse_prefix=False)
    conversations = messages(guard, args.messages, args.tokens)
    rows = guard._encode([guard.prompt(one) for one in conversations])
    size = max(1, args.batch_tokens // max(map(len, rows)))
    model = guard._model

    def plain() -> None:
        with torch.inference_mode():
            for begin in range(0, len(rows), size):
                batch = rows[begin : begin + size]
                longest = max(map(len, batch))
                ids = torch.tensor([row + [0] * (longest - len(row)) for row in batch])
                mask = torch.tensor([[1] * len(r) + [0] * (longest - len(r)) for r in batch])
                logits = model(ids.to(model.device), attention_mask=mask.to(model.device)).logits
                last = torch.tensor([len(row) - 1 for row in batch])
                logits[torch.arange(len(batch)), last].float().softmax(-1).cpu()

    functions = {
        "plain": plain,
        "last only": lambda: whole.judge(conversations) and None,
        "prefix": lambda: guard.judge(conversations) and None,
    }
    return functions, guard, conversations


def messages(guard: local.LocalGuard, count: int, tokens: int) -> list[list[Message]]:
    """Different messages of exactly `tokens` tokens, out of the words of the docs."""
    words = sorted(set((ROOT / "docs" / "policy.md").read_text(encoding="utf-8").split()))
    words = [word for word in words if word.isalpha() and len(guard._encode([" " + word])[0]) == 1]
    return [
        [Message("user", " ".join(words[(n * 7 + k * 3) % len(words)] for k in range(tokens)))]
        for n in range(count)
    ]


def multiplications(guard: local.LocalGuard, conversations: Any) -> tuple[float, int, int]:
    """Floating-point operations of the prefix way for all messages; tokens of prefix and rest."""
    prefix = guard._prefixes["user"].ids
    rest = [
        len(row) - len(prefix) for row in guard._encode([guard.prompt(c) for c in conversations])
    ]
    config = guard._model.config
    head = config.vocab_size * config.hidden_size
    body = sum(p.numel() for name, p in guard._model.named_parameters() if "layers" in name)
    attended = sum(n * (len(prefix) + n / 2) for n in rest)
    heads = config.num_attention_heads * (config.head_dim or 0)
    attention = 2 * 2 * attended * heads * config.num_hidden_layers
    return (
        2 * (body * sum(rest) + head * len(rest)) + attention,
        len(prefix),
        round(statistics.mean(rest)),
    )


def wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def speed_of_a_product(device: str, dtype: torch.dtype) -> float:
    """Floating-point operations a second of a large matrix product."""
    n = 8192 if device.startswith("cuda") else 2048
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    best = 0.0
    for _ in range(8):
        wait(device)
        began = perf_counter()
        torch.mm(a, b)
        wait(device)
        best = max(best, 2 * n**3 / (perf_counter() - began))
    return best


def reset_peak(device: str) -> float:
    """Megabytes in use now; from here on the peak is counted anew."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated() / 1e6
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # Linux: VmHWM = VmRSS
    return peak(device)


def peak(device: str) -> float:
    """The most megabytes in use since the reset."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated() / 1e6
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--messages", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch-tokens", type=int, default=4096)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--only", choices=WAYS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    dtype = getattr(torch, args.dtype)

    if args.only:  # a child: how much memory one of them takes
        functions, *_ = ways(args.folder, args)
        before = reset_peak(args.device)
        functions[args.only]()
        print(json.dumps(peak(args.device) - before))
        return

    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), args.shape, dtype)
        functions, guard, conversations = ways(Path(folder), args)
        times: dict[str, list[float]] = {name: [] for name in WAYS}
        for round_ in range(args.rounds + 1):
            for name, function in functions.items():
                wait(args.device)
                began = perf_counter()
                function()
                wait(args.device)
                if round_:  # the first warms up
                    times[name].append(perf_counter() - began)
        operations, prefix, rest = multiplications(guard, conversations)
        product = speed_of_a_product(args.device, dtype)
        memory = {}
        for name in WAYS:
            command = [sys.executable, __file__, *sys.argv[1:], "--folder", folder, "--only", name]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            memory[name] = json.loads(done.stdout.splitlines()[-1])

    console = Console(width=110)
    title = (
        f"{args.shape} Llama, {args.dtype}, {args.device}, {torch.get_num_threads()} threads: "
        f"{prefix} tokens shared, {rest} of its own a message ({args.tokens} of them its text)"
    )
    table = Table(title=title, title_justify="left")
    for column in ("", "messages a second", "plain takes", "memory on top of the weights"):
        table.add_column(column, justify="left" if not column else "right")
    for name in WAYS:
        ratio = statistics.median(a / b for a, b in zip(times["plain"], times[name], strict=True))
        table.add_row(
            name,
            f"{args.messages / statistics.median(times[name]):,.1f}",
            f"{ratio:.2f} times as long",
            f"{memory[name]:,.0f} MB",
        )
    console.print(table)
    limit = operations / product
    taken = statistics.median(times["prefix"])
    console.print(
        f"limit: {operations / 1e9:,.1f} GFLOP at {product / 1e9:,.1f} GFLOP/s are {limit:.3f} s; "
        f"prefix takes {taken:.3f} s, {taken / limit:.2f} times that"
    )


if __name__ == "__main__":
    main()
