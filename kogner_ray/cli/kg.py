"""`kogner kg`: knowledge graphs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kogner_ray.cli.options import ConfigFile, Overrides, console, load, print_json
from kogner_ray.errors import ConfigError

if TYPE_CHECKING:
    from kogner_ray.kg.tables import KnowledgeGraph

app = typer.Typer(
    help="Knowledge graphs: build canonical tables, merge them, look into them, annotate text, index for linking.",
    no_args_is_help=True,
)
Graph = Annotated[Path, typer.Argument(help="A knowledge graph: canonical folder, or any format that build reads.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("build")
def kg_build(
    source: Annotated[Path | None, typer.Argument(help="File or folder; the embedded graph by default.")] = None,
    output: Annotated[Path | None, typer.Argument(help="Folder to write.")] = None,
    format: Annotated[
        str | None,
        typer.Option(help="hetionet, triples, parquet, obo, rdf, primekg or biomedgraphica; guessed by default."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse the first irregular row.")] = False,
    config: ConfigFile = None,
    set_: Overrides = None,
) -> None:
    """Read a KG of any format into canonical tables, with a report of what was left out and why.

    Other settings by --set: nodes=FILE, partition.n_parts=8, and for OBO and RDF ontology.scopes=[EXACT],
    ontology.types={DOID: Disease}, ontology.language=de, ontology.prefixes={EX: 'http://ex.org/'}.
    """
    from kogner_ray.kg.build import BuildKgConfig, build_kg

    given: dict[str, object] = {"source": source, "output": output, "format": format, "strict": strict or None}
    print_json(build_kg(load(BuildKgConfig, config, [*_given(given), *(set_ or [])])).as_dict())


@app.command("coverage")
def kg_coverage(
    kg: Annotated[Path, typer.Argument(help="Folder of canonical tables, or an entity table.")],
    corpus: Annotated[Path, typer.Argument(help="Annotated file.")],
    format: Annotated[str | None, typer.Option(help="Format of the corpus; guessed.")] = None,
) -> None:
    """Share of a corpus's mentions that link to a KG, by mention and by surface, per type."""
    import pyarrow.parquet as pq

    from kogner_ray.data.formats import read_documents
    from kogner_ray.kg.coverage import coverage
    from kogner_ray.kg.linking import Linker

    nodes = kg / "nodes.parquet" if (kg / "nodes.parquet").is_file() else kg / "entities.parquet"
    report = coverage(read_documents(corpus, format), Linker.from_table(pq.read_table(nodes)))
    console.print(report.as_table())


@app.command("stats")
def kg_stats(
    kg: Graph,
    as_json: AsJson = False,
    page: Annotated[Path | None, typer.Option(help="Also write an HTML page with plots, all in one file.")] = None,
) -> None:
    """Degrees, types, relations and components of a KG: tables, JSON, or a page with plots."""
    from kogner_ray.kg.plots import write_page
    from kogner_ray.kg.stats import statistics

    stats = statistics(_read(kg))
    if page is not None:
        write_page(stats, page, title=kg.resolve().name)
    if as_json:
        print_json(stats.as_dict())
    else:
        for table in stats.tables():
            console.print(table)


@app.command("plot")
def kg_plot(kg: Graph, output: Annotated[Path, typer.Argument(help="PNG to write.")]) -> None:
    """Draw a KG's degree law, types and relations into a PNG."""
    from kogner_ray.kg.plots import draw_statistics
    from kogner_ray.kg.stats import statistics

    draw_statistics(statistics(_read(kg)), output)


@app.command("merge")
def kg_merge(
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="KG... OUT", help="The graphs, and the folder to write.")
    ] = None,
    collapse: Annotated[bool, typer.Option("--collapse", help="Make one node of each cluster.")] = False,
    synonyms: Annotated[bool, typer.Option("--synonyms", help="A name and a synonym may join, too.")] = False,
    config: ConfigFile = None,
    set_: Overrides = None,
) -> None:
    """Merge KGs: nodes of one concept, by ids, references and names, get a common cluster, or become one node.

    The report says what was joined by what and what was refused. Other settings by --set: concepts.names=false,
    concepts.types=equal, concepts.relations=[exact_match].
    """
    from kogner_ray.kg.merge import MergeConfig, merge_kgs

    *sources, output = paths or [""]
    given: dict[str, object] = {"sources": sources or None, "output": output or None, "collapse": collapse or None}
    given |= {"concepts.synonyms": synonyms or None}
    print_json(merge_kgs(load(MergeConfig, config, [*_given(given), *(set_ or [])])).as_dict())


