"""What each band of the default policy's cascade costs and loses, as `moderation band` finds it.

    pip install '.[train]' && python benchmarks/cascade.py --json band.json

Lost against always refining: on the validation part of the training data, without the sources and
labels that training left out. Refined: of Wikipedia talk-page comments drawn without regard to
their labels (wikipedia_context_toxicity), of which about 1 % are toxic. Needs MODERATION_DATA.
`python docs/make_band.py band.json` draws the picture in docs/evaluation.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import pandas as pd
from rich.console import Console
from texts import DATA

from moderation.evaluation import Cascade, Goals, band_page, choose_band
from moderation.evaluation.labelled import from_rows
from moderation.training.data import CONTRAST, load_rows
from moderation.training.recipe import read_recipe

RECIPE = Path(__file__).parent.parent / "configs" / "training" / "toxicity-lstm.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--policy", default="default")
    parser.add_argument("--rows", type=int, default=6000)
    parser.add_argument("--traffic", type=int, default=1000)
    parser.add_argument("--same", type=float, default=0.998)
    parser.add_argument("--json", type=Path, help="Write the numbers here as well.")
    args = parser.parse_args()
    table = DATA / "moderation_train.parquet"
    if not table.is_file():
        sys.exit(f"the data is not at {table}; set MODERATION_DATA to the folder that holds it")

    rows = load_rows(read_recipe(RECIPE), RECIPE).part("validation")
    rows = rows.where(rows.sources != CONTRAST)
    chosen = np.zeros(len(rows), np.bool_)
    chosen[np.random.default_rng(7).permutation(len(rows))[: args.rows]] = True
    cascade = Cascade(args.policy)
    labelled = from_rows(rows.where(chosen), cascade.labels, cascade.task, "the validation part")
    frame = pd.read_parquet(table)
    frame = frame[(frame.source == "wikipedia_context_toxicity") & (frame.split != "train")]
    traffic = frame.text.sample(args.traffic, random_state=7).tolist()
    choice = choose_band(
        cascade,
        labelled,
        traffic=traffic,
        traffic_name="Wikipedia comments",
        goals=Goals(same=args.same),
    )
    band_page.show(choice, Console(width=None if sys.stdout.isatty() else 110))
    print(choice.as_yaml())
    if args.json:
        choice.write_json(args.json)


if __name__ == "__main__":
    main()
