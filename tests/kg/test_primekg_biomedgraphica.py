"""PrimeKG and BioMedGraphica, on small files with the columns that their builders write."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from kogner_ray.errors import DataError
from kogner_ray.kg.formats import biomedgraphica, detect_format, read_any
from kogner_ray.kg.names import NameIndex
from kogner_ray.kg.tables import check_kg

PRIMEKG = '''relation,display_relation,x_index,x_id,x_type,x_name,x_source,y_index,y_id,y_type,y_name,y_source
protein_protein,ppi,0,9796,gene/protein,PHYHIP,NCBI,1,56992,gene/protein,KIF15,NCBI
protein_protein,ppi,1,56992,gene/protein,KIF15,NCBI,0,9796,gene/protein,PHYHIP,NCBI
indication,indication,2,DB00437,drug,Allopurinol,DrugBank,3,5393,disease,"gout, ""primary""",MONDO
disease_disease,parent-child,4,13924_12592,disease,osteogenesis imperfecta,MONDO_grouped,3,5393,disease,gout,MONDO
disease_phenotype_positive,phenotype present,3,5393,disease,gout,MONDO,5,1997,effect/phenotype,Gout,HPO
exposure_disease,linked to,6,D000393,exposure,Air Pollutants,CTD,3,,disease,nothing,MONDO
'''


@pytest.mark.parametrize("packed", [False, True])
def test_primekg(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / ("kg.csv.gz" if packed else "kg.csv")
    path.write_bytes(gzip.compress(PRIMEKG.encode()) if packed else PRIMEKG.encode())
    assert detect_format(path) == detect_format(tmp_path) == "primekg"
    kg, report = read_any(tmp_path)
    check_kg(kg)
    rows = {row["id"]: row for row in kg.nodes.to_pylist()}
    assert {own: (row["name"], row["type"], row["xrefs"]) for own, row in rows.items()} == {
        "NCBI:9796": ("PHYHIP", "gene_or_protein", ["NCBIGene:9796"]),
        "NCBI:56992": ("KIF15", "gene_or_protein", ["NCBIGene:56992"]),
        "DrugBank:DB00437": ("Allopurinol", "drug", ["DRUGBANK:DB00437"]),
        "MONDO:5393": ('gout, "primary"', "disease", ["MONDO:0005393"]),
        "MONDO_grouped:13924_12592": ("osteogenesis imperfecta", "disease", ["MONDO:0013924", "MONDO:0012592"]),
        "HPO:1997": ("Gout", "phenotype", ["HP:0001997"]),
        "CTD:D000393": ("Air Pollutants", "exposure", ["MESH:D000393"]),
    }
    assert kg.n_edges == 5 and kg.edges["display_relation"].to_pylist()[3] == "parent-child"
    found = {issue.kind: (issue.count, issue.first[0]) for issue in report.issues}
    assert found == {
        "edge without a tail": (1, f"{path}:7: head 'CTD:D000393'"),
        "duplicate id": (1, f"{path}:5: id 'MONDO:5393'"),
    }
    index = NameIndex.from_table(kg.nodes)
    (gout,) = index.rows_with_id("MONDO:0005393")
    assert kg.ids[gout[0]] == "MONDO:5393"


def test_primekg_needs_its_columns(tmp_path: Path) -> None:
    (tmp_path / "kg.csv").write_text("relation,x_id,y_id\na,b,c\n", encoding="utf-8")
    assert detect_format(tmp_path / "kg.csv") == "triples"
    with pytest.raises(DataError, match=r"kg\.csv:1: missing columns \['x_type', 'x_name'"):
        read_any(tmp_path, format="primekg")


BIOMEDGRAPHICA = {
    "Entity/Disease/BioMedGraphica_Conn_Disease.csv": (
        "BioMedGraphica_Conn_ID,UMLS_ID,UMLS_Name,MeSH_ID,MeSH_Name,ICD10_ID,OMIM_ID,DO_ID,DO_Name\n"
        "BMGC_DS1,C0018099,Gout,D006073;D015210,Gout | Podagra,M10,138900,DOID:13189,gout\n"
        "BMGC_DS2,,,,,,,,\n"
    ),
    "Entity/Disease/BioMedGraphica_Conn_Disease_Display_Name.csv": (
        "BioMedGraphica_Conn_ID,BMG_Disease_Name\nBMGC_DS1,Gout (disorder) | Gout\nBMGC_DS2,\n"
    ),
    "Entity/Disease/BioMedGraphica_Conn_Disease_Description_Combined.csv": (
        'BioMedGraphica_Conn_ID,Description\nBMGC_DS1,"MeSH: Hereditary\nmetabolic, ""painful"""\n'
    ),
    "Entity/Drug/BioMedGraphica_Conn_Drug.csv": (
        "BioMedGraphica_Conn_ID,PubChem_CID,PubChem_Name,CAS_RN,UNII,DrugBank_ID,DrugBank_Name,SMILES,InChI\n"
        "BMGC_DG1,135401907,Allopurinol,315-30-0,63CZ7GJN5I,DB00437,Allopurinol,c1(O),InChI=1S\n"
    ),
    "Entity/Gene/BioMedGraphica_Conn_Gene.csv": (
        "BioMedGraphica_Conn_ID,NCBI_Gene_ID,Ensembl_Gene_ID,Ensembl_Gene_ID_Version,HGNC_ID,Gene_Name,HGNC_Symbol\n"
        "BMGC_GN1,7498,ENSG1,ENSG1.2,HGNC:12805,xanthine dehydrogenase,XDH\n"
    ),
    "Entity/Protein/BioMedGraphica_Conn_Protein.csv": (
        "BioMedGraphica_Conn_ID,Uniprot_ID,Ensembl_Protein_ID,NCBI_Gene_ID,UniProt_Name,HGNC_Symbol\n"
        "BMGC_PT1,P47989,ENSP1,7498,XDH_HUMAN,XDH\n"
    ),
    "Relation/BioMedGraphica_Conn_Relation.csv": (
        "BioMedGraphica_Conn_ID,BMGC_From_ID,BMGC_To_ID,Source,Type\n"
        "BMGC_ED1,BMGC_DG1,BMGC_DS1,DrugBank,Drug-Disease\n"
        "BMGC_ED2,BMGC_DG1,BMGC_PT1,,Drug-Protein\n"
        "BMGC_ED3,BMGC_DG1,BMGC_XX9,,Drug-Protein\n"
    ),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in BIOMEDGRAPHICA.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return tmp_path


def test_biomedgraphica(folder: Path) -> None:
    kg, report = read_any(folder)
    check_kg(kg)
    rows = {row["id"]: row for row in kg.nodes.to_pylist()}
    assert rows["BMGC_DS1"] == {
        "id": "BMGC_DS1",
        "name": "Gout (disorder)",
        "type": "Disease",
        "synonyms": ["Gout", "Podagra", "gout"],
        "description": 'MeSH: Hereditary\nmetabolic, "painful"',
        "xrefs": ["UMLS:C0018099", "MESH:D006073", "MESH:D015210", "ICD10:M10", "OMIM:138900", "DOID:13189"],
    }
    assert rows["BMGC_DG1"]["xrefs"] == [
        "PUBCHEM.COMPOUND:135401907",
        "CAS:315-30-0",
        "UNII:63CZ7GJN5I",
        "DRUGBANK:DB00437",
    ]
    assert rows["BMGC_GN1"]["xrefs"] == ["NCBIGene:7498", "ENSEMBL:ENSG1", "HGNC:12805"]
    assert rows["BMGC_PT1"]["xrefs"] == ["UniProtKB:P47989", "ENSEMBL:ENSP1"]
    assert [(e["head"], e["relation"], e["tail"], e["source"]) for e in kg.edges.to_pylist()] == [
        ("BMGC_DG1", "Drug-Disease", "BMGC_DS1", "DrugBank"),
        ("BMGC_DG1", "Drug-Protein", "BMGC_PT1", ""),
    ]
    disease = folder / "Entity/Disease/BioMedGraphica_Conn_Disease.csv"
    assert {issue.kind: issue.first[0] for issue in report.issues} == {
        "empty name": f"{disease}:3: id 'BMGC_DS2'",
        "dangling edge (tail is no node)": f"{folder / 'Relation/BioMedGraphica_Conn_Relation.csv'}:4: tail 'BMGC_XX9'",
    }


def test_biomedgraphica_of_the_first_release(folder: Path) -> None:
    for path in list(folder.rglob("*.csv")):
        text = path.read_text(encoding="utf-8").replace("BMGC_From_ID,BMGC_To_ID", "From_ID,To_ID")
        path.unlink()
        renamed = path.with_name(path.name.replace("_Conn", "") + ".gz")
        renamed.write_bytes(gzip.compress(text.replace("BioMedGraphica_Conn_ID", "BioMedGraphica_ID").encode()))
    assert read_any(folder)[0].n_edges == 2


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("Relation/BioMedGraphica_Conn_Relation.csv", r"Relation\.csv:1: expected From_ID, To_ID"),
        ("Entity/Gene/BioMedGraphica_Conn_Gene.csv", r"Gene\.csv:1: expected a column BioMedGraphica_ID"),
        ("Entity/Disease/BioMedGraphica_Conn_Disease_Display_Name.csv", "expected a column BioMedGraphica_ID"),
    ],
)
def test_biomedgraphica_needs_its_columns(folder: Path, broken: str, message: str) -> None:
    (folder / broken).write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(DataError, match=message):
        biomedgraphica.read(folder)


def test_biomedgraphica_needs_its_files(tmp_path: Path) -> None:
    (tmp_path / "Entity").mkdir()
    (tmp_path / "Relation").mkdir()
    with pytest.raises(DataError, match="expected Relation/BioMedGraphica"):
        read_any(tmp_path)