@app.command("neighbours")
def kg_neighbours(
    kg: Graph,
    wanted: Annotated[str, typer.Argument(metavar="ID_OR_NAME", help="An id, a name or a synonym.")],
    limit: Annotated[int, typer.Option(min=0, help="Neighbours to show of each relation.")] = 10,
    as_json: AsJson = False,
) -> None:
    """An entity of a KG, and its neighbours by relation; of a name that several have, all of them."""
    from kogner_ray.kg.neighbours import Entries

    entries = Entries(_read(kg))
    found = [entries.entry(row, limit=limit) for row in entries.find(wanted)]
    if not found:
        raise ConfigError(f"{kg}: no entity has the id, name or synonym {wanted!r}")
    if as_json:
        print_json([entry.as_dict() for entry in found])
    else:
        for entry in found:
            console.print(entry.as_table())


@app.command("annotate")
def kg_annotate(
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="KG RAW... OUT", help="The graph, the raw text, and the file to write."),
    ] = None,
    types: Annotated[
        str | None, typer.Option(help="Comma-separated; all of the KG's by default. The first wins a common name.")
    ] = None,
    gold: Annotated[
        list[str] | None, typer.Option(help="Annotated file to estimate the quality on (repeatable).")
    ] = None,
    ids: Annotated[
        str | None, typer.Option(help="Comma-separated prefixes of ids to give where a concept has several: MESH.")
    ] = None,
    format: Annotated[str | None, typer.Option(help="Format of the raw text; guessed.")] = None,
    to: Annotated[str | None, typer.Option(help="Format of the output; by its ending.")] = None,
    config: ConfigFile = None,
    set_: Overrides = None,
) -> None:
    """Annotate raw text by the names of a KG, with its ids: a distantly annotated corpus, for want of a labelled one.

    Names that the text shows to be common words are left out, abbreviations that it defines are taken up. The report,
    with strict scores on the gold sample, lies beside the output as OUT.report.json. Other settings by --set:
    names.min_residual_idf=0.4, names.mask=0.4, linker.types={Species: [Organism]}.
    """
    from kogner_ray.silver.corpus import AnnotateConfig, annotate_corpus

    kg, *raw, output = paths if paths and len(paths) > 2 else [None, None]
    if paths and kg is None:
        raise ConfigError(f"expected KG RAW... OUT, got {' '.join(paths)}")
    given: dict[str, object] = {"kg": kg, "raw": raw or None, "output": output, "types": types and types.split(",")}
    given |= {"gold": gold, "ids": ids and ids.split(","), "format": format, "to": to}
    report = annotate_corpus(load(AnnotateConfig, config, [*_given(given), *(set_ or [])]))
    print_json(report.as_dict())


@app.command("index")
def kg_index(
    source: Annotated[Path, typer.Argument(help="A checkpoint, an entity table, or a folder of canonical tables.")],
    output: Annotated[Path | None, typer.Argument(help="Folder to write; by default index/ in the source.")] = None,
    train: Annotated[list[Path] | None, typer.Option(help="Annotated file with concept ids to fit to.")] = None,
    dev: Annotated[list[Path] | None, typer.Option(help="Annotated file to choose the threshold on.")] = None,
) -> None:
    """Make the linking index of a checkpoint or KG (anew); of a checkpoint, also fit how it links."""
    from kogner_ray.data.formats import read_documents
    from kogner_ray.kg.ranking.links import FOLDER, index_tables

    if (source / "student.json").is_file():
        from kogner_ray.student.teaching import index_checkpoint

        if output is not None:
            raise ConfigError(f"output: the index of a checkpoint lies in it, got {output}; leave it out")
        splits = [[d for path in paths or () for d in read_documents(path)] for paths in (train, dev)]
        links = index_checkpoint(source, *splits)
    elif train or dev:
        raise ConfigError(f"train, dev: how to link is fitted with a checkpoint's student; {source} is none")
    else:
        links = index_tables(source, output or source / FOLDER)
    print_json(
        {
            "entities": len(links.index),
            "concepts": links.index.n_concepts,
            "threshold": links.ranker.threshold,
            **links.ranker.made,
        }
    )


def _read(kg: Path) -> "KnowledgeGraph":
    from kogner_ray.kg.formats import read_any

    return read_any(kg)[0]


def _given(values: Mapping[str, object]) -> list[str]:
    """As overrides of a config, JSON being YAML; what was not given is left out."""
    return [f"{key}={json.dumps(value, default=str)}" for key, value in values.items() if value is not None]
