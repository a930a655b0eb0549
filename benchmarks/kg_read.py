"""How long does reading a KG take, and how much memory, at Hetionet's full size?

The edges of Hetionet v1.0 are 2,250,197. Here as many are drawn at random between the real nodes, evenly over the
metaedges, and written as `.sif.gz`; then `kogner kg build` reads them in a process of its own. The ontologies are real
files.

    KOGNER_SHARED=... python benchmarks/kg_read.py
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
from results import conditions, markdown_table, write_section

N_EDGES = 2_250_197
_CHILD = """
import json, sys, time
from pathlib import Path
from kogner_ray.kg.build import BuildKgConfig, build_kg
from measure import peak_mb
before, started = peak_mb(), time.process_time()
report = build_kg(BuildKgConfig(source=Path(sys.argv[1]), output=Path(sys.argv[2])))
print(json.dumps([report.read.nodes, report.read.edges, time.process_time() - started, before, peak_mb()]))
"""


def main() -> None:
    """Write the input, read it, write the table."""
    shared = os.environ.get("KOGNER_SHARED")
    if not shared:
        sys.exit("set KOGNER_SHARED to the folder with data/ and mirror/: without it there is nothing to measure on")
    mirror = Path(shared) / "mirror/raw.githubusercontent.com"
    with tempfile.TemporaryDirectory() as folder:
        sources = {"Hetionet's nodes, as many edges drawn at random": hetionet(mirror, Path(folder) / "hetionet")}
        for name in ("DO_rare_slim.obo", "general_cell_types_upper_slim.obo"):
            (sources[name],) = mirror.glob(f"*/*/*/src/ontology/subsets/{name}")
        rows = [[name, *measured(source, Path(folder) / "built")] for name, source in sources.items()]
    table = markdown_table(["source", "nodes", "edges", "CPU s", "peak MB", "of which before reading"], rows)
    made = conditions(packages=["pyarrow", "fastobo"], seed="0")
    section = f"## Reading graphs\n\n`kogner kg build`, from the packed file to Parquet.\n\n{table}\n\n{made}\n"
    print(section)
    write_section("kg-read", section)


def hetionet(mirror: Path, folder: Path) -> Path:
    """A folder with the real nodes and `N_EDGES` edges of the real metaedges between nodes of the right kinds."""
    (nodes,) = mirror.glob("hetio/hetionet/*/hetnet/tsv/hetionet-v1.0-nodes.tsv")
    (sample,) = mirror.glob("dhimmel/integrate/*/data/edges-5k.sif.gz")
    folder.mkdir()
    (folder / "hetionet-v1.0-nodes.tsv").write_bytes(nodes.read_bytes())
    ends: dict[str, tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))
    with gzip.open(sample, "rt", encoding="utf-8") as lines:
        next(lines)
        for line in lines:
            head, metaedge, tail = line.rstrip("\n").split("\t")
            ends[metaedge][0].add(head)
            ends[metaedge][1].add(tail)
    generator = np.random.default_rng(0)
    most = {name: len(heads) * len(tails) for name, (heads, tails) in ends.items()}
    with gzip.open(folder / "edges.sif.gz", "wt", compresslevel=1, encoding="utf-8") as out:
        out.write("source\tmetaedge\ttarget\n")
        written = 0
        for place, (name, (heads, tails)) in enumerate(ends.items()):
            left = len(ends) - place
            count = min((N_EDGES - written) // left, most[name])
            pairs = generator.choice(most[name], size=count, replace=False, shuffle=False)
            first, second = sorted(heads), sorted(tails)
            out.writelines(f"{first[pair // len(second)]}\t{name}\t{second[pair % len(second)]}\n" for pair in pairs)
            written += count
    return folder


def measured(source: Path, output: Path) -> list[str]:
    """Nodes, edges, seconds, peak and starting memory of reading `source` in a process of its own."""
    command = [sys.executable, "-c", _CHILD, str(source), str(output)]
    folder = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": f"{folder.parent}:{folder}"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    nodes, edges, seconds, before, peak = json.loads(done.stdout)
    return [f"{nodes:,}", f"{edges:,}", f"{seconds:.1f}", f"{peak:.0f}", f"{before:.0f}"]


if __name__ == "__main__":
    main()
