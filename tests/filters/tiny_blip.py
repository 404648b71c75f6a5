"""A BLIP of a hundred thousand parameters, trained in seconds to caption a dozen drawings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from drawings import DRAWINGS, drawing
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BlipConfig, BlipForConditionalGeneration, PreTrainedTokenizerFast

SPECIAL = ("[PAD]", "[UNK]", "[SEP]", "[DEC]")
SIDE = 32
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def make(folder: Path, *, steps: int = 400, seeds: int = 24) -> None:
    """Train it on drawings 0 to `seeds` of each thing, and save it as published BLIPs are."""
    torch.manual_seed(0)
    words = sorted({word for caption in DRAWINGS.values() for word in caption.split()})
    ids = {word: number for number, word in enumerate((*SPECIAL, *words))}
    text = {
        "vocab_size": len(ids),
        "hidden_size": 64,
        "encoder_hidden_size": 64,
        "intermediate_size": 128,
        "projection_dim": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 32,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "pad_token_id": ids["[PAD]"],
        "bos_token_id": ids["[DEC]"],
        "eos_token_id": ids["[SEP]"],
        "sep_token_id": ids["[SEP]"],
        "label_smoothing": 0.0,
    }
    vision = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "projection_dim": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": SIDE,
        "patch_size": 8,
        "initializer_range": 0.02,  # the published 1e-10 is for weights that are loaded anyway
    }
    model = BlipForConditionalGeneration(
        BlipConfig(
            text_config=text, vision_config=vision, projection_dim=32, image_text_hidden_size=32
        )
    )
    pixels, tokens = [], []
    longest = max(len(caption.split()) for caption in DRAWINGS.values()) + 2
    for thing, caption in DRAWINGS.items():
        row = [ids["[DEC]"], *(ids[word] for word in caption.split()), ids["[SEP]"]]
        row += [ids["[PAD]"]] * (longest - len(row))
        for seed in range(seeds):
            small = drawing(thing, seed).resize((SIDE, SIDE), 3)
            pixels.append((np.asarray(small, np.float32) / 255 - MEAN) / STD)
            tokens.append(row)
    images = torch.tensor(np.stack(pixels), dtype=torch.float32).permute(0, 3, 1, 2)
    captions = torch.tensor(tokens)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    model.train()
    for _ in range(steps):
        batch = torch.randint(len(images), (32,))
        labels = captions[batch].masked_fill(captions[batch] == ids["[PAD]"], -100)
        loss = model(
            pixel_values=images[batch],
            input_ids=captions[batch],
            attention_mask=(captions[batch] != ids["[PAD]"]).long(),
            labels=labels,
        ).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()

    model.eval().save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[DEC] $A [SEP]",
        special_tokens=[("[DEC]", ids["[DEC]"]), ("[SEP]", ids["[SEP]"])],
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",  # noqa: S106
        unk_token="[UNK]",  # noqa: S106
        sep_token="[SEP]",  # noqa: S106
        bos_token="[DEC]",  # noqa: S106
    ).save_pretrained(folder)
    settings = {
        "image_processor_type": "BlipImageProcessor",
        "do_resize": True,
        "do_normalize": True,
        "image_mean": MEAN,
        "image_std": STD,
        "size": {"height": SIDE, "width": SIDE},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")
