"""Presidio's pattern recognisers over texts: one JSON string per line in, one list of findings per line out.

No model of a language is loaded, so what needs one (names, places) is not looked for. Recognisers of all countries
are asked in English. A finding is [entity, first character, character after the last, score].
"""

import inspect
import json
import sys

import spacy
import tldextract
from presidio_analyzer import AnalyzerEngine, PatternRecognizer, RecognizerRegistry, predefined_recognizers
from presidio_analyzer.nlp_engine import SpacyNlpEngine
from presidio_analyzer.predefined_recognizers import PhoneRecognizer

# The list of suffixes that came with the package; nothing is fetched.
tldextract.extract = tldextract.TLDExtract(suffix_list_urls=())


class Blank(SpacyNlpEngine):
    """A tokeniser and nothing else."""

    def __init__(self):
        super().__init__()
        self.nlp = {"en": spacy.blank("en")}


def main():
    registry = RecognizerRegistry()
    names = []
    for name, found in sorted(vars(predefined_recognizers).items()):
        if not inspect.isclass(found) or not issubclass(found, (PatternRecognizer, PhoneRecognizer)):
            continue
        if name in ("PatternRecognizer",):
            continue
        try:
            registry.add_recognizer(found(supported_language="en"))
            names.append(name)
        except Exception as problem:  # a recogniser that needs a service
            print(f"left out: {name}: {problem}", file=sys.stderr)
    print(f"{len(names)} recognisers", file=sys.stderr)
    engine = AnalyzerEngine(registry=registry, nlp_engine=Blank(), supported_languages=["en"])
    for line in sys.stdin:
        found = engine.analyze(text=json.loads(line), language="en")
        print(json.dumps([[one.entity_type, one.start, one.end, one.score] for one in found]))


main()
