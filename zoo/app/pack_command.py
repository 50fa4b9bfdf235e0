"""`zoo compress` and `zoo decompress`: their options."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

COMPRESS = """zoo compress runs/topics notes.txt --out notes.zoo
  zoo decompress runs/topics notes.zoo --out notes.txt

DATA is a .txt file in the vocabulary of the data that the run was fitted to; a .csv or .npy file of the model's own
codes (a network's states by name), a row each; or the name of the run's data, whose held-out rows are taken. What is
kept is text to the last character, numbers and names to the last value. The model must be able to make rows number
by number with exact probabilities: MADE, MarkovChain, BayesianNetwork and the like. Printed beside the bytes: what the
model's own likelihood comes to, and lzma and gzip of the same data. Needs the extra pyro-zoo[compression]"""
DECOMPRESS = """zoo decompress runs/topics notes.zoo --out notes.txt

A file that is damaged, cut short or packed by another model is refused, and nothing is written. Both ends must
compute alike: the same kind of processor and the same version of torch; where they don't, that is found out"""


def add_packing(add: Callable[..., argparse.ArgumentParser]) -> None:
    pack = add("compress", compress_data, "pack data by a fitted model, losslessly", COMPRESS)
    pack.add_argument("run", type=Path, metavar="RUN", help="the folder of a run")
    pack.add_argument("data", metavar="DATA", help="a .txt, .csv or .npy file, or the name of the run's data")
    pack.add_argument("--out", type=Path, required=True, metavar="FILE.zoo", help="the packed file")
    unpack = add("decompress", decompress_data, "give back what `zoo compress` has packed", DECOMPRESS)
    unpack.add_argument("run", type=Path, metavar="RUN", help="the folder of the run that it was packed by")
    unpack.add_argument("packed", type=Path, metavar="FILE.zoo")
    unpack.add_argument("--out", type=Path, required=True, metavar="FILE", help="a .txt, .csv or .npy file")


def compress_data(arguments: Any) -> None:
    from zoo.app.files import check_out

    check_out(arguments.out, (".zoo",), "--out")
    from zoo.app.packing import compress_file

    print(compress_file(arguments.run, arguments.data, arguments.out))


def decompress_data(arguments: Any) -> None:
    from zoo.app.files import check_out

    check_out(arguments.out, (".txt", ".csv", ".npy"), "--out")
    from zoo.app.packing import decompress_file

    print(decompress_file(arguments.run, arguments.packed, arguments.out))
