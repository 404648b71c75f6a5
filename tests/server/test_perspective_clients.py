"""The Perspective API with the clients that people use; none is patched, only its address is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra `server` is not installed")
pytest.importorskip("sentencex", reason="the extra `server` is not installed")

import httpx
from hosted import WAIT, hosted

from moderation.server.app import Settings


@pytest.fixture(scope="module")
def suggestions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("suggestions") / "labels.jsonl"


@pytest.fixture(scope="module")
def url(suggestions: Path) -> Iterator[str]:
    with hosted(Settings(policies=("perspective",), suggestions=suggestions)) as address:
        yield address


class TestGoogleClient:
    @pytest.fixture
    def client(self, url: str) -> Iterator[Any]:
        discovery = pytest.importorskip("googleapiclient.discovery")
        client = discovery.build(
            "commentanalyzer",
            "v1alpha1",
            developerKey="any-key",
            discoveryServiceUrl=f"{url}/$discovery/rest?version=v1alpha1",
            static_discovery=False,
        )
        yield client
        client.close()

    def test_analyze(self, client: Any) -> None:
        request = {
            "comment": {"text": "What a \U0001f600 day. You idiot!"},
            "requestedAttributes": {"TOXICITY": {}, "INSULT": {"scoreThreshold": 0.01}},
            "spanAnnotations": True,
            "languages": ["en"],
            "clientToken": "t",
        }
        response = client.comments().analyze(body=request).execute()
        assert set(response["attributeScores"]) == {"TOXICITY", "INSULT"}
        found = response["attributeScores"]["TOXICITY"]["spanScores"]
        assert [(span["begin"], span["end"]) for span in found] == [(0, 14), (15, 25)]
        assert found[1]["score"]["value"] > 0.5 > found[0]["score"]["value"]
        assert (response["languages"], response["clientToken"]) == (["en"], "t")

    def test_a_client_that_drops_what_is_refused_and_asks_again(self, client: Any) -> None:
        errors = pytest.importorskip("googleapiclient.errors")
        request = {
            "comment": {"text": "Ich habe wirklich keine Ahnung, warum er nicht gekommen ist."},
            "requestedAttributes": {"TOXICITY": {}},
        }
        with pytest.raises(errors.HttpError) as raised:
            client.comments().analyze(body=request).execute()
        assert raised.value.resp.status == 400
        assert raised.value.reason == "Attribute TOXICITY does not support request languages: de"
        [detail] = raised.value.error_details
        assert detail["errorType"] == "LANGUAGE_NOT_SUPPORTED_BY_ATTRIBUTE"
        assert detail["languageNotSupportedByAttributeError"]["attribute"] == "TOXICITY"

    def test_suggestscore(self, client: Any, suggestions: Path) -> None:
        request = {
            "comment": {"text": "get busy living"},
            "attributeScores": {"TOXICITY": {"summaryScore": {"value": 0}}},
            "clientToken": "google",
        }
        response = client.comments().suggestscore(body=request).execute()
        assert response["clientToken"] == "google"
        rows = [json.loads(line) for line in suggestions.read_text().splitlines()]
        kept = {row["client_token"]: row for row in rows}
        assert kept["google"]["toxic"] == 0.0

    def test_endpoint_alone(self, url: str) -> None:
        """Where the discovery document is Google's own, say out of a cache."""
        discovery = pytest.importorskip("googleapiclient.discovery")
        document = httpx.get(f"{url}/$discovery/rest?version=v1alpha1", timeout=WAIT).json()
        document["rootUrl"] = document["baseUrl"] = "https://commentanalyzer.googleapis.com/"
        client = discovery.build_from_document(
            document, developerKey="any", client_options={"api_endpoint": url}
        )
        request = {"comment": {"text": "hello"}, "requestedAttributes": {"TOXICITY": {}}}
        assert client.comments().analyze(body=request).execute()["attributeScores"]
        client.close()


def test_coral(url: str, suggestions: Path) -> None:
    """What Coral's server sends and reads; it gives up after 800 ms and lets the comment through.

    From coralproject/talk, src/core/server/services/perspective and .../phases/toxic.ts.
    """
    endpoint = f"{url}/v1alpha1"  # "Custom endpoint" of its settings
    body = {
        "comment": {"text": "you are such an idiot"},
        "doNotStore": True,
        "requestedAttributes": {"TOXICITY": {}},
        "languages": ["en"],
    }
    begun = []
    with httpx.Client(params={"key": "any-key"}, timeout=WAIT) as client:
        for _ in range(5):
            began = time.monotonic()
            response = client.post(f"{endpoint}/comments:analyze", json=body)
            begun.append(time.monotonic() - began)
            assert response.json()["attributeScores"]["TOXICITY"]["summaryScore"]["value"] > 0.5
        # Any of them: a machine that is busy with other things stalls now and then.
        assert min(begun) < 0.8
        decision = {
            "comment": {"text": "you are such an idiot"},
            "context": {"entries": [{"text": json.dumps({"Coral_comment_id": "7"})}]},
            "attributeScores": {"DELETED": {"summaryScore": {"value": 1}}},
            "languages": ["EN"],
            "communityId": "Coral:https://comments.example/",
            "clientToken": "comment:7",
        }
        response = client.post(f"{endpoint}/comments:suggestscore", json=decision)
        assert response.json()["clientToken"] == "comment:7"
    rows = [json.loads(line) for line in suggestions.read_text().splitlines()]
    kept = {row["client_token"]: row for row in rows}
    assert kept["comment:7"]["rejected"] == 1.0


