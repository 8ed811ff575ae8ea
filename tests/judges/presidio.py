"""Presidio's own engine behind the one path of its API that gateways ask: `POST /analyze`.

Requests are read by Presidio's own request type, and answers are written as its results write themselves. The engine
has a blank language model and a recogniser of a few names, so that nothing needs to be downloaded. Prints its port.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import spacy
from presidio_analyzer import AnalyzerEngine, AnalyzerRequest, PatternRecognizer, RecognizerRegistry
from presidio_analyzer.nlp_engine import SpacyNlpEngine


class Blank(SpacyNlpEngine):
    def __init__(self):
        super().__init__()
        self.nlp = {"en": spacy.blank("en")}


registry = RecognizerRegistry(supported_languages=["en"])
registry.add_recognizer(
    PatternRecognizer(supported_entity="PERSON", name="people", deny_list=json.loads(sys.argv[1]))
)
engine = AnalyzerEngine(registry=registry, nlp_engine=Blank(), supported_languages=["en"])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            assert self.path == "/analyze" and self.headers["content-type"] == "application/json"
            asked = AnalyzerRequest(json.loads(body))
            assert asked.text and asked.language
            found = engine.analyze(
                text=asked.text,
                language=asked.language,
                entities=asked.entities,
                score_threshold=asked.score_threshold,
                return_decision_process=asked.return_decision_process,
            )
            status, said = 200, json.dumps(found, default=lambda one: one.to_dict(), sort_keys=True)
        except Exception as why:  # pylint: disable=broad-except
            status, said = 500, json.dumps({"error": repr(why)})
        said = said.encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
