"""No reader of vocabularies opens a socket or another file, whatever a file names, and none takes longer than its length."""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from taxonomy import TaxonomyError, load_taxonomy
from taxonomy.loading import READERS
from taxonomy.rdf import SYNTAXES

ADDRESS = "http://127.0.0.1:9/x"
SKOS = "@prefix s: <http://www.w3.org/2004/02/skos/core#> . @prefix owl: <http://www.w3.org/2002/07/owl#> .\n"
RDF_XML = (
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
    'xmlns:s="http://www.w3.org/2004/02/skos/core#"><s:Concept rdf:about="http://m.example/a">'
    "<s:prefLabel>{label}</s:prefLabel></s:Concept></rdf:RDF>"
)


def attacks(secret: Path) -> dict[str, str]:
    """File name -> what would have something else opened: by http and by file."""
    found = {}
    for scheme, target in (("http", ADDRESS), ("file", secret.as_uri())):
        concept = '"@id": "http://m.example/a", "http://www.w3.org/2004/02/skos/core#prefLabel": "lamp"'
        contexts = (
            f'"{target}"',
            f'[[["{target}"]]]',
            f'[{{"@import": "{target}"}}]',
            f'{{"a": {{"@id": "urn:a", "@context": ["{target}"]}}}}',
        )
        for number, context in enumerate(contexts):
            found[f"{scheme}{number}.jsonld"] = f'{{"@context": {context}, "a": 1, {concept}}}'
        imports = f"<{target}> owl:imports <{target}> . <urn:c> a s:Concept ; s:prefLabel 'lamp' ."
        for suffix in (".ttl", ".trig", ".n3"):
            found[f"{scheme}-imports{suffix}"] = f"{SKOS}{imports}"
        doctypes = {
            "entity": f'<!DOCTYPE rdf:RDF [<!ENTITY e SYSTEM "{target}">]>',
            "public": f'<!DOCTYPE rdf:RDF [<!ENTITY e PUBLIC "-//x" "{target}">]>',
            "parameter": f'<!DOCTYPE rdf:RDF [<!ENTITY % p SYSTEM "{target}"> %p; <!ENTITY e "x">]>',
            "dtd": f'<!DOCTYPE rdf:RDF SYSTEM "{target}">',
        }
        for name, doctype in doctypes.items():
            label = "lamp" if name == "dtd" else "&e;"
            found[f"{scheme}-{name}.rdf"] = f"{doctype}{RDF_XML.format(label=label)}"
        found[f"{scheme}.csv"] = (
            f"id,pref_label,alt_labels,facet,broader,definition\na,lamp,,{target},,{target}\n"
        )
        found[f"{scheme}.txt"] = f"lamp\n\t{target}\n"
        found[f"{scheme}.nt"] = f"<{target}> <http://www.w3.org/2002/07/owl#imports> <{target}> .\n"
    return found


WATCHED = """
import sys
from pathlib import Path
from taxonomy import TaxonomyError, load_taxonomy, starter_taxonomy
starter_taxonomy()  # what is read once is read
own = {}
def watch(event, arguments):
    if event.startswith("socket.") or event in ("urllib.Request", "subprocess.Popen", "os.system"):
        raise AssertionError(f"{event} while reading {own['path']}")
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        opened = Path(arguments[0].decode() if isinstance(arguments[0], bytes) else arguments[0])
        if opened.name == "secret" or opened.is_relative_to("/etc"):
            raise AssertionError(f"{opened} opened while reading {own['path']}")
sys.addaudithook(watch)
for path in sorted(Path(sys.argv[1]).iterdir()):
    own["path"] = path
    try:
        labels = [label for concept in load_taxonomy(path).concepts for label in concept.labels]
        print(path.name, *labels)
    except TaxonomyError as error:
        print(path.name, "refused")
        assert "hush" not in str(error)
"""


def test_readers_open_no_socket_and_no_other_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text('{"lamp": "urn:hush"}')
    (tmp_path / "files").mkdir()
    named = attacks(secret)
    for name, text in named.items():
        (tmp_path / "files" / name).write_text(text)
    assert {Path(name).suffix for name in named} >= {
        ".jsonld",
        ".ttl",
        ".trig",
        ".rdf",
        ".csv",
        ".txt",
        ".nt",
    }
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, str(tmp_path / "files")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    told = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert told.keys() == named.keys()
    assert "hush" not in done.stdout
    assert {told[name] for name in named if name.endswith(".jsonld")} == {"refused"}
    entities = [name for name in named if name.endswith(("entity.rdf", "public.rdf", "parameter.rdf"))]
    assert len(entities) == 6
    assert {told[name] for name in entities} == {"refused"}
    assert told["http-dtd.rdf"] == told["file-imports.ttl"] == "lamp"


def test_entities_that_are_short_texts_are_read_as_ontology_editors_write_them(tmp_path: Path) -> None:
    path = tmp_path / "v.rdf"
    doctype = "<?xml version='1.0' encoding='ISO-8859-1'?>\n<!DOCTYPE rdf:RDF [\n <!ENTITY s 'L\xe4mp'>\n]>\n"
    path.write_bytes((doctype + RDF_XML.format(label="&s;chen")).encode("latin-1"))
    assert [concept.pref_label for concept in load_taxonomy(path).concepts] == ["L\xe4mpchen"]


@pytest.mark.parametrize(
    "doctype",
    [
        '<!DOCTYPE r [<!ENTITY a "xxxxxxxxxx"><!ENTITY e "&a;&a;&a;&a;&a;&a;&a;&a;">]>',
        f'<!DOCTYPE r [<!ENTITY e "{"x" * 900}">]>',
        f'<!DOCTYPE r [<!ENTITY e "{"x" * 2000}">]>',
        "<!DOCTYPE r [" + "".join(f'<!ENTITY e{n} "x">' for n in range(500)) + "]>",
        "<!DOCTYPE r [<!ENTITY e ",
        '<!-- <!DOCTYPE r> --><!DOCTYPE r [<!ENTITY e "x">]>',
        '<!-- <!ENTITY e "x"> -->',
    ],
)
def test_entities_that_explode_are_refused(tmp_path: Path, doctype: str) -> None:
    path = tmp_path / "v.rdf"
    path.write_text(doctype + RDF_XML.format(label="&e;" * 1000))
    with pytest.raises(TaxonomyError, match=r"v\.rdf:1: it"):
        load_taxonomy(path)


@pytest.mark.parametrize("suffix", [".ttl", ".rdf", ".jsonld", ".nt", ".trig", ".csv", ".tsv", ".txt"])
@pytest.mark.parametrize(
    "run", ["-", "-a", ":", "<", '"id":', "<!ENTITY ", "rdf:about=", "{[", "|", "\t", "(a", "a@"]
)
def test_long_runs_of_anything_take_no_time_that_grows_with_their_square(
    tmp_path: Path, suffix: str, run: str
) -> None:
    """Half a megabyte of what a regular expression may start at: a quadratic one would be at it for hours."""
    path = tmp_path / f"v{suffix}"
    path.write_text("# " + run * (500_000 // len(run)) + "\n")
    with suppress(TaxonomyError):
        assert load_taxonomy(path).concepts


def test_every_format_that_is_read_is_attacked() -> None:
    assert {".ttl", ".rdf", ".jsonld", ".nt", ".trig", ".csv", ".tsv", ".txt"} <= {*READERS, *SYNTAXES}