def test_discourse(url: str) -> None:
    """As discourse/discourse-perspective-api builds and reads it; the post cut at 20 kilobytes."""
    raw = (
        ("you are such an idiot \U0001f600 " * 2_000).encode()[: 20 * 1024].decode(errors="ignore")
    )
    body = {
        "comment": {"text": raw},
        "doNotStore": True,
        "sessionId": "https://forum.example_anonymous",
        "requestedAttributes": {"TOXICITY": {"scoreType": "PROBABILITY"}},
    }
    with httpx.Client(timeout=WAIT) as client:
        response = client.post(f"{url}/v1alpha1/comments:analyze", params={"key": "k"}, json=body)
    [scores] = response.json()["attributeScores"].values()
    assert scores["summaryScore"]["value"] > 0.5


NODE = """
const Perspective = require('perspective-api-client');
const { Discovery } = require('googleapis-common');
const host = process.argv[2];

(async () => {
  // Its address is a constant: the environment leads it here, as an entry in the DNS would.
  const perspective = new Perspective({ apiKey: 'any-key' });
  const said = await perspective.analyze('<b>you are such an idiot</b>', {
    attributes: ['toxicity', 'threat'],
  });
  let refused = null;
  try {
    await perspective.analyze('hello', { attributes: ['flirtation'] });
  } catch (error) {
    refused = { name: error.name, message: error.message };
  }
  // What google.discoverAPI of the package googleapis does.
  const create = await new Discovery().discoverAPI(`${host}/$discovery/rest?version=v1alpha1`);
  const client = create({ google: { _options: {} } });
  const analyzed = await client.comments.analyze({
    key: 'any-key',
    requestBody: { comment: { text: 'What a day.' }, requestedAttributes: { TOXICITY: {} } },
  });
  console.log(JSON.stringify({ said, refused, analyzed: analyzed.data }));
})().catch((error) => { console.error(error); process.exit(1); });
"""


@pytest.mark.slow
def test_node(tmp_path: Path) -> None:
    """Two clients from npm: perspective-api-client, and Google's own through discovery."""
    npm, node, openssl = (shutil.which(name) for name in ("npm", "node", "openssl"))
    if npm is None or node is None or openssl is None:
        pytest.skip("Node.js with npm, or openssl, is not installed")
    packages = ["perspective-api-client@3.1.0", "googleapis-common@8"]
    done = subprocess.run(
        [npm, "install", "--no-audit", "--no-fund", "--prefix", str(tmp_path), *packages],
        capture_output=True,
        text=True,
        timeout=200,
    )
    if done.returncode:
        pytest.skip("npm cannot reach a registry for perspective-api-client")
    script, key, certificate = tmp_path / "client.js", tmp_path / "key", tmp_path / "certificate"
    script.write_text(NODE)
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=commentanalyzer.googleapis.com", "-keyout", str(key)),
            *("-addext", "subjectAltName=DNS:commentanalyzer.googleapis.com,IP:127.0.0.1"),
            *("-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    given = Settings(policies=("perspective",))
    with hosted(given, ssl_keyfile=str(key), ssl_certfile=str(certificate)) as address:
        ran = subprocess.run(
            [node, str(script), address],
            capture_output=True,
            text=True,
            timeout=WAIT,
            env=environment
            | {
                "https_proxy": address,  # read by the axios of perspective-api-client
                "no_proxy": "127.0.0.1",  # and by Google's client, which is told the address
                "NODE_EXTRA_CA_CERTS": str(certificate),
            },
        )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    scores = found["said"]["attributeScores"]
    assert set(scores) == {"TOXICITY", "THREAT"}
    assert scores["TOXICITY"]["summaryScore"]["value"] > 0.5
    assert scores["TOXICITY"]["spanScores"][0]["end"] == len("you are such an idiot")
    assert found["refused"] == {
        "name": "ResponseError",
        "message": "Unknown requested attribute: FLIRTATION",
    }
    assert found["analyzed"]["attributeScores"]["TOXICITY"]["summaryScore"]["value"] < 0.5
